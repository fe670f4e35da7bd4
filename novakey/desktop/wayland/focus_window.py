"""A window of one pixel that has the focus for a moment (xdg-shell), for compositors without data control.

There the clipboard belongs to the program with the keyboard focus, and is set with the
number of the event that gave it. The window goes away at once, and the focus goes
back to where it was; what was copied stays ours.
"""

from __future__ import annotations

import os
from typing import Any

from novakey.desktop.wayland import protocol
from novakey.desktop.wayland.protocol import Request
from novakey.desktop.wayland.wire import Connection

NEEDED = frozenset({"wl_compositor", "wl_shm", "xdg_wm_base", "wl_seat", "wl_data_device_manager"})

_ARGB = 0  # wl_shm.format
_KEYBOARD_EVENTS = ("uhu", "uoa", "uo", "uuuu", "uuuuu")
_TITLE = "NovaKey"


class MomentaryWindow:
    """Maps the window and waits for the focus: use a timeout. `serial` is the event that gave it."""

    def __init__(self, connection: Connection, seat: int) -> None:
        self._connection = connection
        self.serial = 0
        self._configured: int | None = None
        self._made: list[tuple[int, Request]] = []  # with the request that destroys each
        connection.make(seat, protocol.SEAT_GET_KEYBOARD, "wl_keyboard", _KEYBOARD_EVENTS, self._on_keyboard)
        try:
            self._map()
            while not self.serial:
                connection.dispatch()
        except BaseException:
            self.close()  # with the next request; one that never got the focus must not stay on the screen
            raise

    def close(self) -> None:
        """Take it off the screen."""
        while self._made:
            self._connection.request(*self._made.pop())

    def _map(self) -> None:
        connection = self._connection
        compositor = connection.bind("wl_compositor", 1, (), lambda opcode, values: None)
        shell = connection.bind("xdg_wm_base", 1, ("u",), self._on_shell)
        self._shell = shell
        surface = connection.make(compositor, protocol.COMPOSITOR_CREATE_SURFACE, "wl_surface", ("o", "o"))
        self._made.append((surface, protocol.SURFACE_DESTROY))
        window = connection.make(
            shell, protocol.SHELL_GET_SURFACE, "xdg_surface", ("u",), self._on_window, after=(surface,)
        )
        self._made.append((window, protocol.XDG_SURFACE_DESTROY))
        toplevel = connection.make(window, protocol.XDG_SURFACE_GET_TOPLEVEL, "xdg_toplevel", ("iia", ""))
        self._made.append((toplevel, protocol.TOPLEVEL_DESTROY))
        connection.request(toplevel, protocol.TOPLEVEL_SET_TITLE, _TITLE)
        connection.request(surface, protocol.SURFACE_COMMIT)  # an empty commit asks for the size
        connection.flush()
        while self._configured is None:
            connection.dispatch()
        connection.request(window, protocol.XDG_SURFACE_ACK_CONFIGURE, self._configured)
        connection.request(surface, protocol.SURFACE_ATTACH, self._pixel(), 0, 0)
        connection.request(surface, protocol.SURFACE_COMMIT)
        connection.flush()

    def _pixel(self) -> int:
        """Return a buffer of one transparent pixel."""
        handle = os.memfd_create("pixel", os.MFD_CLOEXEC)
        os.truncate(handle, 4)
        shared = self._connection.bind("wl_shm", 1, ("u",), lambda opcode, values: None)
        pool = self._connection.allocate("wl_shm_pool")
        self._connection.request(shared, protocol.SHM_CREATE_POOL, pool, handle, 4)
        buffer = self._connection.allocate("wl_buffer", ("",))
        self._connection.request(pool, protocol.SHM_POOL_CREATE_BUFFER, buffer, 0, 1, 1, 4, _ARGB)
        return buffer

    def _on_keyboard(self, opcode: int, values: list[Any]) -> None:
        if opcode == 0:
            os.close(values[1])
        elif opcode == 1:
            self.serial = values[0]

    def _on_window(self, opcode: int, values: list[Any]) -> None:
        self._configured = values[0]

    def _on_shell(self, opcode: int, values: list[Any]) -> None:
        self._connection.request(self._shell, protocol.SHELL_PONG, values[0])
        self._connection.flush()
