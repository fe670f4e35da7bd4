"""The requests that we send, by name: opcode and signature of each (wayland.xml and its extensions).

A signature has a letter for each argument: `u` unsigned, `i` signed, `s` text, `o` object,
`n` new object, `h` file. A request that makes an object has its number among them, so
`Connection.make` needs no signature.
"""

from __future__ import annotations

from typing import NamedTuple


class Request(NamedTuple):
    """One request of an interface."""

    opcode: int
    signature: str = ""


# wayland.xml
DISPLAY_SYNC = Request(0)
DISPLAY_GET_REGISTRY = Request(1)
REGISTRY_BIND = Request(0, "usun")
COMPOSITOR_CREATE_SURFACE = Request(0)
SEAT_GET_KEYBOARD = Request(1)
SHM_CREATE_POOL = Request(0, "nhi")
SHM_POOL_CREATE_BUFFER = Request(0, "niiiiu")
SURFACE_DESTROY = Request(0)
SURFACE_ATTACH = Request(1, "oii")
SURFACE_COMMIT = Request(6)
DATA_DEVICE_MANAGER_CREATE_SOURCE = Request(0)
DATA_DEVICE_MANAGER_GET_DEVICE = Request(1)
DATA_SOURCE_OFFER = Request(0, "s")
DATA_DEVICE_SET_SELECTION = Request(1, "ou")

# xdg-shell.xml
SHELL_GET_SURFACE = Request(2)
SHELL_PONG = Request(3, "u")
XDG_SURFACE_DESTROY = Request(0)
XDG_SURFACE_GET_TOPLEVEL = Request(1)
XDG_SURFACE_ACK_CONFIGURE = Request(4, "u")
TOPLEVEL_DESTROY = Request(0)
TOPLEVEL_SET_TITLE = Request(2, "s")

# ext-data-control-v1.xml, wlr-data-control-unstable-v1.xml: the same numbers in both
DATA_CONTROL_CREATE_SOURCE = Request(0)
DATA_CONTROL_GET_DEVICE = Request(1)
DATA_CONTROL_SET_SELECTION = Request(0, "o")
DATA_CONTROL_OFFER = Request(0, "s")

# virtual-keyboard-unstable-v1.xml
VIRTUAL_KEYBOARD_MANAGER_CREATE = Request(0)
VIRTUAL_KEYBOARD_KEYMAP = Request(0, "uhu")
VIRTUAL_KEYBOARD_KEY = Request(1, "uuu")
VIRTUAL_KEYBOARD_MODIFIERS = Request(2, "uuuu")
