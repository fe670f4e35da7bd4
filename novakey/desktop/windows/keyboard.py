"""Pressing keys on Windows: SendInput (Win32 API reference, winuser), one call for each chunk.

The events of one call are not mixed with what a person or another program presses
(SendInput, remarks). So each call takes the held modifiers up, types, and puts them down
again: between calls, and should this process be killed, the keyboard is as a person left it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from novakey.desktop.base import CannotType, DesktopError
from novakey.desktop.windows.calls import INPUT, Calls

INPUT_KEYBOARD = 1
EXTENDEDKEY, KEYUP, UNICODE = 0x1, 0x2, 0x4  # KEYEVENTF_…
MAPVK_VK_TO_VSC_EX = 4

# Virtual-key codes.
VK_TAB, VK_RETURN, VK_V, VK_LCONTROL = 0x09, 0x0D, 0x56, 0xA2
# Unassigned. Alt or Windows going down and up with nothing in between opens a menu; with this it does not.
VK_NOTHING = 0xE8
_OPENS_A_MENU = frozenset({0xA4, 0xA5, 0x5B, 0x5C})  # left and right Alt, left and right Windows
# Left and right Shift, Control, Alt, Windows: the single keys, so that the right one goes down again.
MODIFIERS = (0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0x5B, 0x5C)

BLOCKED = "windows lets no input through to this window"


class Event(NamedTuple):
    """One key event; with UNICODE in `flags`, `scan` is a UTF-16 unit and `key` is 0."""

    key: int
    scan: int
    flags: int

    @property
    def up(self) -> Event:
        """The release that belongs to it."""
        return self._replace(flags=self.flags | KEYUP)

    @property
    def is_up(self) -> bool:
        """Whether it is a release."""
        return bool(self.flags & KEYUP)


class Keyboard:
    """The keyboard, through which texts and the paste shortcut go."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def type(self, chunk: str) -> None:
        """Type a few characters into the window with the focus.

        Raises `CannotType` when nothing was let through, `DesktopError` when only a
        part was, with the number of characters that were at least begun.
        """
        self._tap([self._strokes(character) for character in chunk])

    def paste(self) -> None:
        """Press Control+V. Raises as `type` does."""
        control, key = self._key(VK_LCONTROL), self._key(VK_V)
        self._tap([[control, key, key.up, control.up]])

    def _strokes(self, character: str) -> list[Event]:
        if character in "\n\t":
            key = self._key(VK_RETURN if character == "\n" else VK_TAB)
            return [key, key.up]
        # KEYBDINPUT, remarks: characters outside the basic plane are two events, one for each surrogate.
        data = character.encode("utf-16-le")
        units = (int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2))
        return list(chain.from_iterable((unit, unit.up) for unit in (Event(0, u, UNICODE) for u in units)))

    def _key(self, code: int) -> Event:
        scan = self._calls.MapVirtualKeyW(code, MAPVK_VK_TO_VSC_EX)
        return Event(code, scan & 0xFF, EXTENDEDKEY if scan >> 8 == 0xE0 else 0)

    def _tap(self, strokes: Sequence[Sequence[Event]]) -> None:
        held = [self._key(code) for code in MODIFIERS if self._calls.GetAsyncKeyState(code) & 0x8000]
        nothing = Event(VK_NOTHING, 0, 0)
        mask = [nothing, nothing.up] if any(key.key in _OPENS_A_MENU for key in held) else []
        before = [*mask, *(key.up for key in held)]
        after = [*held, *mask]
        events = [*before, *chain.from_iterable(strokes), *after]
        sent = self._send(events)
        if sent == len(events):
            return
        self._recover(events[:sent], held)
        if sent == 0:
            raise CannotType(BLOCKED)
        begun = _begun(strokes, sent - len(before))
        raise DesktopError("windows let only a part of the input through", begun)

    def _recover(self, done: Iterable[Event], held: Sequence[Event]) -> None:
        """After a call that was cut short: what it left down goes up, what it left up goes down."""
        down = dict.fromkeys(held)
        for event in done:
            plain = event._replace(flags=event.flags & ~KEYUP)
            if event.is_up:
                down.pop(plain, None)
            else:
                down[plain] = None
        missing = [key for key in held if key not in down]
        self._send([*(key.up for key in down if key not in held), *missing])

    def _send(self, events: Sequence[Event]) -> int:
        if not events:
            return 0
        inputs = (INPUT * len(events))()
        for place, event in zip(inputs, events, strict=True):
            place.type = INPUT_KEYBOARD
            place.u.ki.wVk, place.u.ki.wScan, place.u.ki.dwFlags = event
        try:
            return int(self._calls.SendInput(len(events), inputs, ctypes.sizeof(INPUT)))
        finally:
            ctypes.memset(inputs, 0, ctypes.sizeof(inputs))


def _begun(strokes: Sequence[Sequence[Event]], sent: int) -> int:
    count = 0
    for stroke in strokes:
        if sent <= 0:
            break
        count += 1
        sent -= len(stroke)
    return count
