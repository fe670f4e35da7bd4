"""Settings: the keys, where they are read from, and what is wrong with them.

settings   the table of keys
key        one key: its name, default and check
reader     YAML and JSON files, each value with its line
validate   a value against its key
load       environment over file over defaults, with all faults at once
adopt      the existing daemon's configuration under our keys
"""
