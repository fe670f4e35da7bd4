"""A keyboard of our own beside the person's (protocol virtual-keyboard-unstable-v1).

The compositor gives a window the map and the modifiers of the keyboard that a
key comes from, right before that key. So what a person holds down, their layout
and their Caps Lock belong to their keyboard and alter nothing of ours.
"""

from __future__ import annotations

import gevent

from novakey.desktop.wayland import protocol
from novakey.desktop.wayland.keymap import Keymap, Stroke, sealed_memory
from novakey.desktop.wayland.wire import Connection

MANAGER = "zwp_virtual_keyboard_manager_v1"
SEAT = "wl_seat"

_HAS_KEYBOARD = 2  # wl_seat.capability
_XKB_V1 = 1  # wl_keyboard.keymap_format
# A seat without any keyboard has one only when ours comes, and programs then ask for it. No event tells
# when a program has; one that has not yet would miss the first keys.
_FIRST_KEYBOARD_S = 0.4


class VirtualKeyboard:
    """A keyboard that goes away with the connection. Raises `KeyError` where no program may have one."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._time = 0
        self._modifiers = 0
        self._seat_has = 0
        manager = connection.bind(MANAGER, 1, (), lambda opcode, values: None)
        self.seat = connection.bind(SEAT, 1, ("u", "s"), self._on_seat)
        connection.roundtrip()
        had_one = self._seat_has & _HAS_KEYBOARD
        self._keyboard = connection.make(
            manager,
            protocol.VIRTUAL_KEYBOARD_MANAGER_CREATE,
            "zwp_virtual_keyboard_v1",
            before=(self.seat,),
        )
        self.use(Keymap())
        if not had_one:
            gevent.sleep(_FIRST_KEYBOARD_S)

    def stroke(self, character: str) -> Stroke | None:
        """Return the stroke for a character; None if the map in use lacks it."""
        return self.keymap.stroke(character)

    def use(self, keymap: Keymap) -> None:
        """Change the map, and wait until the compositor has passed it on."""
        self._set_modifiers(0)
        self.keymap = keymap
        text = keymap.text().encode() + b"\0"
        self._connection.request(
            self._keyboard, protocol.VIRTUAL_KEYBOARD_KEYMAP, _XKB_V1, sealed_memory(text), len(text)
        )
        self._connection.request(self._keyboard, protocol.VIRTUAL_KEYBOARD_MODIFIERS, 0, 0, 0, 0)
        self._connection.roundtrip()

    def tap(self, stroke: Stroke) -> None:
        """Queue one key, down and up, so that no crash can come in between and leave it down."""
        self._set_modifiers(stroke.modifiers)
        for state in (1, 0):
            self._time += 1
            self._connection.request(
                self._keyboard, protocol.VIRTUAL_KEYBOARD_KEY, self._time, stroke.code, state
            )

    def settle(self) -> None:
        """No modifier is down any more; return when the window has been sent all that was queued."""
        self._set_modifiers(0)
        self._connection.roundtrip()

    def _set_modifiers(self, wanted: int) -> None:
        if wanted != self._modifiers:
            self._modifiers = wanted
            self._connection.request(self._keyboard, protocol.VIRTUAL_KEYBOARD_MODIFIERS, wanted, 0, 0, 0)

    def _on_seat(self, opcode: int, values: list[int]) -> None:
        if opcode == 0:
            self._seat_has = values[0]
