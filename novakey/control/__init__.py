"""The owner's socket: what a person at the computer may see and do while the daemon runs.

listener   the socket itself: where it is, and who may reach it
server     connections: one request each, answered or followed
owner      the operations
overview   the state of the daemon, for `status`
client     the other end, for the command line
log_tail   the log, to follow
"""
