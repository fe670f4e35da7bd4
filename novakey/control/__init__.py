"""The owner's socket: what a person at the computer may see and do while the daemon runs.

listener   the socket itself: where it is, and who may reach it
server     connections: one request each, answered or followed
owner      the operations
client     the other end, for the command line
logfeed    the log, to follow
"""
