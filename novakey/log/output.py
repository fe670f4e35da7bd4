"""Where the daemon prints: a reader that pauses stops only its own lines.

A terminal after Ctrl-S, or a pipe into `less`, takes no more bytes, and write(2)
then waits in the kernel. In the daemon's loop that would stop the phones, the
owner's commands and SIGTERM. So a thread writes, and it has a bounded backlog:
what does not fit is dropped and counted. A regular file is written directly,
because a file has no reader that could pause it.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable
from typing import Protocol, TextIO

from gevent import monkey

PENDING = 256  # texts; a line of the log has at most 8 KiB
FLUSH_S = 0.5  # a paused terminal holds up the end of the daemon no longer
_POLL_S = 0.002

# gevent's own threads and locks are greenlets, which a write(2) that waits would stop too.
_start_thread = monkey.get_original("_thread", "start_new_thread")
_allocate_lock = monkey.get_original("_thread", "allocate_lock")
_sleep = monkey.get_original("time", "sleep")


class Output(Protocol):
    """Where text goes. It has the methods of a text stream that a traceback needs, and none waits."""

    def write(self, text: str) -> object:
        """Write the text, or drop and count it."""

    def flush(self) -> None:
        """Do nothing, because nothing is held back."""

    def finish(self) -> None:
        """Wait shortly for a reader to take the rest."""


class Direct:
    """An `Output` over a regular file, or over a stream in memory."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def flush(self) -> None: ...

    def finish(self) -> None: ...


class Writer:
    """An `Output` over a descriptor: a thread writes, which begins with the first text."""

    def __init__(self, descriptor: int, gap: Callable[[int], str]) -> None:
        """`gap` makes the text that stands for so many dropped ones."""
        self._descriptor = descriptor
        self.gap = gap
        self._pending: deque[bytes] = deque()
        self._wake = _allocate_lock()
        self._running = False
        self._dropped = 0

    def write(self, text: str) -> None:
        if len(self._pending) >= PENDING:
            self._dropped += 1
            return
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._pending.append(_encoded(self.gap(dropped)))
        self._pending.append(_encoded(text))
        if not self._running:
            self._running = True
            self._wake.acquire()
            _start_thread(self._run, ())
        elif self._wake.locked():  # only this side releases it, so nothing comes in between
            self._wake.release()

    def flush(self) -> None: ...

    def finish(self) -> None:
        rounds = int(FLUSH_S / _POLL_S)
        while self._pending and rounds:
            _sleep(_POLL_S)
            rounds -= 1

    def _run(self) -> None:
        while True:
            while self._pending:
                self._put(self._pending[0])
                self._pending.popleft()
            self._wake.acquire()

    def _put(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except OSError:  # the reader is gone for good
                return


_writers: dict[tuple[int, int], Writer] = {}


def of(stream: TextIO, gap: Callable[[int], str] | None = None) -> Output:
    """Return the output for a stream; two streams to one terminal share it, so that their order stays.

    Args:
        stream: A text stream. Without a descriptor it is in memory, and is written directly.
        gap: Makes the text that stands for so many dropped ones.

    """
    try:
        descriptor = stream.fileno()
        status = os.fstat(descriptor)
    except (OSError, ValueError):
        return Direct(stream)
    if stat.S_ISREG(status.st_mode):
        return Direct(stream)
    writer = _writers.setdefault((status.st_dev, status.st_ino), Writer(descriptor, gap or _gap))
    if gap is not None:
        writer.gap = gap
    return writer


def _gap(dropped: int) -> str:
    return f"({dropped} texts were dropped, because nothing read this output)\n"


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
