"""Equal log lines: one a second, with a count of those that were left out.

Peers cause lines, as many as they like; without this a flood of connections
fills the disk and drowns the line that matters. A line that names an address
is equal only to others from it.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

EVERY_S = 1.0
MAX_LINES = 4096  # different lines remembered, as many as addresses in the other tables

_REQUEST = re.compile(r"^request [0-9]+ ")


class _Line:
    """What the last record said, and no more: an exception would keep its frames, and what they hold."""

    def __init__(self, name: str, level: int, text: str, since: float) -> None:
        self.name = name
        self.level = level
        self.text = text
        self.since = since  # of the last one that was written
        self.held = 0


class Throttle(logging.Handler):
    """Stands before `handlers`: decides about a record once, and passes it on to all of them.

    What was held back is counted in the next equal line or, when none comes,
    written by `tell`, which runs by itself a second after the last one.
    """

    def __init__(
        self,
        handlers: Sequence[logging.Handler],
        clock: Callable[[], float] = time.monotonic,
        later: Callable[[float, Callable[[], None]], None] | None = None,
    ) -> None:
        super().__init__()
        self.handlers = list(handlers)
        self._clock = clock
        self._later = later or _in_a_thread
        self._lines: OrderedDict[tuple[object, ...], _Line] = OrderedDict()
        self._telling = False

    def handle(self, record: logging.LogRecord) -> bool:
        """Pass it on, or hold it back. Each handler has its lock; this one needs none."""
        passed = self._decide(record)
        if passed:
            self._pass_on(record)
        return passed

    def close(self) -> None:
        """Write down what was held back, and close all of them."""
        super().close()
        while self._lines:
            self._tell_of(self._lines.popitem(last=False)[1])
        for handler in self.handlers:
            handler.close()

    def tell(self) -> None:
        """Write down what was held back and has no equal line within a second."""
        self._telling = False
        now = self._clock()
        for key, line in list(self._lines.items()):
            if now - line.since >= EVERY_S:
                del self._lines[key]
                self._tell_of(line)
        if any(line.held for line in self._lines.values()):
            self._tell_later()

    def _pass_on(self, record: logging.LogRecord) -> None:
        for handler in self.handlers:
            handler.handle(record)

    def _decide(self, record: logging.LogRecord) -> bool:
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001  # a wrong call of ours: the handler reports it
            return True
        key = (record.name, record.levelno, _REQUEST.sub("", text), record.exc_info and record.exc_info[0])
        now = self._clock()
        line = self._lines.get(key)
        if line is not None and now - line.since < EVERY_S:
            line.held += 1
            line.text = text
            self._tell_later()
            return False
        if line is not None and line.held:
            record.msg, record.args = f"{text} ({line.held} more like it)", ()
        self._lines[key] = _Line(record.name, record.levelno, text, now)
        self._lines.move_to_end(key)
        if len(self._lines) > MAX_LINES:
            self._tell_of(self._lines.popitem(last=False)[1])
        return True

    def _tell_of(self, line: _Line) -> None:
        if line.held:
            more = f" ({line.held - 1} more like it)" if line.held > 1 else ""
            self._pass_on(logging.LogRecord(line.name, line.level, "", 0, line.text + more, (), None))

    def _tell_later(self) -> None:
        if not self._telling:
            self._telling = True
            self._later(EVERY_S, self.tell)


def _in_a_thread(seconds: float, call: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()
