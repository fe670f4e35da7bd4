"""The name under which this computer answers on the local network (RFC 6762), where a responder runs."""

from __future__ import annotations

import socket
import sys

from jeepney import DBusAddress

from novakey.session.dbus import Bus, BusError

_AVAHI = DBusAddress("/", "org.freedesktop.Avahi", "org.freedesktop.Avahi.Server")
_RUNNING = 2  # AVAHI_SERVER_RUNNING: the name is registered, and no other computer has it


def local_name() -> str | None:
    """Return `NAME.local`; None where no responder answers for this computer."""
    if sys.platform == "darwin":  # its responder always runs
        name = socket.gethostname().lower()
        return name if name.endswith(".local") else None
    try:
        with Bus("system") as bus:
            (state,) = bus.call(_AVAHI, "GetState", start=False)
            (name,) = bus.call(_AVAHI, "GetHostNameFqdn", start=False)
    except (BusError, ValueError):
        return None
    return name.lower() if state == _RUNNING and isinstance(name, str) else None
