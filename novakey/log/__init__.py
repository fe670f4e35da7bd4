"""Logging: one record is one safe line.

format     a record as one line, redacted and escaped
rotate     files that rotate by size
throttle   no flood of lines
"""
