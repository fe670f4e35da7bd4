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
from functools import cached_property

from novakey.desktop.x11 import wire
from novakey.desktop.x11.connection import XTEST, Connection
from novakey.desktop.x11.snapshot import Snapshot

_DEVICE_KEY_PRESS, _DEVICE_KEY_RELEASE = 1, 2  # counted from the first event of the extension
_XTEST_NAME = XTEST  # the server names its own devices "… XTEST keyboard"


class HeldKeys:
    """The keys that are down now, by the keyboard that holds them."""

    def __init__(self, connection: Connection, snapshot: Snapshot) -> None:
        self._connection = connection
        self._snapshot = snapshot

    @cached_property
    def _ours(self) -> set[int]:
        """On the keyboard that programs press keys on."""
        mine = [number for number, name in self._snapshot.keyboards if _XTEST_NAME in name]
        return {code for number in mine for code in self._snapshot.keys_down_on(number)}

    @cached_property
    def _persons(self) -> dict[int, set[int]]:
        """On each of a person's keyboards."""
        others = [number for number, name in self._snapshot.keyboards if _XTEST_NAME not in name]
        return {number: self._snapshot.keys_down_on(number) for number in others}

    @property
    def are_none(self) -> bool:
        """Whether no key is down, on the core keyboard or on any that it sums up."""
        return not (self._snapshot.keys_down or self._ours or any(self._persons.values()))

    def release(self, also: set[int]) -> None:
        """Put them up, and `also` keys that merely our device may believe to be down."""
        _ = self._ours, self._persons  # as they are now
        for code in self._snapshot.keys_down | also:
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
            for code in codes & self._down_now(device) if codes else ():
                # Up first: a press of what is down there would be taken for a repetition.
                self._fake(device, _DEVICE_KEY_RELEASE, code)
                self._fake(device, _DEVICE_KEY_PRESS, code)

    def _down_now(self, device: int) -> set[int]:
        reply = self._connection.ask(wire.query_device_state(self._connection.xinput, device))
        return wire.device_keys_down(reply.raw)

    def _fake(self, device: int, kind: int, code: int) -> None:
        kind += self._connection.xinput_event
        self._connection.tell(wire.fake_device_key(self._connection.xtest, kind, code, device))
