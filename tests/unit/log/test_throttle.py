"""Equal lines: one a second, with a count; the clock is passed in."""

from __future__ import annotations

import logging
from collections.abc import Callable

from novakey.log import throttle
from novakey.log.throttle import Throttle


class Lines(logging.Handler):
    """Keeps what it is given."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())


class Log:
    """Two handlers behind one throttle, and a clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.lines: list[list[str]] = [[], []]
        self.due: list[Callable[[], None]] = []
        self.throttle = Throttle(
            [Lines(lines) for lines in self.lines],
            lambda: self.now,
            lambda seconds, call: self.due.append(call),
        )

    def say(self, text: str, *args: object, level: int = logging.INFO) -> None:
        self.throttle.handle(logging.LogRecord("novakey.test", level, "", 0, text, args, None))

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        due, self.due = self.due, []
        for call in due:
            call()


def test_equal_lines_of_one_address_are_one_a_second_and_the_next_says_how_many() -> None:
    log = Log()
    for number in range(100):
        log.say("request %d from %s: closed", number, "192.0.2.1")
    assert log.lines[0] == ["request 0 from 192.0.2.1: closed"]
    log.now += 1
    log.say("request %d from %s: closed", 100, "192.0.2.1")
    assert log.lines[0][1:] == ["request 100 from 192.0.2.1: closed (99 more like it)"]
    assert log.lines[0] == log.lines[1], "every handler gets the same"


def test_what_was_held_back_is_written_by_itself_when_nothing_follows() -> None:
    log = Log()
    for number in range(3):
        log.say("request %d from %s: closed", number, "192.0.2.1")
    log.pass_time(1)
    assert log.lines[0] == [
        "request 0 from 192.0.2.1: closed",
        "request 2 from 192.0.2.1: closed (1 more like it)",
    ]
    log.pass_time(1)
    assert len(log.lines[0]) == 2 and not log.due


def test_other_addresses_levels_and_sentences_are_other_lines() -> None:
    log = Log()
    log.say("request %d from %s: closed", 1, "192.0.2.1")
    log.say("request %d from %s: closed", 2, "192.0.2.2")
    log.say("request %d from %s: closed", 3, "192.0.2.1", level=logging.WARNING)
    log.say("request %d from %s: opened", 4, "192.0.2.1")
    assert len(log.lines[0]) == 4


def test_the_table_of_lines_is_bounded_and_loses_no_count() -> None:
    log = Log()
    log.say("the first")
    log.say("the first")
    for number in range(3 * throttle.MAX_LINES):
        log.say("line %s", f"<{number}>")
    assert len(log.throttle._lines) == throttle.MAX_LINES
    assert log.lines[0].count("the first") == 2


def test_closing_loses_no_count_and_writes_nothing_afterwards() -> None:
    log = Log()
    for number in range(3):
        log.say("request %d from %s: closed", number, "192.0.2.1")
    log.throttle.close()
    assert log.lines[0][1:] == ["request 2 from 192.0.2.1: closed (1 more like it)"]
    log.pass_time(1)
    assert len(log.lines[0]) == 2
