"""One prompt on the owner's screen, for an approval or for a request: shown, waited for, withdrawn."""

from __future__ import annotations

from collections.abc import Callable

import gevent
from gevent.event import Event


class Prompt:
    """A prompt in a greenlet of its own. `show` blocks until it is answered; it may end it by `withdraw`."""

    def __init__(self, show: Callable[[], None]) -> None:
        self._over = Event()
        self._showing = gevent.spawn(self._show, show)

    def wait(self, seconds: float) -> bool:
        """Wait until it is over; false if it is not after `seconds`."""
        return bool(self._over.wait(max(0.0, seconds)))

    def withdraw(self) -> None:
        """Take it off the screen. Returns at once."""
        self._over.set()
        if self._showing is not gevent.getcurrent():
            self._showing.kill(block=False)

    def _show(self, show: Callable[[], None]) -> None:
        try:
            show()
        finally:
            self._over.set()
