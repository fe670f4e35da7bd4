"""A connection made ahead of the delivery that needs it: making one takes longer than a short text.

One is made when a phone arms and after each delivery, and closed when no delivery
takes it: an unused connection is told of every change of the keyboard, and keeps it all.
"""

from __future__ import annotations

from contextlib import suppress

import gevent
from gevent.lock import RLock

from novakey.desktop.x11.connection import ERRORS, Connection, ServerError, place
from novakey.desktop.x11.focus import expect

KEEP_S = 120.0
AFTER_S = 0.05  # the reply to the phone goes first
MAKE_S = 2.0


class WarmConnection:
    """At most one connection, to the display that the environment names now.

    A connection that is in use is not in here, so closing this disturbs no exchange.
    """

    def __init__(self) -> None:
        self._busy = RLock()  # one connection is made at a time
        self._connection: Connection | None = None
        self._making: gevent.Greenlet | None = None
        self._closing: gevent.Greenlet | None = None

    def take(self) -> Connection:
        """Return the ready connection, or a new one; the caller owns it. Raises as connecting does."""
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
            connection = self._take()
            try:
                expect(connection)
            except BaseException:  # also a timeout in the middle of an exchange
                connection.close()
                raise
            self._keep(connection)

    def prewarm(self) -> None:
        """Make one later, after the work that is under way."""
        self._stop(self._making)
        self._making = gevent.spawn_later(AFTER_S, self.make)

    def close(self) -> None:
        """Close it, and make no other soon."""
        making, self._making = self._making, None
        self._stop(making)
        self._drop()

    def _take(self) -> Connection:
        if not self._is_good():
            self._drop()
            return Connection()
        connection, self._connection = self._connection, None
        assert connection is not None
        return connection

    def _is_good(self) -> bool:
        """Whether it leads to the server still; that this one hangs is noticed by the delivery's deadline."""
        found = self._connection
        return found is not None and found.place == place() and found.is_good

    def _keep(self, connection: Connection) -> None:
        self._drop()
        self._connection = connection
        self._stop(self._closing)
        self._closing = gevent.spawn_later(KEEP_S, self._drop)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @staticmethod
    def _stop(greenlet: gevent.Greenlet | None) -> None:
        if greenlet is not None and greenlet is not gevent.getcurrent():
            greenlet.kill(block=False)


# Shared by the question whether the display can be used and the delivery that follows it.
WARM = WarmConnection()
