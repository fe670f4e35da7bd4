"""The system calls of Windows that the backend uses, as ctypes needs to know them.

Names, arguments and results are those of the Win32 API reference (winuser, winbase,
processthreadsapi, securitybaseapi). Sizes are written out: a LONG has four bytes there
and eight on other systems, and a WCHAR two and four, so that the same declarations can
be called, against doubles, anywhere.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Mapping
from ctypes import POINTER, c_int16, c_int32, c_size_t, c_uint16, c_uint32, c_void_p
from types import SimpleNamespace
from typing import Any

from novakey.desktop.base import NoDisplayError


class MOUSEINPUT(ctypes.Structure):
    """Only here because it is the largest part of the union in INPUT."""

    _fields_ = [
        ("dx", c_int32),
        ("dy", c_int32),
        ("mouseData", c_uint32),
        ("dwFlags", c_uint32),
        ("time", c_uint32),
        ("dwExtraInfo", c_size_t),
    ]


class KEYBDINPUT(ctypes.Structure):
    """One key going down or up."""

    _fields_ = [
        ("wVk", c_uint16),
        ("wScan", c_uint16),
        ("dwFlags", c_uint32),
        ("time", c_uint32),
        ("dwExtraInfo", c_size_t),
    ]


class _InputUnion(ctypes.Union):
    _fields_ = [("mi", MOUSEINPUT), ("ki", KEYBDINPUT)]


class INPUT(ctypes.Structure):
    """What SendInput takes an array of; 40 bytes on a 64-bit system."""

    _fields_ = [("type", c_uint32), ("u", _InputUnion)]


# library: function: (result, arguments). A HANDLE, and a pointer that we do not look into, is a void pointer.
SIGNATURES: dict[str, dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "user32": {
        "SendInput": (c_uint32, (c_uint32, POINTER(INPUT), c_int32)),
        "GetAsyncKeyState": (c_int16, (c_int32,)),
        "MapVirtualKeyW": (c_uint32, (c_uint32, c_uint32)),
        "GetForegroundWindow": (c_void_p, ()),
        "GetWindowThreadProcessId": (c_uint32, (c_void_p, POINTER(c_uint32))),
        "GetWindowTextW": (c_int32, (c_void_p, POINTER(c_uint16), c_int32)),
        "GetClassNameW": (c_int32, (c_void_p, POINTER(c_uint16), c_int32)),
        "OpenInputDesktop": (c_void_p, (c_uint32, c_int32, c_uint32)),
        "CloseDesktop": (c_int32, (c_void_p,)),
        "CreateWindowExW": (
            c_void_p,
            (c_uint32, POINTER(c_uint16), c_void_p, c_uint32, *(c_int32,) * 4, *(c_void_p,) * 4),
        ),
        "DestroyWindow": (c_int32, (c_void_p,)),
        "OpenClipboard": (c_int32, (c_void_p,)),
        "CloseClipboard": (c_int32, ()),
        "EmptyClipboard": (c_int32, ()),
        "RegisterClipboardFormatW": (c_uint32, (POINTER(c_uint16),)),
        "IsClipboardFormatAvailable": (c_int32, (c_uint32,)),
        "GetClipboardData": (c_void_p, (c_uint32,)),
        "SetClipboardData": (c_void_p, (c_uint32, c_void_p)),
    },
    "kernel32": {
        "GetCurrentProcessId": (c_uint32, ()),
        "OpenProcess": (c_void_p, (c_uint32, c_int32, c_uint32)),
        "CloseHandle": (c_int32, (c_void_p,)),
        "QueryFullProcessImageNameW": (
            c_int32,
            (c_void_p, c_uint32, POINTER(c_uint16), POINTER(c_uint32)),
        ),
        "GlobalAlloc": (c_void_p, (c_uint32, c_size_t)),
        "GlobalLock": (c_void_p, (c_void_p,)),
        "GlobalUnlock": (c_int32, (c_void_p,)),
        "GlobalSize": (c_size_t, (c_void_p,)),
        "GlobalFree": (c_void_p, (c_void_p,)),
    },
    "advapi32": {
        "OpenProcessToken": (c_int32, (c_void_p, c_uint32, POINTER(c_void_p))),
        "GetTokenInformation": (c_int32, (c_void_p, c_int32, c_void_p, c_uint32, POINTER(c_uint32))),
        "GetSidSubAuthorityCount": (c_void_p, (c_void_p,)),
        "GetSidSubAuthority": (c_void_p, (c_void_p, c_uint32)),
    },
}

Calls = SimpleNamespace
"""The functions above by name, in one namespace."""


@functools.cache
def load() -> Calls:
    """Return the calls of this system; `NoDisplayError` where it is not Windows."""
    if sys.platform == "win32":
        return bind({name: ctypes.WinDLL(name) for name in SIGNATURES})
    raise NoDisplayError("this is not Windows")


def bind(libraries: Mapping[str, Any]) -> Calls:
    """Declare every function to ctypes."""
    calls = Calls()
    for library, functions in SIGNATURES.items():
        for name, (result, arguments) in functions.items():
            function = getattr(libraries[library], name)
            function.restype, function.argtypes = result, arguments
            setattr(calls, name, function)
    return calls


def wide(text: str) -> Any:
    """Return a NUL-terminated array of UTF-16 units."""
    data = text.encode("utf-16-le") + b"\0\0"
    return (c_uint16 * (len(data) // 2)).from_buffer_copy(data)


def narrow(units: Any, length: int) -> str:
    """Return the first `length` units of an array as text; a unit that is half a character is replaced."""
    return bytes(units)[: 2 * length].decode("utf-16-le", "replace")
