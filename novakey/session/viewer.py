"""Showing a picture in the person's own viewer."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import gevent

from novakey.system import process

log = logging.getLogger(__name__)

_OPENER = "open" if sys.platform == "darwin" else "xdg-open"
# What an opener needs to find the session, its settings and its programs.
_SESSION = (
    "HOME", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR",
    "XDG_CURRENT_DESKTOP", "XDG_SESSION_TYPE", "XDG_DATA_DIRS", "XDG_CONFIG_DIRS", "XDG_DATA_HOME",
    "XDG_CONFIG_HOME", "DESKTOP_SESSION",
)  # fmt: skip


def show(picture: Path) -> None:
    """Open the picture and go on. The viewer outlives this call, which does not wait for it."""
    try:
        # Only the path is an argument; what the picture holds is read by the viewer itself.
        opener = subprocess.Popen(  # noqa: S603
            [_OPENER, str(picture)],
            env=process.environment(*_SESSION),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        gevent.spawn(opener.wait)
    except OSError as error:
        log.warning("the QR cannot be shown: %s cannot be started: %s", _OPENER, error.strerror)
