"""Connections: who may open one, how it is read, how often.

listener       the listening socket
admission      the limits of connections, in all and for each address
pairing_slots  the few connections that may pair at once
stream         bounded reads with deadlines
rate_limit     so many in a minute
changes        when addresses or routes change
"""
