"""When the addresses or routes of this computer change: rtnetlink(7), which only Linux has."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

_LINK, _ADDRESS_4, _ROUTE_4, _ADDRESS_6, _ROUTE_6 = 0x1, 0x10, 0x40, 0x100, 0x400  # RTMGRP_*
_GROUPS = _LINK | _ADDRESS_4 | _ROUTE_4 | _ADDRESS_6 | _ROUTE_6
_SETTLE_S = 0.3  # a network that comes up makes a dozen changes
_MOST = 50  # of them in a row, where they do not end
_ROOM = 1 << 16


def changes() -> Iterator[None]:
    """Yield after each change, when it has settled. What changed is left to be looked up.

    Ends at once where the system does not tell.
    """
    if not hasattr(socket, "AF_NETLINK"):
        return
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    except OSError:  # a sandbox without it
        return
    with sock:
        sock.bind((0, _GROUPS))
        while True:
            _receive(sock, None)
            left = _MOST
            while left and _receive(sock, _SETTLE_S):
                left -= 1
            yield


def _receive(sock: socket.socket, seconds: float | None) -> bool:
    """Whether something changed within so many seconds."""
    sock.settimeout(seconds)
    try:
        sock.recv(_ROOM)
    except TimeoutError:
        return False
    except OSError as error:
        if error.errno != errno.ENOBUFS:  # more changes than there was room for are changes too
            raise
    return True
