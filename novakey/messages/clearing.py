"""When a text on the clipboard is taken back.

Each text has an end of its own. A newer text of ours replaces it, and so does the
owner; a delivery that fails or is refused does not move it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import gevent

from novakey.desktop.base import Backend
from novakey.system.clock import CLOCK, Clock


class _End(NamedTuple):
    at: float
    clearing: gevent.Greenlet


class ClipboardEnds:
    """The end of the text on each backend's clipboard, `seconds` after it was put there."""

    def __init__(self, seconds: float, clock: Clock = CLOCK) -> None:
        self._seconds = seconds
        self._monotonic = clock.monotonic
        self._ends: dict[Backend, _End] = {}

    @contextmanager
    def placing(self, backend: Backend) -> Iterator[None]:
        """Give the text that is put on the clipboard in this block its end.

        If the block raises, a text that was there before keeps its end, and so does a part of the new one.
        """
        # An end that comes within the block waits for it: it must not take back the new text.
        before = self._drop(backend)
        at = self._monotonic() + self._seconds if before is None else before
        try:
            yield
            at = self._monotonic() + self._seconds
        finally:
            self._set(backend, at)

    def _drop(self, backend: Backend) -> float | None:
        end = self._ends.pop(backend, None)
        if end is None:
            return None
        end.clearing.kill(block=False)
        return end.at

    def _set(self, backend: Backend, at: float) -> None:
        left = at - self._monotonic()
        if left <= 0:  # now, and not by a timer, which the next delivery would stop
            gevent.spawn(backend.clear_clipboard)
            return
        self._drop(backend)
        self._ends[backend] = _End(at, gevent.spawn_later(left, self._clear, backend))

    def _clear(self, backend: Backend) -> None:
        self._ends.pop(backend, None)
        backend.clear_clipboard()
