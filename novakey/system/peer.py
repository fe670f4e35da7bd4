"""Which process is at the other end of a local socket, as the kernel knows it (unix(7), SO_PEERCRED)."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

AVAILABLE = hasattr(socket, "SO_PEERCRED")

_UCRED = struct.Struct("3i")


class Peer(NamedTuple):
    """The process that made the connection."""

    pid: int
    uid: int
    gid: int


def of(sock: socket.socket) -> Peer:
    """Return who is at the other end of a connected local socket."""
    return Peer(*_UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))
