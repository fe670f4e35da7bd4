"""A peer's socket with bounds: every read has a cap, the whole exchange has a deadline.

Blocking style; gevent makes it concurrent. A deadline is for the exchange, not
for one read: a peer that sends a byte a second gains nothing.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable

from novakey.secret import Secret

_CHUNK = 4096
_LINGER_S = 1.0
_LINGER_BYTES = 64 * 1024
# struct tcp_info of linux/tcp.h: eight bytes, eleven numbers, then the milliseconds since data came in last.
_LAST_DATA = struct.Struct("=8x44xI")


class DeadlineError(Exception):
    """The exchange took longer than it may."""


class EndOfStreamError(Exception):
    """The peer stopped sending (or reset the connection) before the end."""


class CutOffError(EndOfStreamError):
    """We stopped reading from the peer ourselves; says why."""


class TooLongError(Exception):
    """The peer sent more than the cap before the end of a line."""


class Stream:
    """Reads and writes of one connection under one deadline."""

    def __init__(self, sock: socket.socket, clock: Callable[[], float] = time.monotonic) -> None:
        self._sock = sock
        self._clock = clock
        self._buffer = bytearray()
        self._deadline = clock()
        self._cut_off = ""
        self.ended = False

    def set_deadline(self, seconds: float) -> None:
        """From now on, everything must end within `seconds`."""
        self._deadline = self._clock() + seconds

    def line(self, cap: int) -> bytes:
        """Up to and with the next line end, at most `cap` bytes of it."""
        while (end := self._buffer.find(b"\n", 0, cap)) < 0:
            if len(self._buffer) >= cap:
                raise TooLongError("the line is too long")
            self._fill()
        return self._take(end + 1)

    def read_exactly(self, count: int) -> bytes:
        """Just `count` bytes; the caller has checked the count against its cap."""
        while len(self._buffer) < count:
            self._fill()
        return self._take(count)

    def secret(self, count: int) -> Secret:
        """`read_exactly` so many bytes, of which no copy is left here."""
        whole = bytearray(count)
        try:
            with memoryview(whole) as view:
                done = self._move(view)
                while done < count:
                    with view[done:] as room:
                        done += self._receive(room)
            return Secret(whole)
        finally:
            whole[:] = bytes(count)

    def read_some(self) -> bytes:
        """Return what has come, at most 4 KiB and at least one byte; `b""` once it `ended`."""
        if not self._buffer:
            try:
                self._fill()
            except EndOfStreamError:
                self.ended = True
                return b""
        return self._take(min(len(self._buffer), _CHUNK))

    def send(self, data: bytes | memoryview) -> None:
        """Write all of it."""
        sent = 0
        while sent < len(data):
            self._limit()
            try:
                # Released also where it fails: a secret that is still viewed cannot be wiped.
                with memoryview(data)[sent:] as rest:
                    sent += self._sock.send(rest)
            except TimeoutError:
                raise DeadlineError("it took too long") from None
            except OSError:
                raise EndOfStreamError("the peer hung up") from None

    def finish(self, whole: bool = False) -> None:
        """Close so that what was sent arrives.

        Closing a socket with unread bytes resets the connection, and a reset
        may overtake the reply; so the sending side is shut first and a bounded
        rest is read away. `whole` is that the peer has sent all that it had to:
        then nothing is waited for, unless more has come all the same.
        """
        if whole and not self._more():
            self._sock.close()
            return
        with contextlib.suppress(OSError, DeadlineError, EndOfStreamError):
            self._sock.shutdown(socket.SHUT_WR)
            self.set_deadline(_LINGER_S)
            drained = 0
            while drained < _LINGER_BYTES:
                self._buffer.clear()
                self._fill()
                drained += len(self._buffer)
        self._sock.close()

    def cut_off(self, why: str) -> None:
        """End its reading from outside: after the bytes that have come there is only `CutOffError(why)`."""
        self._cut_off = why
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)

    def is_open(self) -> bool:
        """Whether the peer has neither ended its sending side nor reset the connection; waits for nothing.

        The phone in the field ends its side of a message only when it gives up.
        """
        self._sock.settimeout(0)
        try:
            return bool(self._sock.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def lain_s(self) -> float:
        """How many seconds ago the last bytes came in, though they were read only now; 0 where none tells."""
        if not hasattr(socket, "TCP_INFO"):
            return 0.0
        try:
            info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA.size)
            (milliseconds,) = _LAST_DATA.unpack(info)
        except (OSError, struct.error):
            return 0.0
        return float(milliseconds) / 1000.0

    def abort(self) -> None:
        """Close at once, also with bytes pending."""
        self._sock.close()

    def _more(self) -> bool:
        """Whether bytes have come that are still unread."""
        if not self._buffer:
            self._sock.settimeout(0)
            with contextlib.suppress(OSError):  # nothing has, or the peer is gone
                self._buffer += self._sock.recv(_CHUNK)
        return bool(self._buffer)

    def _take(self, count: int) -> bytes:
        taken = bytearray(count)
        with memoryview(taken) as view:
            self._move(view)
        return bytes(taken)

    def _move(self, to: memoryview) -> int:
        """Move as many bytes as are there. No copy stays of any: a secret may follow a line."""
        count = min(len(self._buffer), len(to))
        old, self._buffer = self._buffer, bytearray(len(self._buffer) - count)
        # Into a view: a bytearray that takes a slice from a view makes a copy of its own first.
        with memoryview(old) as view, memoryview(self._buffer) as rest:
            to[:count] = view[:count]
            rest[:] = view[count:]
            view[:] = bytes(len(view))
        return count

    def _fill(self) -> None:
        chunk = bytearray(_CHUNK)
        with memoryview(chunk) as view:
            count = self._receive(view)
            self._buffer += view[:count]
            view[:count] = bytes(count)

    def _receive(self, to: memoryview) -> int:
        """Read at least one byte and at most as many as have room; return how many."""
        self._limit()
        try:
            count = self._sock.recv_into(to)
        except TimeoutError:
            raise DeadlineError("it took too long") from None
        except OSError:
            count = 0
        if not count and self._cut_off:
            raise CutOffError(self._cut_off)
        if not count:
            raise EndOfStreamError("the peer hung up")
        return count

    def _limit(self) -> None:
        remaining = self._deadline - self._clock()
        if remaining <= 0:
            raise DeadlineError("it took too long")
        self._sock.settimeout(remaining)
