"""The owner's socket: what a person at the computer may see and do while the daemon runs.

listener   the socket itself: where it is, and who may reach it
server     connections: one request each, answered or followed
owner      the operations
asking     those of programs that ask for a secret
reports    what such a program says of its secret
overview   the state of the daemon, for `status`
client     the other end, for the command line
log_tail   the log, to follow
"""
