"""Questions with yes and no, for the person at this computer and never for the phone.

On the terminal of the program that asks, else as a notification with two buttons.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import TextIO

from novakey.errors import NovaKeyError
from novakey.log import one_line

ASK_S = 60.0
YES, NO = "yes", "no"

OpenTerminal = Callable[[], TextIO | None]


def controlling_terminal(path: str = "/dev/tty") -> TextIO | None:
    """The terminal of this process, or the named one; None where there is none."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    if not os.isatty(descriptor):
        os.close(descriptor)
        return None
    return open(descriptor, "r+", buffering=1, encoding="utf-8", errors="replace")


def agrees(question: str, terminal: OpenTerminal = controlling_terminal) -> bool:
    """Whether the person says yes. `NovaKeyError` where nobody can be asked."""
    opened = terminal()
    if opened is not None:
        with contextlib.closing(opened):
            return _answer_on(opened, question, ("yes", "no")) == YES
    return _notified(question)


def answer(question: str, terminal: OpenTerminal = controlling_terminal) -> str:
    """The line that the person types to a question that has more answers than two."""
    opened = terminal()
    if opened is None:
        raise NovaKeyError("this question needs a terminal", "start the program in one, and answer there")
    with contextlib.closing(opened):
        return _answer_on(opened, question, ())


def _answer_on(terminal: TextIO, question: str, allowed: tuple[str, ...]) -> str:
    lines = [one_line(line) for line in question.splitlines()] or [""]
    while True:
        terminal.write("\n".join(lines) + " ")
        terminal.flush()
        line = terminal.readline()
        if not line:
            raise NovaKeyError("the terminal was closed before an answer came")
        typed = line.strip()
        if not allowed or typed in allowed:
            return typed
        lines = [f"please type {' or '.join(allowed)}:"]


def _notified(question: str) -> bool:
    from novakey.session.bus import BusError
    from novakey.session.notify import Notifier

    notifier = Notifier()
    try:
        return notifier.ask("a program asks", question, {YES: "Yes", NO: "No"}, ASK_S) == YES
    except BusError as error:
        raise NovaKeyError(
            f"nobody can be asked: there is no terminal, and {error}", "start the program in a terminal"
        ) from None
    finally:
        notifier.close()
