"""Whether the screen is locked: then the person does not see what is typed, nor into what.

Desktops tell it in different places; each is asked that is there. All it takes
is one that says so: a screen that one service calls locked is not unlocked by
another that does not know. A service that is there and gives no answer may have
locked the screen, so the screen counts as locked.
"""

from __future__ import annotations

import logging

from jeepney import DBusAddress, HeaderFields, Message, MessageFlag, Properties, new_method_call

from novakey.session.dbus import Bus, BusError, SilentError

log = logging.getLogger(__name__)

_ASK_S = 1.0
_SCREEN_SAVERS = (
    DBusAddress("/org/freedesktop/ScreenSaver", "org.freedesktop.ScreenSaver", "org.freedesktop.ScreenSaver"),
    DBusAddress("/org/gnome/ScreenSaver", "org.gnome.ScreenSaver", "org.gnome.ScreenSaver"),
)
_LOGIN = DBusAddress(
    "/org/freedesktop/login1/session/auto", "org.freedesktop.login1", "org.freedesktop.login1.Session"
)
# The bus answers so for a service that went away, or held its call, before it answered.
_NO_REPLY = "org.freedesktop.DBus.Error.NoReply"


def locked() -> bool | None:
    """Return True if a service says so or is silent, False if one denies it, None without a service."""
    answers = [*_screen_savers(), _login_session()]
    if True in answers:
        return True
    return False if False in answers else None


def _screen_savers() -> list[bool | None]:
    try:
        with Bus("session") as bus:
            return [_ask(bus, new_method_call(saver, "GetActive")) for saver in _SCREEN_SAVERS]
    except SilentError:
        return [_silent("the session bus")]
    except BusError:
        return []


def _login_session() -> bool | None:
    """Return logind's hint from the desktop's screen locker (LockedHint, org.freedesktop.login1(5))."""
    try:
        with Bus("system") as bus:
            return _ask(bus, Properties(_LOGIN).get("LockedHint"))
    except SilentError:
        return _silent("the system bus")
    except BusError:
        return None


def _ask(bus: Bus, question: Message) -> bool | None:
    service = str(question.header.fields[HeaderFields.destination])
    # A service that does not run is not started: the bus answers for it at once, so silence is its owner's.
    question.header.flags |= MessageFlag.no_auto_start
    try:
        answer = bus.send(question, timeout=_ASK_S)
    except SilentError:
        return _silent(service)
    except BusError as error:
        return _silent(service) if error.name == _NO_REPLY else None
    found = answer[0] if len(answer) == 1 else None
    if isinstance(found, tuple):  # a property is a variant: its signature and the value
        found = found[1]
    return found if isinstance(found, bool) else _silent(service)


def _silent(service: str) -> bool:
    log.warning("%s does not say whether the screen is locked, so it counts as locked", service)
    return True
