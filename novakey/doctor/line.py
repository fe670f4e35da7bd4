"""The terminal that the doctor runs in, as the place to type into: raw, and nothing is shown.

No backend but the one for X11 has a window of ours. That the focus is here is
proved by the person, who presses Enter.
"""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from codecs import getincrementaldecoder
from typing import Any

import gevent

from novakey.desktop.base import DesktopError, Focus

START_S = 60.0


class Line:
    """The terminal on standard input; a context manager that gives it back as it was."""

    def __enter__(self) -> Line:
        self._fd = sys.stdin.fileno()
        if not os.isatty(self._fd):
            raise DesktopError("there is no terminal to type into: run it in one, inside the session")
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._before: list[Any] = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd, termios.TCSAFLUSH)  # no echo, no lines; Ctrl-C still ends it
        try:
            sys.stderr.write("the test types into this terminal: press Enter here, and touch nothing\n")
            sys.stderr.flush()
            self._until_enter()
        except BaseException:
            self.__exit__()
            raise
        self._reading = gevent.spawn(self._read)
        return self

    def __exit__(self, *exc: object) -> None:
        if hasattr(self, "_reading"):
            self._reading.kill()
        termios.tcsetattr(self._fd, termios.TCSAFLUSH, self._before)

    def check_target(self, focus: Focus | None) -> None:
        """Allow every target: which window the terminal is cannot be told."""

    def received(self) -> str:
        """See `canary.Place`."""
        return self._text

    def _until_enter(self) -> None:
        ready, _, _ = select.select([self._fd], [], [], START_S)
        if not ready:
            raise DesktopError("Enter was not pressed")
        os.read(self._fd, 64)

    def _read(self) -> None:
        while True:
            select.select([self._fd], [], [])
            self._text += self._decoder.decode(os.read(self._fd, 4096))
