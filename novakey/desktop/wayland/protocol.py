"""The requests that we send, by name: opcode and signature of each (wayland.xml and its extensions).

A signature has a letter for each argument: `u` unsigned, `i` signed, `s` text, `o` object,
`n` new object, `h` file.
"""

from __future__ import annotations

from typing import NamedTuple


class Request(NamedTuple):
    """One request of an interface."""

    opcode: int
    signature: str = ""


# wayland.xml
DISPLAY_SYNC = Request(0, "n")
DISPLAY_GET_REGISTRY = Request(1, "n")
REGISTRY_BIND = Request(0, "usun")
COMPOSITOR_CREATE_SURFACE = Request(0, "n")
SEAT_GET_KEYBOARD = Request(1, "n")
SHM_CREATE_POOL = Request(0, "nhi")
SHM_POOL_CREATE_BUFFER = Request(0, "niiiiu")
SURFACE_DESTROY = Request(0)
SURFACE_ATTACH = Request(1, "oii")
SURFACE_COMMIT = Request(6)
DATA_DEVICE_MANAGER_CREATE_SOURCE = Request(0, "n")
DATA_DEVICE_MANAGER_GET_DEVICE = Request(1, "no")
DATA_SOURCE_OFFER = Request(0, "s")
DATA_DEVICE_SET_SELECTION = Request(1, "ou")

# xdg-shell.xml
SHELL_GET_SURFACE = Request(2, "no")
SHELL_PONG = Request(3, "u")
XDG_SURFACE_DESTROY = Request(0)
XDG_SURFACE_GET_TOPLEVEL = Request(1, "n")
XDG_SURFACE_ACK_CONFIGURE = Request(4, "u")
TOPLEVEL_DESTROY = Request(0)
TOPLEVEL_SET_TITLE = Request(2, "s")

# ext-data-control-v1.xml, wlr-data-control-unstable-v1.xml: the same numbers in both
DATA_CONTROL_CREATE_SOURCE = Request(0, "n")
DATA_CONTROL_GET_DEVICE = Request(1, "no")
DATA_CONTROL_SET_SELECTION = Request(0, "o")
DATA_CONTROL_OFFER = Request(0, "s")

# virtual-keyboard-unstable-v1.xml
VIRTUAL_KEYBOARD_MANAGER_CREATE = Request(0, "on")
VIRTUAL_KEYBOARD_KEYMAP = Request(0, "uhu")
VIRTUAL_KEYBOARD_KEY = Request(1, "uuu")
VIRTUAL_KEYBOARD_MODIFIERS = Request(2, "uuuu")
