"""What serving imports on demand, imported soon after the start.

A start imports little, so that it is quick. A daemon then lives for weeks, and its files may be
replaced below it, by an update or by `git pull`. A module of the new version beside those of the
old one does what no version does. So everything is imported while there is nothing else to do.
"""

from __future__ import annotations

import contextlib
import importlib
import sys

import gevent

PRELOAD_AFTER_S = 2.0  # a phone or a command that comes right after the start is served first

_X11 = ("selection", "connection", "snapshot", "recovery", "warm", "focus", "typing")
_DESKTOP = {
    "win32": ("novakey.desktop.windows.backend",),
    "darwin": ("novakey.desktop.macos.backend",),
}.get(
    sys.platform,
    (
        "novakey.desktop.wayland.wlroots",
        "novakey.desktop.remote.gnome",
        "novakey.desktop.remote.portal",
        "novakey.desktop.wayland.clipboard_only",
        "novakey.desktop.x11.backend",
        *(f"novakey.desktop.x11.{name}" for name in _X11),
    ),
)
# A test compares this with every import inside a function (tests/unit/daemon/test_preload.py).
MODULES = (
    "novakey.control.owner",
    "novakey.session.atspi",
    "novakey.session.input_method",
    "novakey.session.screen_lock",
    "novakey.session.notifications",
    "novakey.session.mdns",
    "novakey.session.viewer",
    "novakey.pairing.qr",
    "qrcode.image.pure",
    *_DESKTOP,
)


def preload() -> None:
    """Import `MODULES`, each when the daemon has nothing else to do."""
    for name in MODULES:
        gevent.idle()
        # Not installed here, or being replaced right now: the first use reports it.
        with contextlib.suppress(ImportError, SyntaxError):
            importlib.import_module(name)
