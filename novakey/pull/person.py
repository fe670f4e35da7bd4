"""What the person at this computer is told and asked; it never goes to the phone.

On the terminal of the program that asks, else as a notification with two buttons.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator, Mapping
from typing import TextIO

from novakey.errors import NovaKeyError
from novakey.system.sanitize import lines

ASK_S = 60.0
YES, NO = "yes", "no"
MAX_LINE = 4096

# "(yes/no)", "[y/N]", and what ssh(1) says when it asks the same again.
_YES_NO = re.compile(r"[(\[](?:yes/no|y/n)\b|'yes'", re.IGNORECASE)
# git-svn's question about a certificate.
_CHOICE = re.compile(r"\(r\)eject", re.IGNORECASE)


def for_a_person(prompt: str) -> bool:
    """Whether a prompt wants a decision and no secret."""
    return _YES_NO.search(prompt) is not None or _CHOICE.search(prompt) is not None


class UserPrompt:
    """The person who sits here. `terminal` is the path of theirs; a pinentry is told another one."""

    def __init__(self, terminal: str = "/dev/tty") -> None:
        self.terminal = terminal

    def agrees(self, question: str) -> bool:
        """Whether they say yes. `NovaKeyError` where no person can be asked."""
        with _opened(self.terminal) as terminal:
            if terminal is not None:
                return _answer_on(terminal, f"{question} (yes/no)", (YES, NO)) == YES
        return _notified(question) == YES

    def answer(self, question: str) -> str:
        """Return the line that they type; from a notification, `yes` or `no`."""
        with _opened(self.terminal) as terminal:
            if terminal is not None:
                return _answer_on(terminal, question, ())
        if _YES_NO.search(question) is None:
            raise NovaKeyError("this question needs a terminal", "start the program in one, and answer there")
        return _notified(question)

    def tell(self, text: str) -> None:
        """Show it; on the screen, where there is no terminal, until it is dismissed."""
        if not self.say(text):
            _on_screen("a program says", text, {"ok": "OK"})

    def say(self, text: str) -> bool:
        """Show it on the terminal only; whether there is one."""
        with _opened(self.terminal) as terminal:
            if terminal is None:
                return False
            terminal.write(lines(text) + "\n")
            return True


@contextlib.contextmanager
def _opened(path: str) -> Iterator[TextIO | None]:
    """Open the terminal of this path to read and write; None if it is none, or not ours."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    # Two buffers, or none: a terminal has no position that reading and writing could share.
    with io.TextIOWrapper(
        io.FileIO(descriptor, "r+"),
        encoding="utf-8",
        errors="replace",
        write_through=True,
    ) as terminal:
        yield terminal if terminal.isatty() else None


def _answer_on(terminal: TextIO, question: str, allowed: tuple[str, ...]) -> str:
    shown = lines(question)
    while True:
        terminal.write(shown.rstrip() + " ")
        line = terminal.readline(MAX_LINE)
        if not line:
            raise NovaKeyError("the terminal was closed before an answer came")
        typed = line.strip()
        if not allowed or typed in allowed:
            return typed
        shown = f"please type {' or '.join(allowed)}:"


def _notified(question: str) -> str:
    pressed = _on_screen("a program asks", question, {YES: "Yes", NO: "No"})
    return YES if pressed == YES else NO  # also when it was put away


def _on_screen(summary: str, body: str, choices: Mapping[str, str]) -> str | None:
    from novakey.session.dbus import BusError
    from novakey.session.notifications import Notifier

    notifier = Notifier()
    try:
        return notifier.ask(summary, body, choices, ASK_S)
    except BusError as error:
        raise NovaKeyError(
            f"no person can be asked: there is no terminal, and {error}", "start the program in a terminal"
        ) from None
    finally:
        notifier.close()
