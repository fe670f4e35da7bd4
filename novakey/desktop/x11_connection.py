"""One connection to the X server, with the few XKB requests that python-xlib lacks.

Every delivery makes its own connection. Closing it is the surest way to give
everything back: the server drops our grab and our selections with it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from Xlib import X, Xatom, error
from Xlib.display import Display
from Xlib.ext import xinput
from Xlib.protocol import rq

from novakey.desktop import x11_keymap

XKB, XTEST = "XKEYBOARD", "XTEST"
CORE_KEYBOARD = 0x100
_SYMBOLS = 2
_TYPES_SYMBOLS_AND_MODIFIERS = 1 | _SYMBOLS | 4
SLOW_OR_BOUNCE_KEYS = 2 | 4

# What a server that goes away, refuses us or answers with an error can raise.
ERRORS = (error.DisplayError, error.XError, error.ConnectionClosedError, error.XauthError, OSError)


class ServerError(Exception):
    """The server cannot be used, or answered a request with an error."""


@dataclass(frozen=True)
class KeyboardState:
    """The state of the core keyboard: modifier bits by how they came to be, and the group in effect."""

    modifiers: int
    latched: int
    locked: int
    group: int


class Connection:
    """A connection with XTEST and XKB. Errors of requests without a reply come at the next `sync`."""

    def __init__(self) -> None:
        self.display = Display()
        try:
            self._problem: str | None = None
            self.display.set_error_handler(self._note)
            self.root = self.display.screen().root
            for needed in (XTEST, xinput.extname):
                if not self.display.has_extension(needed):
                    raise ServerError(f"the x server has no {needed} extension")
            self._xkb = self._start_xkb()
        except BaseException:
            self.close()
            raise

    def _start_xkb(self) -> int:
        found = self.display.query_extension(XKB)
        if found is None or not found.present:
            raise ServerError("the x server has no XKEYBOARD extension")
        opcode: int = found.major_opcode
        _UseExtension(display=self.display.display, opcode=opcode, major=1, minor=0)
        return opcode

    def _note(self, problem: Exception, _request: object) -> None:
        self._problem = type(problem).__name__

    def close(self) -> None:
        """Close the socket at once, also when the server no longer reads from it."""
        self.display.display.socket.close()

    def sync(self) -> None:
        """Wait until the server has done everything that was sent."""
        self.display.sync()
        problem, self._problem = self._problem, None
        if problem:
            raise ServerError(f"the x server refused a request ({problem})")

    @contextmanager
    def grabbed(self) -> Iterator[None]:
        """No other client is served meanwhile, so what was read stays true until it is used.

        A timeout or the end of the greenlet leaves python-xlib in the middle of an exchange;
        this connection must then only be closed, which ends the grab as well.
        """
        self.display.grab_server()
        try:
            yield
            self.sync()
        except Exception:
            self.display.ungrab_server()
            self.display.sync()
            raise
        self.display.ungrab_server()
        self.display.sync()

    def keymap(self) -> x11_keymap.Keymap:
        """The keyboard map."""
        return x11_keymap.parse(self._map(CORE_KEYBOARD))

    def _map(self, device: int) -> bytes:
        parts = _TYPES_SYMBOLS_AND_MODIFIERS
        return _GetMap(display=self.display.display, opcode=self._xkb, device=device, full=parts).raw

    def keyboard_state(self) -> KeyboardState:
        """Modifiers and group now."""
        raw = _GetState(display=self.display.display, opcode=self._xkb, device=CORE_KEYBOARD).raw
        return KeyboardState(modifiers=raw[8], latched=raw[10], locked=raw[11], group=raw[12])

    def rejects_quick_keys(self) -> bool:
        """Whether an accessibility setting swallows keys that are short or soon repeated."""
        raw = _GetControls(display=self.display.display, opcode=self._xkb, device=CORE_KEYBOARD).raw
        (enabled,) = struct.unpack_from("=I", raw, 56)
        return bool(enabled & SLOW_OR_BOUNCE_KEYS)

    def set_locks(self, affected: int, locked: int, latched: int) -> None:
        """Set which of the affected modifiers are locked, and which modifiers are latched.

        As a request, not by pressing Caps Lock: it works whatever that key has been made.
        """
        _LatchLockState(
            display=self.display.display,
            opcode=self._xkb,
            device=CORE_KEYBOARD,
            affect_locks=affected,
            locks=locked,
            affect_latches=0xFF,
            latches=latched,
        )

    def press(self, keycode: int) -> None:
        """A key goes down."""
        self.display.xtest_fake_input(X.KeyPress, keycode)

    def release(self, keycode: int) -> None:
        """A key goes up."""
        self.display.xtest_fake_input(X.KeyRelease, keycode)

    def keys_down(self) -> list[int]:
        """The keycodes that are down."""
        octets = self.display.query_keymap()
        return [code for code in range(8, 256) if octets[code >> 3] & 1 << (code & 7)]

    def put_on_keys(self, symbols: dict[int, int]) -> None:
        """Give each of these keys one symbol for every state; 0 frees a key.

        In one request where that can be: every program on the desktop is told of each change and
        reads the whole map again, window managers even grab their shortcuts anew.
        """
        if not symbols:
            return
        keymap = self.keymap()
        if self._keyboards_agree():
            self._set_map(x11_keymap.change(keymap, symbols))
        else:
            for code, symbol in symbols.items():
                self.display.change_keyboard_mapping(code, [(symbol,) * 4 if symbol else (X.NoSymbol,)])
        state = self.keyboard_state()
        spare = keymap.unused_modifier()
        if state.group and spare and not state.modifiers & spare:
            # Qt 5 takes the first group for the one in effect when it has read a changed map, until it is
            # told a change of the state, whatever it is.
            self.set_locks(spare, spare, state.latched)
            self.set_locks(spare, 0, state.latched)

    def _set_map(self, change: x11_keymap.Change) -> None:
        info = self.display.display.info
        _SetMap(
            display=self.display.display,
            opcode=self._xkb,
            device=CORE_KEYBOARD,
            present=_SYMBOLS,
            min_keycode=info.min_keycode,
            max_keycode=info.max_keycode,
            first=change.first,
            count=change.count,
            total=change.symbols,
            symbols=change.wire,
        )

    def _keyboards_agree(self) -> bool:
        """Whether all keyboards have the same map. Where not, a run of keys must not be written as a whole:

        it would go to all of them, and carry the layout of one over to the others.
        """
        maps = {self._map(number)[8:] for number in (CORE_KEYBOARD, *dict(self.keyboards()))}
        return len(maps) == 1

    def keyboards(self) -> list[tuple[int, str]]:
        """Number and name of every keyboard that the core keyboard sums up."""
        self.display.xinput_query_version()
        devices = self.display.xinput_query_device(xinput.AllDevices).devices
        return [
            (device.deviceid, str(device.name)) for device in devices if device.use == xinput.SlaveKeyboard
        ]

    def property(self, window: Any, name: str, kind: int = X.AnyPropertyType) -> list[Any] | bytes | None:
        """The value of a property, None when it is not there."""
        found = window.get_full_property(self.display.get_atom(name), kind)
        return None if found is None else found.value

    def keyboard_is_grabbed(self) -> bool:
        """Whether another client holds the keyboard: then keys do not go where the focus is.

        Asked by grabbing for a window that is not mapped. That fails either way, so no
        window gets the focus events that a grab and its end would cause.
        """
        window = self.hidden_window()
        status = window.grab_keyboard(False, X.GrabModeAsync, X.GrabModeAsync, X.CurrentTime)
        if status == X.GrabSuccess:
            self.display.ungrab_keyboard(X.CurrentTime)
        window.destroy()
        return status in (X.AlreadyGrabbed, X.GrabFrozen)

    def hidden_window(self, event_mask: int = 0) -> Any:
        """A window that is never mapped."""
        return self.root.create_window(
            -1, -1, 1, 1, 0, 0, X.InputOnly, X.CopyFromParent, override_redirect=True, event_mask=event_mask
        )

    def remember(self, name: str, numbers: list[int]) -> None:
        """Keep numbers on the root window, where they outlive this process but not the server."""
        atom = self.display.get_atom(name)
        if numbers:
            self.root.change_property(atom, Xatom.CARDINAL, 32, numbers)
        else:
            self.root.delete_property(atom)


class RawReply(rq.ReplyRequest):  # type: ignore[misc]
    """A request whose reply is kept as bytes."""

    raw: bytes
    _reply = None  # python-xlib tells requests with a reply by having this

    def _parse_response(self, data: Any) -> None:
        self._data = {"raw": bytes(data), "sequence_number": struct.unpack_from("=H", data, 2)[0]}


class _UseExtension(RawReply):
    _request = rq.Struct(
        rq.Card8("opcode"), rq.Opcode(0), rq.RequestLength(), rq.Card16("major"), rq.Card16("minor")
    )


class _GetState(RawReply):
    _request = rq.Struct(rq.Card8("opcode"), rq.Opcode(4), rq.RequestLength(), rq.Card16("device"), rq.Pad(2))


class _GetControls(RawReply):
    _request = rq.Struct(rq.Card8("opcode"), rq.Opcode(6), rq.RequestLength(), rq.Card16("device"), rq.Pad(2))


class _GetMap(RawReply):
    _request = rq.Struct(
        rq.Card8("opcode"),
        rq.Opcode(8),
        rq.RequestLength(),
        rq.Card16("device"),
        rq.Card16("full"),
        rq.Pad(20),  # partial ranges: none
    )


class _SetMap(rq.Request):  # type: ignore[misc]
    _request = rq.Struct(
        rq.Card8("opcode"),
        rq.Opcode(9),
        rq.RequestLength(),
        rq.Card16("device"),
        rq.Card16("present"),
        rq.Pad(2),  # flags: types and actions stay as they are
        rq.Card8("min_keycode"),
        rq.Card8("max_keycode"),
        rq.Pad(2),  # types: none
        rq.Card8("first"),
        rq.Card8("count"),
        rq.Card16("total"),
        rq.Pad(18),  # actions, behaviours, explicit parts, modifiers, virtual modifiers: none
        rq.Binary("symbols"),
    )


class _LatchLockState(rq.Request):  # type: ignore[misc]
    _request = rq.Struct(
        rq.Card8("opcode"),
        rq.Opcode(5),
        rq.RequestLength(),
        rq.Card16("device"),
        rq.Card8("affect_locks"),
        rq.Card8("locks"),
        rq.Pad(2),  # the group stays as it is
        rq.Card8("affect_latches"),
        rq.Card8("latches"),
        rq.Pad(4),
    )
