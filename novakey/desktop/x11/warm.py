"""A connection made ahead of the delivery that needs it: making one takes longer than a short text.

One is made when a phone arms and after each delivery, and closed when nobody
takes it: an unused connection is told of every change of the keyboard, and keeps it all.
"""

from __future__ import annotations

import os
from contextlib import suppress
from threading import RLock

import gevent

from novakey.desktop.x11.connection import ERRORS, Connection, ServerError
from novakey.desktop.x11.focus import expect

KEEP_S = 120.0
AFTER_S = 0.05  # the reply to the phone goes first
MAKE_S = 2.0


class Ready:
    """At most one connection, to the display that the environment names now."""

    def __init__(self) -> None:
        # Two greenlets in one exchange are more than python-xlib can bear.
        self._busy = RLock()
        self._connection: Connection | None = None
        self._place: tuple[str | None, str | None] = (None, None)
        self._closing: gevent.Greenlet | None = None

    def take(self) -> Connection:
        """The connection that is ready, or a new one, now the caller's. Raises what connecting does."""
        with self._busy:
            return self._take()

    def probe(self) -> None:
        """Raise what connecting does, unless the display answers."""
        with self._busy:
            if not self._is_good():
                self._keep(self._take())

    def make(self) -> None:
        """Have one ready for a while; where that fails, the delivery will say why."""
        with suppress(ServerError, *ERRORS), gevent.Timeout(MAKE_S, False), self._busy:
            self.probe()
            self._expect()

    def make_soon(self) -> None:
        """The same, after what is going on now."""
        gevent.spawn_later(AFTER_S, self.make)

    def close(self) -> None:
        """Close it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _take(self) -> Connection:
        if not self._is_good():
            self.close()
            return Connection()
        connection, self._connection = self._connection, None
        assert connection is not None
        return connection

    def _expect(self) -> None:
        if self._connection is None:
            return
        try:
            expect(self._connection)
        except BaseException:  # a timeout in the middle of an exchange: it is of no more use
            self.close()
            raise

    def _is_good(self) -> bool:
        """Whether it leads to the server still; that this one hangs is noticed by the delivery's deadline."""
        return self._connection is not None and self._place == _place() and self._connection.is_open

    def _keep(self, connection: Connection) -> None:
        self.close()  # one that somebody else has made ready meanwhile
        self._connection, self._place = connection, _place()
        if self._closing is not None:
            self._closing.kill(block=False)
        self._closing = gevent.spawn_later(KEEP_S, self._expire)

    def _expire(self) -> None:
        with self._busy:
            self.close()


def _place() -> tuple[str | None, str | None]:
    return os.environ.get("DISPLAY"), os.environ.get("XAUTHORITY")


# Shared by the question whether the display can be used and the delivery that follows it.
READY = Ready()
