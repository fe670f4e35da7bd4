"""Keys that are down while we want to type, put up for the moment and down again afterwards.

The core keyboard, whose events windows get, sums up several devices: a person's
keyboards, and the XTEST keyboard on which programs press keys. A release on the
XTEST keyboard takes a key up on the core keyboard as well, while the person's own
keyboard goes on saying, truly, that it is down. So a key is pressed again on
the device that held it. Pressed on the XTEST keyboard instead it would stay down
there when the person lets go, and other programs' next press of it would be lost.
"""

from __future__ import annotations

from collections.abc import Callable

from Xlib import X
from Xlib.ext import xinput
from Xlib.protocol import rq

from novakey.desktop.x11_connection import XTEST, Connection, RawReply

_KEY_CLASS = 0
_DEVICE_KEY_PRESS, _DEVICE_KEY_RELEASE = 1, 2  # counted from the first event of the extension
_XTEST_NAME = "XTEST"  # the server names its own devices "… XTEST keyboard"


class HeldKeys:
    """The keys that are down now, by the keyboard that holds them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._input = connection.display.query_extension(xinput.extname)
        self._ours: set[int] = set()
        self._persons: dict[int, set[int]] = {}
        self.down = set(connection.keys_down())
        for device, name in connection.keyboards():
            if _XTEST_NAME in name:
                self._ours |= self._keys_of(device)
            else:
                self._persons[device] = self._keys_of(device)

    def release(self, also: set[int]) -> None:
        """Put them up, and `also` keys that merely our device may believe to be down."""
        for code in self.down | also:
            self._connection.release(code)

    def release_ours(self) -> None:
        """Put up those that no person holds."""
        for code in self._ours:
            self._connection.release(code)

    def press_again(self, wanted: Callable[[int], bool]) -> None:
        """Put those that are wanted down again, unless the person has let go of them."""
        for code in filter(wanted, self._ours):
            self._connection.press(code)
        for device, before in self._persons.items():
            codes = set(filter(wanted, before))
            for code in codes & self._keys_of(device) if codes else ():
                # Up first: a press of what is down there would be taken for a repetition.
                self._fake(device, _DEVICE_KEY_RELEASE, code)
                self._fake(device, _DEVICE_KEY_PRESS, code)

    def _keys_of(self, device: int) -> set[int]:
        """The keys that are down on one device (XInput protocol, QueryDeviceState)."""
        opcode = self._input.major_opcode
        raw = _QueryDeviceState(display=self._connection.display.display, opcode=opcode, device=device).raw
        offset = 32
        for _ in range(raw[8]):
            kind, length = raw[offset], raw[offset + 1]
            if kind == _KEY_CLASS:
                bits = raw[offset + 4 : offset + 36]
                return {code for code in range(8, 256) if bits[code >> 3] & 1 << (code & 7)}
            offset += length
        return set()

    def _fake(self, device: int, kind: int, code: int) -> None:
        _FakeDeviceKey(
            display=self._connection.display.display,
            opcode=self._connection.display.display.get_extension_major(XTEST),
            kind=self._input.first_event + kind,
            detail=code,
            time=X.CurrentTime,
            device=device,
        )


class _QueryDeviceState(RawReply):
    _request = rq.Struct(rq.Card8("opcode"), rq.Opcode(30), rq.RequestLength(), rq.Card8("device"), rq.Pad(3))


class _FakeDeviceKey(rq.Request):  # type: ignore[misc]
    """XTestFakeInput for an extension device, whose number is the last byte of the event."""

    _request = rq.Struct(
        rq.Card8("opcode"),
        rq.Opcode(2),
        rq.RequestLength(),
        rq.Card8("kind"),
        rq.Card8("detail"),
        rq.Pad(2),
        rq.Card32("time"),
        rq.Pad(23),
        rq.Card8("device"),
    )
