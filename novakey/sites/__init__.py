"""The sites of web pages: which one an origin is, and which others look like it. Pure: no clock, no socket.

origin       the origin that a browser tells, validated and normalised
confusables  letters that look alike, and the scripts that a name is written in
lookalike    whether a name can be taken for one that is remembered
"""
