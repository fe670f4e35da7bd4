"""python-xlib's display, which only one greenlet may be inside at a time.

python-xlib's locks do nothing unless real threads run. When two greenlets wait on one
connection, the second spins without yielding, and the whole process stands still. An
exchange that a timeout has interrupted leaves the connection in the same state.
Both are errors of ours, so both raise here.
"""

from __future__ import annotations

import socket
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
from Xlib import X, error
from Xlib.display import Display, _BaseDisplay
from Xlib.protocol.display import bytesview

MAX_EVENTS = 4096  # that wait to be read; any client can send us any number of them

_TURN = 1 << 16  # bytes that are read before other greenlets get their turn
_SENT = 0x80  # of an event's type: a client made it, not the server
_EVENT = 32
# What a delivery reads. Other types are dropped unread, and so are sent ones of what only the server says.
DELIVERY = frozenset({X.PropertyNotify, X.SelectionClear, X.SelectionRequest, X.ClientMessage | _SENT})
_LONG_EVENT = 35  # GenericEvent, which no client can send


class ConnectionMisuseError(RuntimeError):
    """A connection is used by two greenlets at once, or after an interrupted exchange."""


class _Socket:
    """The socket of a connection; however much comes through it, other greenlets get their turn."""

    def __init__(self, own: Any) -> None:
        self._own = own
        self._taken = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def recv(self, size: int, flags: int = 0) -> bytes:
        came: bytes = self._own.recv(size, flags)
        self._taken += len(came)
        if self._taken >= _TURN:
            self._taken = 0
            gevent.sleep(0)
        return came


class _Guarded(_BaseDisplay):  # type: ignore[misc]
    """The half of python-xlib that every request and every wait passes through."""

    recv_packet_len: int
    data_recv: Any
    wanted: frozenset[int] = DELIVERY
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
        """Send and receive alone. An error in between leaves half of an exchange behind."""
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

    def parse_event_response(self, etype: int) -> None:
        if etype in self.wanted and len(self.event_queue) < MAX_EVENTS:
            super().parse_event_response(etype)
            return
        size = self.recv_packet_len if etype & ~_SENT == _LONG_EVENT else _EVENT
        self.data_recv = bytesview(self.data_recv, size)
        self.recv_packet_len = 0

    def next_event(self) -> Any:
        with self.exchange():
            return super().next_event()


class GuardedDisplay(Display):  # type: ignore[misc]
    """A display whose misuse raises. Its socket is closed at once, with nothing more sent.

    Events of other types than `wanted` are dropped unread.
    """

    def __init__(self, name: str | None = None, wanted: frozenset[int] = DELIVERY) -> None:
        try:
            super().__init__(name)
        except BaseException as stopped:  # also a timeout, or the end of the greenlet
            _close_half_made(stopped)
            raise
        # python-xlib makes this object itself. No other greenlet knows it yet.
        self.display.__class__ = _Guarded
        self.display.wanted = wanted
        self.display.socket = _Socket(self.display.socket)
        # Its RANDR puts exceptions that are no errors of a server in the place of BadRequest and BadValue.
        self.display.error_classes.update(error.xerror_class)

    def take_socket(self) -> socket.socket:
        """Return the socket. It is the caller's from here on, and this display has ended."""
        with self.display.alone():
            own = self.display.socket
            return socket.socket(fileno=own.detach())

    def close(self) -> None:
        """Close the socket, also when the server no longer reads from it."""
        try:
            self.display.check_alone()
        finally:
            self.display.close_internal("client")


def _close_half_made(stopped: BaseException) -> None:
    """Close the socket of a connection that was not made. Only the frames of the error lead to it."""
    for frame, _ in traceback.walk_tb(stopped.__traceback__):
        found = frame.f_locals.get("self")
        if isinstance(found, _BaseDisplay) and hasattr(found, "socket"):
            found.socket.close()
