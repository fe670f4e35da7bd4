"""Which object on the screen has the keyboard focus, as programs tell assistive technologies (AT-SPI).

No service keeps that in one place, so every program is asked for its active window, and that
window's objects for the one with the focus. Programs tell of themselves: one that
lies could have typed the text itself; one that says nothing has no focused object here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gevent
from jeepney import DBusAddress

from novakey.session.dbus import Bus, BusError

LOOK_S = 1.5  # of a delivery; what is not found by then is not found
_CALL_S = 0.5  # a program that hangs holds up only itself
_MAX_PROGRAMS = 200
_MAX_OBJECTS = 4000  # of one window, which says itself how many it has

_LAUNCHER = DBusAddress("/org/a11y/bus", "org.a11y.Bus", "org.a11y.Bus")
_REGISTRY, _ROOT = "org.a11y.atspi.Registry", "/org/a11y/atspi/accessible/root"
_ACCESSIBLE = "org.a11y.atspi.Accessible"
_DRIVER = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
# Numbers of AtspiStateType and AtspiRole.
_ACTIVE, _FOCUSED, _SHOWING = 1, 12, 25
_PASSWORD_TEXT = 40


@dataclass(frozen=True)
class FocusedObject:
    """An object with the keyboard focus, in the active window of a process."""

    pid: int
    is_password: bool


def focused_objects() -> list[FocusedObject]:
    """Return the focused object of every program that has an active window: one, where all tell the truth.

    Ends within `LOOK_S` seconds and a little; `BusError` when no program can be asked.
    """
    with Bus() as session:
        (address,) = session.call(_LAUNCHER, "GetAddress", timeout=_CALL_S)
    with Bus(address=str(address)) as bus:
        programs = _call(bus, _REGISTRY, _ROOT, "GetChildren")[:_MAX_PROGRAMS]
        asked = [gevent.spawn(_of_program, bus, name, path) for name, path in programs]
        gevent.joinall(asked, timeout=LOOK_S)
        gevent.killall(asked)
        return [found for ask in asked if isinstance(found := ask.value, FocusedObject)]


def _of_program(bus: Bus, name: str, path: str) -> FocusedObject | None:
    try:
        for window_name, window in _call(bus, name, path, "GetChildren"):
            if window_name == name and _ACTIVE in _states(bus, name, window):
                found = _focused(bus, name, window)
                if found is not None:
                    (pid,) = bus.call(_DRIVER, "GetConnectionUnixProcessID", "s", (name,), timeout=_CALL_S)
                    return FocusedObject(pid, _call(bus, name, found, "GetRole") == _PASSWORD_TEXT)
    except (BusError, ValueError, TypeError):  # gone by now, or an answer that is none
        return None
    return None


def _focused(bus: Bus, name: str, window: str) -> str | None:
    """Return the path of the first focused object in a window, from the top, among those that show."""
    rest, seen = [window], 0
    while rest and seen < _MAX_OBJECTS:
        path = rest.pop()
        seen += 1
        states = _states(bus, name, path)
        if _FOCUSED in states:
            return path
        if _SHOWING in states:
            children = _call(bus, name, path, "GetChildren")
            rest += [child for child_name, child in reversed(children) if child_name == name]
    return None


def _states(bus: Bus, name: str, path: str) -> frozenset[int]:
    low, high = _call(bus, name, path, "GetState")
    bits = low | high << 32
    return frozenset(bit for bit in (_ACTIVE, _FOCUSED, _SHOWING) if bits >> bit & 1)


def _call(bus: Bus, name: str, path: str, method: str) -> Any:
    (value,) = bus.call(DBusAddress(path, name, _ACCESSIBLE), method, timeout=_CALL_S)
    return value
