"""python-xlib's display, which only one greenlet may be inside at a time.

python-xlib's locks do nothing unless real threads run. When two greenlets wait on one
connection, the second spins without yielding, and the whole process stands still. An
exchange that a timeout has interrupted leaves the connection in the same state.
Both are errors of ours, so both raise here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
from Xlib import error
from Xlib.display import Display, _BaseDisplay


class ConnectionMisuseError(RuntimeError):
    """A connection is used by two greenlets at once, or after an interrupted exchange."""


class _Guarded(_BaseDisplay):  # type: ignore[misc]
    """The half of python-xlib that every request and every wait passes through."""

    _inside: object = None
    _interrupted = False

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other greenlet out. The same greenlet may enter again."""
        self.check()
        outer, self._inside = self._inside, gevent.getcurrent()
        try:
            yield
        finally:
            self._inside = outer

    @contextmanager
    def exchange(self) -> Iterator[None]:
        """Send and receive alone. Whatever ends this early leaves half of an exchange behind."""
        with self.alone():
            try:
                yield
            except BaseException:
                self._interrupted = self.socket_error is None
                raise

    def check(self) -> None:
        """Raise `ConnectionMisuseError` unless the current greenlet may use the connection."""
        self.check_alone()
        if self._interrupted:
            raise ConnectionMisuseError("this x connection was interrupted and can only be closed")

    def check_alone(self) -> None:
        """Raise `ConnectionMisuseError` while another greenlet is inside."""
        if self._inside not in (None, gevent.getcurrent()):
            raise ConnectionMisuseError("another greenlet is using this x connection")

    def send_request(self, request: Any, wait_for_response: bool) -> None:
        self.check()
        super().send_request(request, wait_for_response)

    def send_and_recv(self, *args: Any, **kinds: Any) -> None:
        with self.exchange():
            super().send_and_recv(*args, **kinds)

    def next_event(self) -> Any:
        with self.exchange():
            return super().next_event()


class GuardedDisplay(Display):  # type: ignore[misc]
    """A display whose misuse raises. Its socket is closed at once, with nothing more sent."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        # python-xlib makes this object itself. No other greenlet knows it yet.
        self.display.__class__ = _Guarded
        # Its RANDR puts exceptions that are no errors of a server in the place of BadRequest and BadValue.
        self.display.error_classes.update(error.xerror_class)

    def close(self) -> None:
        """Close the socket, also when the server no longer reads from it."""
        try:
            self.display.check_alone()
        finally:
            self.display.close_internal("client")
