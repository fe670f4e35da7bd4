"""What has the focus on macOS: the accessibility interface, which answers live and knows titles.

`NSWorkspace.frontmostApplication` stands in where no program answers: it changes only when
the main run loop runs (NSRunningApplication, overview), and knows nothing of a panel
such as Spotlight that takes the keys of another program's front window.
`CGWindowListCopyWindowInfo` is not used: titles would need the right to record the screen,
and a list of suggestions that opens while typing comes first in it as a window of its own.
"""

from __future__ import annotations

import ctypes
from contextlib import ExitStack
from ctypes import c_int32, c_void_p
from pathlib import PurePosixPath
from typing import Any

from novakey.desktop.base import Focus
from novakey.desktop.macos.calls import Calls, owned, pool, selector, shared, string, text_of

ANSWER_S = 0.25  # a program that is asked for its window may hang
_MAX_PATH = 4096  # PROC_PIDPATHINFO_MAXSIZE


class FocusReader:
    """Reads the focus, and knows a window again: `Focus.window` counts the windows seen."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._last: Any = None  # the accessibility element of the window read last
        self._number = 0

    def read(self) -> Focus | None:
        """Return what has the focus; None when that cannot be read."""
        # Nothing in here yields to another greenlet: pools and the last window are in the order of calls.
        with pool(self._calls), ExitStack() as stack:
            pid = self._focused_pid(stack) or self._front_pid()
            if pid is None:
                return None
            window, title = self._window(stack, pid)
            return Focus(
                window=f"pid {pid}" if window is None else window,
                pid=pid,
                program=self._program(pid),
                classes=self._names(pid),
                title=title,
            )

    def _focused_pid(self, stack: ExitStack) -> int | None:
        everything = stack.enter_context(owned(self._calls, self._calls.AXUIElementCreateSystemWide()))
        program = self._attribute(stack, everything, "AXFocusedApplication")
        number = c_int32()
        if not program or self._calls.AXUIElementGetPid(program, ctypes.byref(number)) != 0:
            return None
        return number.value

    def _front_pid(self) -> int | None:
        self._calls.CFRunLoopRunInMode(self._calls.kCFRunLoopDefaultMode, 0.0, 0)
        workspace = shared(self._calls, "NSWorkspace", "sharedWorkspace")
        if not workspace:
            return None
        program = self._calls.send_for_object(workspace, selector(self._calls, "frontmostApplication"))
        if not program:
            return None
        pid = int(self._calls.send_for_pid(program, selector(self._calls, "processIdentifier")))
        return pid if pid > 0 else None

    def _window(self, stack: ExitStack, pid: int) -> tuple[int | None, str]:
        program = stack.enter_context(owned(self._calls, self._calls.AXUIElementCreateApplication(pid)))
        window = self._attribute(stack, program, "AXFocusedWindow")
        if not window:
            return None, ""
        title = text_of(self._calls, self._attribute(stack, window, "AXTitle"))
        return self._known(window), title

    def _attribute(self, stack: ExitStack, element: int | None, name: str) -> Any:
        """Return an attribute's value, released with the stack; None without a value or a timely answer."""
        if not element:
            return None
        self._calls.AXUIElementSetMessagingTimeout(element, ANSWER_S)
        key = stack.enter_context(owned(self._calls, string(self._calls, name)))
        value = c_void_p()
        if not key or self._calls.AXUIElementCopyAttributeValue(element, key, ctypes.byref(value)) != 0:
            return None
        return stack.enter_context(owned(self._calls, value.value))

    def close(self) -> None:
        """Forget the last window."""
        last, self._last = self._last, None
        if last:
            self._calls.CFRelease(last)

    def _known(self, window: int) -> int:
        if not self._last or not self._calls.CFEqual(self._last, window):
            self.close()
            self._last = self._calls.CFRetain(window)
            self._number += 1
        return self._number

    def _names(self, pid: int) -> tuple[str, ...]:
        """Return the bundle identifier, which the program's signature covers."""
        kind = self._calls.objc_getClass(b"NSRunningApplication")
        by_pid = selector(self._calls, "runningApplicationWithProcessIdentifier:")
        program = self._calls.send_pid_for_object(kind, by_pid, pid) if kind else None
        if not program:
            return ()
        name = self._calls.send_for_object(program, selector(self._calls, "bundleIdentifier"))
        found = text_of(self._calls, name).lower()
        return (found,) if found else ()

    def _program(self, pid: int) -> str | None:
        path = ctypes.create_string_buffer(_MAX_PATH)
        if self._calls.proc_pidpath(pid, path, _MAX_PATH) <= 0:
            return None
        return PurePosixPath(path.value.decode("utf-8", "replace")).name or None
