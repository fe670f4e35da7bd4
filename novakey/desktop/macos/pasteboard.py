"""The clipboard of macOS (AppKit reference, NSPasteboard), marked as concealed and kept on this machine.

The text is there at once, not promised: keeping a promise would take a run loop. So the
system holds a copy, also after this process has gone.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from novakey.desktop.base import DesktopError
from novakey.desktop.macos.calls import Calls, owned, pool, selector, shared, string
from novakey.secret import Secret

TEXT = "public.utf8-plain-text"  # NSPasteboardTypeString
# The convention of nspasteboard.org: clipboard managers show and keep nothing that has this type.
CONCEALED = "org.nspasteboard.ConcealedType"
CURRENT_HOST_ONLY = 1  # NSPasteboardContentsCurrentHostOnly: not to the owner's other devices


class Pasteboard:
    """Puts a text on the clipboard and takes it back."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._count: int | None = None  # of the change that was ours

    def put(self, text: Secret) -> None:
        """Replace what is there. Raises `DesktopError`."""
        with pool(self._calls):
            board = self._board()
            prepare = selector(self._calls, "prepareForNewContentsWithOptions:")
            count = self._calls.send_option_for_integer(board, prepare, CURRENT_HOST_ONLY)
            # The mark first: the text is never there without it.
            if not (self._set(board, b"", CONCEALED) and self._set(board, text.reveal(), TEXT)):
                if self._changes(board) == count:
                    self._clear(board)
                raise DesktopError("the clipboard took no text")
            if self._changes(board) != count:
                raise DesktopError("another program took the clipboard at the same moment")
            self._count = count

    def clear(self) -> None:
        """Empty the clipboard if what is there is still ours; what a person copied since stays."""
        count, self._count = self._count, None
        if count is None:
            return
        with pool(self._calls):
            board = self._board()
            if self._changes(board) == count:
                self._clear(board)

    def _board(self) -> Any:
        board = shared(self._calls, "NSPasteboard", "generalPasteboard")
        if not board:
            raise DesktopError("macos gives no clipboard")
        return board

    def _set(self, board: Any, data: bytes, kind: str) -> bool:
        with ExitStack() as stack:
            value = stack.enter_context(owned(self._calls, string(self._calls, data)))
            name = stack.enter_context(owned(self._calls, string(self._calls, kind)))
            if not value or not name:
                return False
            set_string = selector(self._calls, "setString:forType:")
            return bool(self._calls.send_two_objects_for_bool(board, set_string, value, name))

    def _changes(self, board: Any) -> int:
        return int(self._calls.send_for_integer(board, selector(self._calls, "changeCount")))

    def _clear(self, board: Any) -> None:
        self._calls.send_for_integer(board, selector(self._calls, "clearContents"))
