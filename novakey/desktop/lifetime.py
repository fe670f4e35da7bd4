"""The end of the graphical session that this process was started in.

A display hangs up on its clients when it ends. So one connection is kept that asks for
nothing, and what comes through it is thrown away.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket

import gevent

from novakey.desktop.base import DesktopError
from novakey.desktop.wayland.wire import socket_path

log = logging.getLogger(__name__)

CONNECT_S = 5.0
_CHUNK = 1 << 16


def wait_for_end() -> bool:
    """Block until the display of the environment ends; false if it cannot be reached."""
    try:
        with gevent.Timeout(CONNECT_S, TimeoutError):
            connection = _wayland() or _x11()
    except (OSError, DesktopError) as error:
        log.warning("the display cannot be reached, so this does not end with it (%s)", type(error).__name__)
        return False
    with connection, contextlib.suppress(OSError):
        while connection.recv(_CHUNK):
            gevent.sleep(0)
    log.info("the session ended")
    return True


def _wayland() -> socket.socket | None:
    path = socket_path(os.environ)
    if path is None:
        return None
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection


def _x11() -> socket.socket:
    """Connect as a client does: a server hangs up on one that does not say who it is."""
    from novakey.desktop.x11.connection import ERRORS
    from novakey.desktop.x11.display import GuardedDisplay

    try:
        return GuardedDisplay().take_socket()
    except ERRORS as error:
        raise DesktopError(f"the display cannot be reached ({type(error).__name__})") from None
