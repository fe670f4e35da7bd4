"""Whether the screen is locked: then nobody sees what is typed, nor into what.

Desktops tell it in different places; each is asked that is there. All it takes
is one that says so: a screen that one service calls locked is not unlocked by
another that does not know.
"""

from __future__ import annotations

from jeepney import DBusAddress, Properties

from novakey.session.dbus import Bus, BusError

_ASK_S = 1.0
_SCREEN_SAVERS = (
    DBusAddress("/org/freedesktop/ScreenSaver", "org.freedesktop.ScreenSaver", "org.freedesktop.ScreenSaver"),
    DBusAddress("/org/gnome/ScreenSaver", "org.gnome.ScreenSaver", "org.gnome.ScreenSaver"),
)
_LOGIN = DBusAddress(
    "/org/freedesktop/login1/session/auto", "org.freedesktop.login1", "org.freedesktop.login1.Session"
)


def locked() -> bool | None:
    """True when a service says so, False when one says that it is not; None when nobody knows."""
    answers = [*_screen_savers(), _login_session()]
    if True in answers:
        return True
    return False if False in answers else None


def _screen_savers() -> list[bool | None]:
    try:
        with Bus("session") as bus:
            return [_ask(bus, saver) for saver in _SCREEN_SAVERS]
    except BusError:
        return []


def _ask(bus: Bus, saver: DBusAddress) -> bool | None:
    try:
        (active,) = bus.call(saver, "GetActive", timeout=_ASK_S, start=False)
    except (BusError, ValueError):
        return None
    return active if isinstance(active, bool) else None


def _login_session() -> bool | None:
    """What logind was told by the desktop's screen locker (LockedHint, org.freedesktop.login1(5))."""
    try:
        with Bus("system") as bus:
            ((_, hint),) = bus.send(Properties(_LOGIN).get("LockedHint"), timeout=_ASK_S)
    except (BusError, ValueError):
        return None
    return hint if isinstance(hint, bool) else None
