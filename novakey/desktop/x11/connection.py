"""One connection to the X server.

Every delivery has its own connection. Closing it is the surest way to give
everything back: the server drops our grab and our selections with it.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from Xlib import X, Xatom, error
from Xlib.ext import xinput

from novakey.desktop.x11 import keymap as x11_keymap
from novakey.desktop.x11 import wire
from novakey.desktop.x11.display import GuardedDisplay
from novakey.desktop.x11.transport import PendingReply, VoidRequest, send_and_wipe
from novakey.desktop.x11.wire import KeyboardState

XKB, XTEST, RESOURCE, RECORD = "XKEYBOARD", "XTEST", "X-Resource", "RECORD"

# What a server that goes away, refuses us or answers with an error can raise.
ERRORS = (error.DisplayError, error.XError, error.ConnectionClosedError, error.XauthError, OSError)

# What reading a reply raises that has another form than the protocol says.
NONSENSE = (struct.error, LookupError, ValueError)

_BACKLOG = 1 << 16  # bytes that a connection may have unread and still be used

# Their numbers are asked for when a connection is made, not when a delivery waits.
_ATOMS = (
    *("_NET_SUPPORTING_WM_CHECK", "WM_STATE", "WM_PROTOCOLS", "WM_CLASS", "_NET_WM_NAME", "WM_NAME"),
    *("_NET_WM_PID", "WM_CLIENT_MACHINE", "_NET_WM_PING", "_NOVAKEY_DELIVERY"),
)


class ServerError(Exception):
    """The server cannot be used, or answered a request with an error."""


class Place(NamedTuple):
    """Where the environment says that the display is."""

    display: str | None
    authority: str | None


def place() -> Place:
    """Return the display of the environment as it is now."""
    return Place(os.environ.get("DISPLAY"), os.environ.get("XAUTHORITY"))


@dataclass(frozen=True)
class Prefetch:
    """What was seen when it was last looked, and is asked about before it is seen to be still so."""

    windows: tuple[int, ...] = ()  # the one with the focus, the one that this is in, and so on
    keyboards: tuple[int, ...] = ()


class Connection:
    """A connection with XTEST, XKB and XInput. Errors of requests without a reply come at the next `sync`.

    `place` is what the environment named when the connection was made.
    """

    def __init__(self) -> None:
        self.place = place()
        self.display = GuardedDisplay(self.place.display)
        self.expected = Prefetch()
        try:
            self._problem: str | None = None
            self.display.set_error_handler(self._note)
            self.root = self.display.screen().root
            self.xkb, _ = self._extension(XKB)
            self.xtest, _ = self._extension(XTEST)
            self.xinput, self.xinput_event = self._extension(xinput.extname)
            self.ask(wire.xkb_use_extension(self.xkb))
            self.display.xinput_query_version()
            self.resource = self._resource()
            self._atoms = {name: int(self.display.get_atom(name)) for name in _ATOMS}
            self.hidden = self.hidden_window()
            self.sync()
        except BaseException:
            self.close()
            raise

    def _extension(self, name: str) -> tuple[int, int]:
        found = self.display.query_extension(name)
        if found is None or not found.present:
            raise ServerError(f"the x server has no {name} extension")
        return found.major_opcode, found.first_event

    def _resource(self) -> int | None:
        """Return the extension that names a window's client, from version 1.2 on."""
        if not self.display.has_extension(RESOURCE):
            return None
        version = self.display.res_query_version()
        if (version.server_major, version.server_minor) < (1, 2):
            return None
        return self._extension(RESOURCE)[0]

    def _note(self, problem: Exception, _request: object) -> None:
        self._problem = type(problem).__name__

    @property
    def is_good(self) -> bool:
        """Whether the server has not closed it, and no client has flooded it with events."""
        own = self.display.display.socket
        try:
            readable, _, _ = select.select([own], [], [], 0)
            if not readable:
                return True
            unread = int.from_bytes(fcntl.ioctl(own.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)
            return unread <= _BACKLOG and bool(own.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def close(self) -> None:
        """Close the socket at once, also when the server no longer reads from it."""
        self.display.close()

    def ask(self, request: bytes) -> PendingReply:
        """Queue a request; several that are queued go out together, and cost one round trip."""
        return PendingReply(self.display, request)

    def tell(self, request: bytes) -> None:
        """Queue a request that has no reply."""
        VoidRequest(self.display, [request])

    def sync(self) -> None:
        """Wait until the server has done everything that was sent."""
        _ = self.ask(wire.get_input_focus()).raw
        problem, self._problem = self._problem, None
        if problem:
            raise ServerError(f"the x server refused a request ({problem})")

    @contextmanager
    def grabbed(self) -> Iterator[None]:
        """No other client is served inside, so what was read stays true until it is used.

        A timeout or the end of the greenlet leaves python-xlib in the middle of an exchange;
        this connection must then only be closed, which ends the grab as well.
        """
        with self.display.display.alone():
            self.tell(wire.grab_server())
            try:
                yield
            except Exception:
                self.tell(wire.ungrab_server())
                self.display.sync()
                raise
            self.tell(wire.ungrab_server())
            self.sync()

    def atom(self, name: str) -> int:
        """Return the number of a name."""
        return self._atoms.get(name) or int(self.display.get_atom(name))

    def client_of(self, window: int) -> int:
        """Return the connection that a window belongs to, as the first number of its windows."""
        return window & ~int(self.display.display.info.resource_id_mask)

    def keymap(self) -> x11_keymap.Keymap:
        """Return the keyboard map."""
        return x11_keymap.parse(self.ask(wire.xkb_get_map(self.xkb)).raw)

    def keyboard_state(self) -> KeyboardState:
        """Return the modifiers and the group in effect."""
        return wire.keyboard_state(self.ask(wire.xkb_get_state(self.xkb)).raw)

    def set_locks(self, affected: int, locked: int, latched: int) -> None:
        """Set which of the affected modifiers are locked, and which modifiers are latched.

        As a request, not by pressing Caps Lock: it works with every meaning of that key.
        """
        self.tell(wire.xkb_latch_lock_state(self.xkb, affected, locked, latched))

    def press(self, keycode: int) -> None:
        """Press a key."""
        self.tell(wire.fake_key(self.xtest, wire.KEY_PRESS, keycode))

    def release(self, keycode: int) -> None:
        """Release a key."""
        self.tell(wire.fake_key(self.xtest, wire.KEY_RELEASE, keycode))

    def tap(self, keys: Callable[[], Iterator[tuple[int, bool]]]) -> None:
        """Keys go down (true) and up, one after the other. `keys` is called twice: a list would be a copy."""
        count = sum(1 for _ in keys())
        if count:
            send_and_wipe(self.display, wire.fake_keys(self.xtest, keys(), count), count)

    def write_text(self, window: int, atom: int, kind: int, text: bytearray) -> None:
        """Put a secret text into a property of a window; it is wiped."""
        send_and_wipe(self.display, wire.change_text_property(window, atom, kind, text), 1)

    def keys_down(self) -> list[int]:
        """Return the keycodes that are down."""
        return sorted(wire.keys_down(self.ask(wire.query_keymap()).raw))

    def put_on_keys(self, pairs: dict[int, x11_keymap.Pair]) -> None:
        """Give each of these keys its symbols without Shift and with it; `NOTHING` frees a key.

        In one request where that can be: every program on the desktop is told of each change and
        reads the whole map again, window managers even grab their shortcuts again. Some layouts have keys
        that the server does not take back as it gave them: there, each of our keys is set alone.
        """
        if not pairs:
            return
        keymap = self.keymap()
        if self._keyboards_agree():
            if not self._takes(x11_keymap.change(keymap, pairs)):
                for code, pair in pairs.items():
                    self._set_map(x11_keymap.change(keymap, {code: pair}))
        else:
            for code, pair in pairs.items():
                self.display.change_keyboard_mapping(code, [pair * 2 if any(pair) else (X.NoSymbol,)])
        state = self.keyboard_state()
        spare = keymap.unused_modifier()
        if state.group and spare and not state.modifiers & spare:
            # Qt 5 takes the first group for the one in effect when it has read a changed map, until it is
            # told each change of the state.
            self.set_locks(spare, spare, state.latched)
            self.set_locks(spare, 0, state.latched)

    def _set_map(self, change: x11_keymap.Change) -> None:
        info = self.display.display.info
        keycodes = (info.min_keycode, info.max_keycode)
        self.tell(
            wire.xkb_set_map(self.xkb, keycodes, change.first, change.count, change.symbols, change.wire)
        )

    def _takes(self, change: x11_keymap.Change) -> bool:
        """Change the map, and return whether the server accepted it."""
        earlier, self._problem = self._problem, None
        self._set_map(change)
        _ = self.keyboard_state()  # errors of what was sent before come first
        refused, self._problem = self._problem, earlier
        return refused is None

    def _keyboards_agree(self) -> bool:
        """Return whether all keyboards have the same map.

        Otherwise a run of keys must not be written as a whole: it would go to all keyboards, and carry the
        layout of one over to the others.
        """
        numbers = (wire.CORE_KEYBOARD, *dict(self.keyboards()))
        asked = [self.ask(wire.xkb_get_map(self.xkb, number)) for number in numbers]
        return len({reply.raw[8:] for reply in asked}) == 1

    def keyboards(self) -> list[tuple[int, str]]:
        """Return number and name of every keyboard behind the core keyboard."""
        return wire.keyboards(self.ask(wire.xi_query_devices(self.xinput)).raw)

    def property(self, window: int, name: str) -> list[int] | bytes | None:
        """Return the value of a property, None when it is not there."""
        return wire.property_value(self.ask(wire.get_property(window, self.atom(name))).raw)

    def hidden_window(self, event_mask: int = 0) -> Any:
        """Return a window that is never mapped."""
        return self.root.create_window(
            -1, -1, 1, 1, 0, 0, X.InputOnly, X.CopyFromParent, override_redirect=True, event_mask=event_mask
        )

    def remember(self, name: str, numbers: list[int]) -> None:
        """Keep numbers on the root window, where they outlive this process but not the server."""
        if numbers:
            self.tell(wire.change_property(self.root.id, self.atom(name), Xatom.CARDINAL, numbers))
        else:
            self.tell(wire.delete_property(self.root.id, self.atom(name)))
