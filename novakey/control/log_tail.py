"""The log, to follow: the end of the file, and then each record as it is written.

A record is formatted for followers only while there are some: a message must
not cost more because somebody might look.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

from novakey.feed import Feed, Subscription
from novakey.log.format import LineFormatter, one_line, outlet, redact
from novakey.log.rotate import OwnerOnlyFile

MAX_LINES = 200
_TAIL = 64 * 1024


class LogFeed(logging.Handler):
    """Passes records on to its followers, always redacted."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(LineFormatter("file", redacting=True))
        self._lines: Feed[str] = Feed()

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line to every follower."""
        self._lines.publish(self.format(record))

    def lines(self, before: int, follow: bool) -> Iterator[str]:
        """Return the last lines of the log file, at most `before`, and then each new one."""
        with self._lines.listen() as new:
            if follow:
                self._begin()
            try:
                # Nothing is logged between these two: no line is told twice or left out.
                yield from last_lines(min(before, MAX_LINES))
                while follow:
                    yield from self._next(new)
            finally:
                if len(self._lines.listeners) == 1 and self in _handlers():
                    _handlers().remove(self)

    def _begin(self) -> None:
        if self not in _handlers():
            _handlers().append(self)

    @staticmethod
    def _next(new: Subscription[str]) -> Iterator[str]:
        line = new.next()
        if line is not None:
            yield line
        if new.missed:
            missed, new.missed = new.missed, 0
            yield f"({missed} lines came too fast and are left out)"


def last_lines(count: int) -> list[str]:
    """Return the last `count` lines of our log file, redacted also where the file is not."""
    written = [handler for handler in _handlers() if isinstance(handler, OwnerOnlyFile)]
    if not written or count <= 0:
        return []
    try:
        with open(written[0].path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = file.seek(max(0, size - _TAIL))
            text = file.read(_TAIL).decode("utf-8", "replace")
    except OSError:
        return []
    lines = text.splitlines()[1 if start else 0 :]
    return [one_line(redact(line)) for line in lines[-count:]]


def _handlers() -> list[logging.Handler]:
    """Those of the log; what is held back from the file is held back from its followers too."""
    throttle = outlet()
    return [] if throttle is None else throttle.handlers
