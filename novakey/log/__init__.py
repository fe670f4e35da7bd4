"""Logging: one record is one safe line.

format     a record as one line, redacted and escaped
rotate     files that rotate by size
output     terminals and pipes, which may pause
throttle   no flood of lines
"""
