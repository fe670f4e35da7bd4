"""GNOME: typing through org.gnome.Mutter.RemoteDesktop, the interface behind its remote desktop.

It asks no person, shows that a session is controlled while it types, and is there from
login on. Sandboxed programs do not reach it.

Known limits. A modifier that a person holds at that moment counts for our keys
too. GNOME does not tell where the focus is: see `novakey.desktop.remote.backend`.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import gevent
import gevent.event
from jeepney import DBusAddress, HeaderFields, MatchRule

from novakey.desktop.base import DesktopError, Unusable
from novakey.desktop.pipe import write_and_close
from novakey.desktop.remote import shell, xkb
from novakey.desktop.remote.backend import Clipboard, Keyboard, RemoteBackend
from novakey.desktop.remote.xkb import Layout
from novakey.desktop.wayland import session
from novakey.desktop.wayland.selection import MANAGER_HINT, NOTHING, TEXTS
from novakey.secret import Secret, erase
from novakey.session.dbus import Bus, BusError

NAME = "org.gnome.Mutter.RemoteDesktop"
PROBE_S = 1.0


_ROOT = DBusAddress("/org/gnome/Mutter/RemoteDesktop", NAME, NAME)
_SESSION = f"{NAME}.Session"
_PROPERTIES = "org.freedesktop.DBus.Properties"
_SIGNALS = {"SelectionTransfer": "su", "SelectionOwnerChanged": "a{sv}", "Closed": ""}

_log = logging.getLogger(__name__)


class MutterBackend(RemoteBackend):
    """A session of GNOME's compositor."""

    name = "gnome"

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
            with Bus() as bus:
                bus.call(_properties(_ROOT.object_path), "Get", "ss", (NAME, "Version"), PROBE_S)
        except BusError as error:
            return Unusable(
                f"GNOME's remote desktop interface is not there: {error}",
                "outside GNOME, leave desktop_backend at auto; inside, let the daemon know the bus: "
                "systemctl --user import-environment DBUS_SESSION_BUS_ADDRESS"
                " && systemctl --user restart novakey.service",
            )
        return None

    def _start(self, deadline_s: float) -> Keyboard:
        return MutterKeyboard()

    def _own(self, text: Secret, deadline_s: float) -> Clipboard:
        return _MutterClipboard(text)


class _Session:
    """One session; it ends with the connection, also should this process be killed."""

    def __init__(self, fds: bool = False) -> None:
        self.bus = Bus(fds=fds)
        try:
            (path,) = self.bus.call(_ROOT, "CreateSession", returns="o")
        except BaseException:
            self.bus.close()
            raise
        self.address = DBusAddress(path, NAME, _SESSION)

    def call(
        self, method: str, signature: str | None = None, *values: object, returns: str = ""
    ) -> tuple[Any, ...]:
        return self.bus.call(self.address, method, signature, values, returns=returns)

    def stop(self) -> None:
        with contextlib.suppress(BusError):
            self.call("Stop")
        self.bus.close()


class MutterKeyboard(_Session):
    """The keyboard of a session; see `remote.Keyboard`."""

    def __init__(self) -> None:
        super().__init__()
        try:
            self.call("Start")
        except BaseException:
            self.stop()
            raise

    def press(self, code: int, down: bool) -> None:
        self.call("NotifyKeyboardKeycode", "ub", code, down)

    def caps_lock(self) -> bool:
        where = _properties(self.address.object_path)
        ((_, on),) = self.bus.call(where, "Get", "ss", (_SESSION, "CapsLockState"), returns="v")
        return bool(on)

    def aim(self) -> None:
        if shell.overview_is_open(self.bus):
            raise DesktopError(shell.OVERVIEW)

    def lags(self) -> bool:
        return shell.keys_lag(self.bus)

    def find_group(self, layout: Layout) -> None:
        shell.find_group(self.bus, layout)

    def confirm(self) -> None:
        self.caps_lock()  # each key was a call of its own; this shows that the session is still there


class _MutterClipboard(_Session):
    """Serves the text to programs that paste, until another one copies something or `close`."""

    def __init__(self, text: Secret) -> None:
        super().__init__(fds=True)
        self._text = text.copy()
        self.fetched = gevent.event.Event()
        self._server: gevent.Greenlet | None = None
        try:
            self.call("EnableClipboard", "a{sv}", {})
            rule = MatchRule(type="signal", interface=_SESSION, path=self.address.object_path)
            listening = gevent.event.Event()
            self._server = gevent.spawn(self._serve, rule, listening)
            listening.wait()
            self.call("SetSelection", "a{sv}", {"mime-types": ("as", [*TEXTS, MANAGER_HINT])})
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._server is not None:
            # Mutter keeps a copy of what is copied, and gives it out when the owner is gone.
            with contextlib.suppress(BusError):
                self.bus.call(_properties(_ROOT.object_path), "Get", "ss", (NAME, "Version"))
                gevent.sleep(0)  # for a signal before that answer: another program copied something
                if not self._server.dead:
                    self.call("SetSelection", "a{sv}", {"mime-types": ("as", [*NOTHING])})
            self._server.kill()
        self.stop()
        self._text.wipe()

    def _serve(self, rule: MatchRule, listening: gevent.event.Event) -> None:
        try:
            with self.bus.signals(rule) as signals:
                listening.set()
                while (signal := signals.get()) is not None:
                    fields = signal.header.fields
                    member = fields[HeaderFields.member]
                    if fields.get(HeaderFields.signature, "") != _SIGNALS.get(member):
                        continue
                    if not self._handle(member, signal.body):
                        break
        except BusError as error:
            _log.info("the clipboard is no longer served: %s", error)
        finally:
            listening.set()
            self._text.wipe()

    def _handle(self, member: str, body: tuple[Any, ...]) -> bool:
        """Whether the clipboard is still ours after this signal."""
        match member:
            case "SelectionTransfer":
                kind, serial = body
                (file,) = self.call("SelectionWrite", "u", serial, returns="h")
                text = b"secret" if kind == MANAGER_HINT else self._text.reveal()
                try:
                    written = write_and_close(file.to_raw_fd(), text)
                finally:
                    if kind != MANAGER_HINT:
                        erase(text)
                self.call("SelectionWriteDone", "ub", serial, written)
                if kind in TEXTS:
                    self.fetched.set()
            case "SelectionOwnerChanged":
                return bool(body[0].get("session-is-owner", ("b", True))[1])
            case "Closed":
                return False
        return True


def _properties(path: str) -> DBusAddress:
    return DBusAddress(path, NAME, _PROPERTIES)
