"""The keyboard map of a session, read as any client reads it (wl_keyboard.keymap)."""

from __future__ import annotations

import os
import stat
from typing import Any

from novakey.desktop.base import DesktopError
from novakey.desktop.remote.xkb import MAX_KEYMAP
from novakey.desktop.wayland.protocol import SEAT_GET_KEYBOARD
from novakey.desktop.wayland.wire import Connection

_HAS_KEYBOARD = 2  # wl_seat.capability
_KEYBOARD_EVENTS = ("uhu", "uoa", "uo", "uuuu", "uuuuu")


class Seat:
    """Watches the first seat. `has_keyboard` is as it was at the last round trip."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._capabilities = 0
        self._keyboard: int | None = None
        self._keymap = b""
        self._seat = connection.bind("wl_seat", 1, ("u", "s"), self._on_seat)
        connection.roundtrip()

    @property
    def has_keyboard(self) -> bool:
        """Whether any keyboard is plugged in, a made one included."""
        return bool(self._capabilities & _HAS_KEYBOARD)

    def keymap(self) -> bytes:
        """Return the map in libxkbcommon's text format. Waits for a keyboard: use a timeout."""
        while not self.has_keyboard:
            self._connection.dispatch()
        if self._keyboard is None:
            self._keyboard = self._connection.make(
                self._seat, SEAT_GET_KEYBOARD, "wl_keyboard", _KEYBOARD_EVENTS, self._on_keyboard
            )
        self._connection.roundtrip()
        if not self._keymap:
            raise DesktopError("the compositor does not tell its keyboard map")
        return self._keymap

    def _on_seat(self, opcode: int, values: list[Any]) -> None:
        if opcode == 0:
            self._capabilities = values[0]

    def _on_keyboard(self, opcode: int, values: list[Any]) -> None:
        if opcode == 0:
            _, handle, size = values
            try:
                self._keymap = read_keymap(handle, size)
            finally:
                os.close(handle)


def read_keymap(handle: int, size: int) -> bytes:
    """Return a map that lies in memory or on a disk: from anything else reading it might never end."""
    about = os.fstat(handle)
    if not stat.S_ISREG(about.st_mode) or not 0 < size <= min(about.st_size, MAX_KEYMAP):
        raise ValueError("not a keyboard map")
    return os.pread(handle, size, 0).rstrip(b"\0")
