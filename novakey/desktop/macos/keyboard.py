"""Pressing keys on macOS: Quartz Event Services.

Each event names its text and its modifiers itself, and comes from a source of its own: what a
person holds, and Caps Lock, neither alter it nor are altered.
"""

from __future__ import annotations

import ctypes
from contextlib import ExitStack
from ctypes import c_uint16, c_uint32, c_uint64
from typing import Any

from novakey.desktop.base import DesktopError
from novakey.desktop.macos.calls import Calls, owned

STATE_PRIVATE = -1  # kCGEventSourceStatePrivate
SESSION_TAP = 1  # kCGSessionEventTap
COMMAND = 0x100000  # kCGEventFlagMaskCommand
# Virtual key codes name places on the keyboard, not characters; these have their meaning on every layout.
KEY_RETURN, KEY_TAB = 0x24, 0x30
KEY_V = 0x09  # on most layouts
KEY_OF_TEXT = 0  # of an event whose text is what counts

# UCKeyTranslate
_ACTION_DOWN = 0
_COMMAND_STATE = 1  # cmdKey >> 8
_KEY_CODES = range(128)


class Keyboard:
    """The keyboard, through which texts and the paste shortcut go."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def type(self, chunk: str) -> None:
        """Type a few characters into the window with the focus.

        One event for each character: at most two of the twenty UTF-16 units that an event takes.
        Raises `DesktopError` with the number of characters that went out. Whether they arrived
        is not to be known: CGEventPost has no result.
        """
        for sent, character in enumerate(chunk):
            special = {"\n": KEY_RETURN, "\t": KEY_TAB}.get(character)
            try:
                if special is None:
                    self._press(KEY_OF_TEXT, text=character)
                else:
                    self._press(special)
            except DesktopError as error:
                raise DesktopError(str(error), sent) from None

    def paste(self) -> None:
        """Press Command+V, with the V of the layout. Raises `DesktopError`."""
        self._press(self._key_of("v"), flags=COMMAND)

    def _press(self, key: int, flags: int = 0, text: str = "") -> None:
        with ExitStack() as stack:
            source = stack.enter_context(owned(self._calls, self._calls.CGEventSourceCreate(STATE_PRIVATE)))
            events = [self._event(stack, source, key, down, flags, text) for down in (True, False)]
            for event in events:  # both are there, so no key stays down
                self._calls.CGEventPost(SESSION_TAP, event)

    def _event(self, stack: ExitStack, source: Any, key: int, down: bool, flags: int, text: str) -> Any:
        event = self._calls.CGEventCreateKeyboardEvent(source, key, down) if source else None
        if not event:
            raise DesktopError("macos makes no keyboard event")
        stack.enter_context(owned(self._calls, event))
        self._calls.CGEventSetFlags(event, flags)
        if text:
            data = text.encode("utf-16-le")
            units = (c_uint16 * (len(data) // 2)).from_buffer_copy(data)
            self._calls.CGEventKeyboardSetUnicodeString(event, len(units), units)
            ctypes.memset(units, 0, ctypes.sizeof(units))
        return event

    def _key_of(self, character: str) -> int:
        """Return the key that gives a character while Command is held.

        Layouts whose letters move under Command (*Dvorak, QWERTY with Command*) are taken by
        their word. Where none gives it, as on a layout without Latin letters, it is the usual place.
        """
        with owned(self._calls, self._calls.TISCopyCurrentKeyboardLayoutInputSource()) as source:
            data = source and self._calls.TISGetInputSourceProperty(
                source, self._calls.kTISPropertyUnicodeKeyLayoutData
            )
            layout = self._calls.CFDataGetBytePtr(data) if data else None
            if not layout:
                return KEY_V
            kind = self._calls.LMGetKbdType()
            given = (code for code in _KEY_CODES if self._translate(layout, code, kind) == character)
            return next(given, KEY_V)

    def _translate(self, layout: int, code: int, kind: int) -> str:
        dead, length, units = c_uint32(), c_uint64(), (c_uint16 * 4)()
        status = self._calls.UCKeyTranslate(
            *(layout, code, _ACTION_DOWN, _COMMAND_STATE, kind, 0),
            *(ctypes.byref(dead), len(units), ctypes.byref(length), units),
        )
        if status != 0:
            return ""
        return bytes(units)[: 2 * length.value].decode("utf-16-le", "replace")
