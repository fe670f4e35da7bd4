"""Any desktop with the portal org.freedesktop.portal.RemoteDesktop (KDE, GNOME, others): keys by permission.

The desktop asks the person once whether we may press keys. What it gives for not
asking again (the restore token) is good for one start and replaced by the next, so
each new one is kept, sealed. The session then stays open for as long as the
daemon runs: asking takes longer than a delivery may.

Known limits. The portal tells neither the focus nor Caps Lock, and a modifier that
a person holds counts for our keys too: see `novakey.desktop.remote.backend`.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping, Sequence
from queue import Empty
from typing import Any

import gevent
from jeepney import DBusAddress, HeaderFields, MatchRule
from jeepney.bus_messages import message_bus

from novakey.desktop.base import CannotType, DesktopError, RestoreTokenStore, Unusable
from novakey.desktop.remote import shell, xkb
from novakey.desktop.remote.backend import Clipboard, Keyboard, RemoteBackend
from novakey.desktop.remote.xkb import Layout
from novakey.desktop.wayland import session
from novakey.desktop.wayland.selection import SelectionOwner
from novakey.secret import Secret
from novakey.session.dbus import WRONG_TYPE, Bus, BusError
from novakey.system.process import open_to_portals

NAME = "org.freedesktop.portal.Desktop"
ASKS = "the desktop asks the person at the screen for permission to type: allow it there, then send again"
PROBE_S = 1.0
ANSWER_S = 120.0  # for a person to see the question and answer it

_REMOTE = f"{NAME.rpartition('.')[0]}.RemoteDesktop"
_REQUEST = f"{NAME.rpartition('.')[0]}.Request"
_SESSION = f"{NAME.rpartition('.')[0]}.Session"
_PATH = "/org/freedesktop/portal/desktop"
_PORTAL = DBusAddress(_PATH, NAME, _REMOTE)
_PROPERTIES = "org.freedesktop.DBus.Properties"
_BUS = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
# The desktop's own part behind the portal presses the keys. The portal hands them on and does not wait.
_BEHIND = "org.freedesktop.impl.portal.desktop."
_BEHIND_SESSION = "org.freedesktop.impl.portal.Session"
_KEYBOARD = 1  # device types
_UNTIL_REVOKED = 2  # persist_mode
_PERSISTS_SINCE = 2  # version of the interface


class PortalBackend(RemoteBackend):
    """A desktop that presses keys for a program that the person allows."""

    name = "portal"

    def __init__(self) -> None:
        super().__init__()
        self._permission: RestoreTokenStore | None = None
        self._keyboard: PortalKeyboard | None = None
        self._opening: gevent.Greenlet | None = None

    @classmethod
    def unavailable(cls) -> Unusable | None:
        """See `Backend.unavailable`."""
        found = session.probe()
        if isinstance(found, Unusable):
            return found
        if not xkb.available():
            return Unusable(
                "libxkbcommon is missing", "install it, on Debian with: apt install libxkbcommon0"
            )
        try:
            with Bus() as bus, open_to_portals():
                if not _property(bus, "AvailableDeviceTypes") & _KEYBOARD:
                    return Unusable("the desktop's portal lets no program type", "use another session")
        except BusError as error:
            return Unusable(
                f"the desktop's portal for typing is not there: {error}",
                "install the portal of the desktop, such as xdg-desktop-portal-kde, and log in again",
            )
        return None

    def keep_restore_token_in(self, permission: RestoreTokenStore) -> None:
        """See `Backend.keep_restore_token_in`."""
        self._permission = permission

    def clear_clipboard(self) -> None:
        """See `Backend.clear_clipboard`."""
        super().close()

    def close(self) -> None:
        """See `Backend.close`."""
        super().close()
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.kill()
        self._end()

    def _end(self) -> None:
        keyboard, self._keyboard = self._keyboard, None
        if keyboard is not None:
            keyboard.end()

    def _start(self, deadline_s: float) -> Keyboard:
        if self._keyboard is not None and self._keyboard.serves and self._keyboard.is_proven():
            return self._keyboard
        self._end()
        if self._opening is None:
            self._opening = gevent.spawn(self._open)
        self._opening.join(timeout=0.8 * deadline_s)
        if not self._opening.ready():
            raise CannotType(ASKS)
        opening, self._opening = self._opening, None
        if isinstance(opening.value, PortalKeyboard):
            self._keyboard = opening.value
            return self._keyboard
        raise BusError(str(opening.value))

    def _open(self) -> PortalKeyboard | BusError:
        try:
            return PortalKeyboard(self._permission)
        except BusError as error:
            return error

    def _own(self, text: Secret, deadline_s: float) -> Clipboard:
        try:
            return SelectionOwner(text)
        except KeyError:
            raise DesktopError("this compositor lets no program own the clipboard") from None


class PortalKeyboard:
    """A session that the person has allowed; see `remote.Keyboard`. It outlives a delivery."""

    def __init__(self, permission: RestoreTokenStore | None) -> None:
        """Ask for it, and wait until the person has answered. Raises `BusError`."""
        self._bus = Bus()
        self._ended = False
        try:
            self._portal = self._owner()
            with open_to_portals():  # the first call on this connection: later ones are not looked at
                self._session = self._create()
            self._select(permission.load() if permission is not None else None)
            started = self._ask("Start", "os", (self._session, ""), ANSWER_S)
            if not _number(started.get("devices")) & _KEYBOARD:
                raise BusError("the person allowed no keyboard")
            self._behind = self._find_behind()
        except BaseException:
            self._bus.close()
            raise
        token = started.get("restore_token", ("s", None))[1]
        if permission is not None:
            permission.save(token if isinstance(token, str) else None)

    @property
    def serves(self) -> bool:
        """Whether it can press keys in the session that the environment names."""
        return not self._ended and self._bus.serves

    def press(self, code: int, down: bool) -> None:
        try:
            none: dict[str, object] = {}
            values = (self._session, none, code, int(down))
            self._bus.call(_PORTAL, "NotifyKeyboardKeycode", "oa{sv}iu", values, returns="")
        except BusError:
            self.end()  # the person has ended it, or the portal has; the next delivery starts another
            raise

    def caps_lock(self) -> bool:
        return False

    def aim(self) -> None:
        if shell.overview_is_open(self._bus):
            raise DesktopError(shell.OVERVIEW)

    def lags(self) -> bool:
        return shell.keys_lag(self._bus)

    def find_group(self, layout: Layout) -> None:
        shell.find_group(self._bus, layout)

    def is_proven(self) -> bool:
        """Whether the portal, and what is behind it, still have this very session; a round trip to each."""
        try:
            self.confirm()
        except BusError:
            return False
        return True

    def confirm(self) -> None:
        # What the portal has handed on lies before this call in the queue of what is behind it.
        try:
            self._has_session(self._portal, _SESSION)
            for owner in self._behind:
                self._has_session(owner, _BEHIND_SESSION)
        except BusError as error:
            self.end()
            raise BusError(f"the portal's session is gone ({error})") from None

    def _has_session(self, owner: str, interface: str) -> None:
        where = DBusAddress(self._session, owner, _PROPERTIES)
        self._bus.call(where, "Get", "ss", (interface, "version"), PROBE_S, start=False, returns="v")

    def _find_behind(self) -> list[str]:
        """Return the connections behind the portal that have this session; none where they do not show it."""
        (names,) = self._bus.call(_BUS, "ListNames", returns="as")
        found = []
        for name in [name for name in names if name.startswith(_BEHIND)]:
            with contextlib.suppress(BusError):
                (owner,) = self._bus.call(_BUS, "GetNameOwner", "s", (name,), returns="s")
                self._has_session(owner, _BEHIND_SESSION)
                found.append(owner)
        return found

    def stop(self) -> None:
        return

    def end(self) -> None:
        """End the session."""
        self._ended = True
        with contextlib.suppress(BusError):
            self._bus.call(DBusAddress(self._session, NAME, _SESSION), "Close")
        self._bus.close()

    def _owner(self) -> str:
        """Who the portal is on this bus: any program could send a signal that looks like its answer."""
        with contextlib.suppress(BusError):  # one that runs without the bus knowing how to start it
            self._bus.send(message_bus.StartServiceByName(NAME))
        (owner,) = self._bus.send(message_bus.GetNameOwner(NAME), returns="s")
        return str(owner)

    def _create(self) -> str:
        options = {"session_handle_token": ("s", _token())}
        created = self._ask("CreateSession", "", (), PROBE_S * 2, options)
        handle = created.get("session_handle", ("s", ""))[1]
        if not isinstance(handle, str) or not handle.startswith("/"):
            raise BusError("the portal made no session")
        return handle

    def _select(self, token: str | None) -> None:
        options: dict[str, tuple[str, object]] = {"types": ("u", _KEYBOARD)}
        if _property(self._bus, "version") >= _PERSISTS_SINCE:
            options["persist_mode"] = ("u", _UNTIL_REVOKED)
            if token:
                options["restore_token"] = ("s", token)
        self._ask("SelectDevices", "o", (self._session,), PROBE_S * 2, options)

    def _ask(
        self,
        method: str,
        signature: str,
        values: Sequence[object],
        seconds: float,
        options: Mapping[str, tuple[str, object]] | None = None,
    ) -> dict[str, tuple[str, Any]]:
        """Make a request and wait for its answer (org.freedesktop.portal.Request)."""
        token = _token()
        sender = self._bus.unique_name.lstrip(":").replace(".", "_")
        path = f"{_PATH}/request/{sender}/{token}"
        rule = MatchRule(type="signal", sender=self._portal, interface=_REQUEST, member="Response", path=path)
        asked = {"handle_token": ("s", token), **(options or {})}
        with self._bus.signals(rule) as answers:
            self._bus.call(_PORTAL, method, f"{signature}a{{sv}}", (*values, asked))
            try:
                answer = answers.get(timeout=seconds)
            except Empty:
                with contextlib.suppress(BusError):
                    self._bus.call(DBusAddress(path, NAME, _REQUEST), "Close")
                raise BusError("no answer came whether we may type") from None
        if answer is None:
            raise BusError("the session bus hung up")
        if answer.header.fields.get(HeaderFields.signature) != "ua{sv}":
            raise BusError(WRONG_TYPE)
        response, results = answer.body
        if response:
            raise BusError("the person declined" if response == 1 else "the portal ended the request")
        return dict(results)


def _property(bus: Bus, name: str) -> int:
    where = DBusAddress(_PATH, NAME, _PROPERTIES)
    (value,) = bus.call(where, "Get", "ss", (_REMOTE, name), PROBE_S, returns="v")
    return _number(value)


def _number(value: tuple[str, Any] | None) -> int:
    """Return what a variant holds, if that is a number; else 0."""
    return value[1] if value is not None and isinstance(value[1], int) else 0


def _token() -> str:
    return f"novakey_{secrets.token_hex(8)}"
