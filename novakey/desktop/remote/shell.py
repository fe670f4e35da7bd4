"""What GNOME's shell tells of itself to any program on the session bus.

In GNOME 42 to 44 each key goes through the input method, which is another process, and the state of
Shift goes straight to the window. So a key that is still on its way gets the Shift of a later key. From
45 on both go the same way.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from jeepney import DBusAddress

from novakey.desktop.remote import sources
from novakey.desktop.remote.xkb import Layout
from novakey.session.dbus import Bus, BusError

NAME = "org.gnome.Shell"
OVERVIEW = "GNOME's overview is open, whose search field would get the text: close it, then send again"
PROBE_S = 1.0
EXACT_SINCE = 45

_PROPERTIES = DBusAddress("/org/gnome/Shell", NAME, "org.freedesktop.DBus.Properties")
# The bus without a shell, and a shell without the property; any other refusal is one of a shell.
_NO_SHELL = frozenset(
    f"org.freedesktop.DBus.Error.{name}"
    for name in ("ServiceUnknown", "NameHasNoOwner", "UnknownProperty", "UnknownInterface", "InvalidArgs")
)


def overview_is_open(bus: Bus) -> bool:
    """Return whether the overview is open; True also where a shell does not tell."""
    try:
        found = _property(bus, "OverviewActive")
    except BusError:
        return True
    return found is not None and found is not False


def keys_lag(bus: Bus) -> bool:
    """Return whether keys reach a window later than Shift; True also where a shell does not tell."""
    try:
        version = _property(bus, "ShellVersion")
    except BusError:
        return True
    return version is not None and not is_exact(version)


def find_group(bus: Bus, layout: Layout) -> None:
    """Tell a map of several layouts which of them is in effect, where there is a shell whose settings say."""
    with suppress(BusError):
        if _property(bus, "ShellVersion") is None:
            return
        source = sources.current()
        if source is not None:
            layout.use_named(source)


def is_exact(version: object) -> bool:
    """Return whether a shell of this version gives each key the Shift that it was pressed with."""
    major = version.partition(".")[0] if isinstance(version, str) else ""
    return major.isascii() and major.isdigit() and int(major) >= EXACT_SINCE


def _property(bus: Bus, name: str) -> Any:
    """Return a property of the shell; None without a shell. `BusError` when it does not tell."""
    try:
        ((_, value),) = bus.call(_PROPERTIES, "Get", "ss", (NAME, name), PROBE_S, start=False, returns="v")
    except BusError as error:
        if error.name in _NO_SHELL:
            return None
        raise
    return value
