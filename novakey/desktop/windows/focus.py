"""What has the focus on Windows, and whether its rights are above ours."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_uint8, c_uint16, c_uint32, c_void_p
from pathlib import PureWindowsPath
from typing import Any

from novakey.desktop.base import CannotType, Focus, Unusable
from novakey.desktop.windows.calls import Calls, narrow

PROCESS_QUERY_LIMITED_INFORMATION = 0x1000
TOKEN_QUERY = 0x8
TOKEN_INTEGRITY_LEVEL = 25
DESKTOP_READOBJECTS = 0x1

_MAX_PATH = 32768  # of an executable, in UTF-16 units: the longest that the system knows
_MAX_TITLE = 1024
_MAX_CLASS = 257  # RegisterClassEx: 256 and the NUL
_MAX_TOKEN_LABEL = 128


def why_no_desktop(calls: Calls) -> Unusable | None:
    """None when this process may reach the desktop that a person is looking at; else why not."""
    desktop = calls.OpenInputDesktop(0, False, DESKTOP_READOBJECTS)
    if not desktop:
        return Unusable(
            "no desktop can be reached: the screen is locked, or this runs as a service",
            "unlock the screen, and start the daemon in a person's session and not as a service",
        )
    calls.CloseDesktop(desktop)
    return None


def read(calls: Calls) -> Focus | None:
    """Return the foreground window, or None in the middle of a change (GetForegroundWindow)."""
    window = calls.GetForegroundWindow()
    if not window:
        return None
    number = c_uint32()
    if not calls.GetWindowThreadProcessId(window, ctypes.byref(number)):
        return None  # it has just gone
    kind = _text(calls.GetClassNameW, window, _MAX_CLASS)
    return Focus(
        window=window,
        pid=number.value,
        program=_program(calls, number.value),
        classes=(kind.lower(),) if kind else (),
        title=_text(calls.GetWindowTextW, window, _MAX_TITLE),
    )


def refuse_higher_rights(calls: Calls, focus: Focus | None) -> None:
    """Raise `CannotType` unless our input can reach the window.

    User Interface Privilege Isolation drops input for a process of a higher integrity
    level, and neither the result of SendInput nor GetLastError tells (SendInput, remarks).
    What cannot be read counts as higher: otherwise we might report a text that never arrived.
    """
    theirs = _integrity(calls, focus.pid) if focus is not None and focus.pid is not None else None
    ours = _integrity(calls, calls.GetCurrentProcessId())
    if theirs is None or ours is None or theirs > ours:
        raise CannotType(
            "the focused program has more rights than this one, and windows keeps typing from it"
        )


def _text(call: Any, window: int, size: int) -> str:
    units = (c_uint16 * size)()
    return narrow(units, call(window, units, size))


def _program(calls: Calls, pid: int) -> str | None:
    with _process(calls, pid) as process:
        if process is None:
            return None
        units, length = (c_uint16 * _MAX_PATH)(), c_uint32(_MAX_PATH)
        if not calls.QueryFullProcessImageNameW(process, 0, units, ctypes.byref(length)):
            return None
        return PureWindowsPath(narrow(units, length.value)).name or None


def _integrity(calls: Calls, pid: int) -> int | None:
    """Return the last part of the integrity label's SID: 0x2000 is medium, 0x3000 high (well-known SIDs)."""
    with _process(calls, pid) as process:
        token = c_void_p()
        if process is None or not calls.OpenProcessToken(process, TOKEN_QUERY, ctypes.byref(token)):
            return None
        try:
            label, size = (c_uint8 * _MAX_TOKEN_LABEL)(), c_uint32()
            found = calls.GetTokenInformation(
                token, TOKEN_INTEGRITY_LEVEL, label, _MAX_TOKEN_LABEL, ctypes.byref(size)
            )
            if not found:
                return None
            sid = c_void_p.from_buffer(label)  # TOKEN_MANDATORY_LABEL begins with a pointer to the SID
            count = c_uint8.from_address(calls.GetSidSubAuthorityCount(sid)).value
            if count == 0:
                return None
            return c_uint32.from_address(calls.GetSidSubAuthority(sid, count - 1)).value
        finally:
            calls.CloseHandle(token)


@contextmanager
def _process(calls: Calls, pid: int) -> Iterator[Any]:
    handle = calls.OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, False, pid)
    try:
        yield handle
    finally:
        if handle:
            calls.CloseHandle(handle)
