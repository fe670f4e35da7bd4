"""The settings of a terminal, as they were before a question without echo."""

from __future__ import annotations

import contextlib
import os
import signal
import termios
from collections.abc import Iterator

# They end a process without a word to it, unless it handles them.
_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@contextlib.contextmanager
def restored(handle: int) -> Iterator[None]:
    """Restore the settings of the terminal at the end, also where a signal ends the process."""
    before = termios.tcgetattr(handle)

    def end(number: int, frame: object) -> None:
        termios.tcsetattr(handle, termios.TCSANOW, before)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    ours = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in ours:
            signal.signal(number, end)
        yield
    finally:
        termios.tcsetattr(handle, termios.TCSAFLUSH, before)
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
