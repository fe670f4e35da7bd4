"""Typing where nothing can be grabbed: the focus is looked at before and after every few characters.

Used on systems that offer no way to make *look, then type* one step. At most one
chunk can reach a window that comes to the front in between; then typing stops.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import gevent

from novakey.desktop.base import DesktopError, Focus

CHUNK = 8
# Between a chunk and the look that follows it: a window that comes up because of what was
# typed must have had a moment to do so, and other greenlets theirs.
PAUSE_S = 0.005

UNREADABLE = "no window has the keyboard focus, or none that can be read"
MOVED = "another window took the focus"


def type_chunks(
    text: str,
    until: float,
    check: Callable[[Focus], None],
    focus: Callable[[], Focus | None],
    send: Callable[[str], None],
) -> None:
    r"""Type `text` (line ends as `\n`) by `until` (monotonic seconds), or raise `DesktopError`.

    `check` raises unless the window with the focus may receive it.
    `send` types one chunk; should it fail it raises with the number of that chunk's
    characters that may have gone out. A chunk holds a line end alone: what stands
    before it has been seen to go to the right window before the line end submits it.
    """
    aimed_at = focus()
    if aimed_at is None:
        raise DesktopError(UNREADABLE)
    check(aimed_at)
    sent = 0
    for chunk in _chunks(text):
        _check(aimed_at, focus(), sent)
        if time.monotonic() >= until:
            raise DesktopError("the text was not typed in time", sent)
        try:
            send(chunk)
        except DesktopError as error:
            if not sent:
                raise
            raise DesktopError(str(error), sent + error.typed) from None
        sent += len(chunk)
        gevent.sleep(PAUSE_S)
    if not text.endswith("\n"):  # a line end may well close the window that it was meant for
        _check(aimed_at, focus(), sent, whole=True)


def lines(text: str) -> str:
    r"""Return the text with each line end as one `\n`."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _check(aimed_at: Focus, now: Focus | None, sent: int, whole: bool = False) -> None:
    if now is None or (now.window, now.pid) != (aimed_at.window, aimed_at.pid):
        raise DesktopError(MOVED, sent, whole)


def _chunks(text: str) -> Iterator[str]:
    chunk = ""
    for character in text:
        if chunk and (character == "\n" or chunk == "\n" or len(chunk) == CHUNK):
            yield chunk
            chunk = ""
        chunk += character
    if chunk:
        yield chunk
