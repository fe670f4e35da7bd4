"""The clipboard of Windows (Win32 API reference, *Clipboard*), kept out of its history and its cloud.

The text is rendered at once: a window that renders later would have to answer messages
for as long as it owns the clipboard. So the system holds a copy, also after this process has gone.
"""

from __future__ import annotations

import ctypes
import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager

import gevent

from novakey.desktop.base import DesktopError
from novakey.desktop.chunks import lines
from novakey.desktop.windows.calls import Calls, wide
from novakey.secret import Secret

CF_UNICODETEXT = 13
GMEM_MOVEABLE = 0x2
HWND_MESSAGE = -3

# *Cloud Clipboard and Clipboard History Formats*: the first, with any content, keeps the content
# from monitors; the other two are a DWORD of 0 for no.
_NO = bytes(4)
EXCLUDED = {
    "ExcludeClipboardContentFromMonitorProcessing": _NO,
    "CanIncludeInClipboardHistory": _NO,
    "CanUploadToCloudClipboard": _NO,
}
# Ours alone. A sequence number would not do to know our content again: it may also grow without
# a new copy (a format added, or rendered), and between closing and asking somebody else may have copied.
# A mark goes with the content, and is looked at while no other program can open the clipboard.
MARK = "NovaKey clipboard mark"
_RETRY_S = 0.01

_log = logging.getLogger(__name__)


class Clipboard:
    """Puts a text on the clipboard and takes it back."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._mark: bytes | None = None

    def put(self, text: Secret, until: float) -> None:
        """Replace what is there, by `until` (monotonic seconds). Raises `DesktopError`."""
        # Without a window of its own EmptyClipboard makes no window the owner, and SetClipboardData fails.
        window = self._calls.CreateWindowExW(
            0, wide("STATIC"), None, 0, 0, 0, 0, 0, HWND_MESSAGE, None, None, None
        )
        if not window:
            raise DesktopError("windows gives no window to own the clipboard with")
        try:
            with self._opened(window, until):
                self._fill(text)
        finally:
            self._calls.DestroyWindow(window)

    def clear(self, until: float) -> None:
        """Empty the clipboard if what is there is still ours; what a person copied since stays.

        When somebody holds it open until then, it is logged, and a later call tries again.
        """
        mark = self._mark
        if mark is None:
            return
        try:
            if self._calls.IsClipboardFormatAvailable(self._format(MARK)):
                with self._opened(None, until):
                    if self._read(self._format(MARK), len(mark)) == mark:
                        self._calls.EmptyClipboard()
        except DesktopError as error:
            _log.warning("the clipboard still holds the text: %s", error)
            return
        if self._mark == mark:  # else another text has come since
            self._mark = None

    def _fill(self, text: Secret) -> None:
        if not self._calls.EmptyClipboard():
            raise DesktopError("the clipboard cannot be emptied")
        mark = secrets.token_bytes(16)
        try:
            for name, value in {**EXCLUDED, MARK: mark}.items():
                self._set(self._format(name), value)
            # Last: never there without what keeps it from monitors. The format wants CR LF and a NUL.
            units = bytes(wide(lines(text.text()).replace("\n", "\r\n")))
            self._set(CF_UNICODETEXT, units)
        except DesktopError:
            self._calls.EmptyClipboard()
            raise
        self._mark = mark

    def _format(self, name: str) -> int:
        number = int(self._calls.RegisterClipboardFormatW(wide(name)))
        if not number:
            raise DesktopError("windows registers no clipboard format")
        return number

    def _set(self, kind: int, data: bytes) -> None:
        handle = self._calls.GlobalAlloc(GMEM_MOVEABLE, len(data))
        place = self._calls.GlobalLock(handle) if handle else None
        if not place:
            self._calls.GlobalFree(handle)
            raise DesktopError("windows gives no memory for the clipboard")
        ctypes.memmove(place, data, len(data))
        self._calls.GlobalUnlock(handle)
        if not self._calls.SetClipboardData(kind, handle):  # else the memory is the system's from now on
            place = self._calls.GlobalLock(handle)
            if place:
                ctypes.memset(place, 0, len(data))
                self._calls.GlobalUnlock(handle)
            self._calls.GlobalFree(handle)
            raise DesktopError("the clipboard took no text")

    def _read(self, kind: int, length: int) -> bytes | None:
        handle = self._calls.GetClipboardData(kind)
        place = self._calls.GlobalLock(handle) if handle else None
        if not place:
            return None
        try:
            return ctypes.string_at(place, length) if self._calls.GlobalSize(handle) >= length else None
        finally:
            self._calls.GlobalUnlock(handle)

    @contextmanager
    def _opened(self, window: int | None, until: float) -> Iterator[None]:
        """Open the clipboard for us alone, with retries, because others hold it for moments."""
        while not self._calls.OpenClipboard(window):
            if time.monotonic() + _RETRY_S >= until:
                raise DesktopError("another program holds the clipboard open")
            gevent.sleep(_RETRY_S)
        try:
            yield
        finally:
            self._calls.CloseClipboard()
