"""Giving a text to a program that wants to paste it, through a pipe that it holds the other end of."""

from __future__ import annotations

import contextlib

import gevent
import gevent.os
from gevent import monkey

# gevent's own waits for the next turn of its loop, for seconds in a quiet daemon. The reader waits as long.
close_now = monkey.get_original("os", "close")

WRITE_S = 5.0  # a program that asks and does not read


def write_and_close(handle: int, text: bytes) -> bool:
    """Write all of the text, and close; whether it was all taken in time. Raises nothing."""
    try:
        gevent.os.make_nonblocking(handle)
        with gevent.Timeout(WRITE_S, False):
            left = memoryview(text)
            while left:
                left = left[gevent.os.nb_write(handle, left) :]
            return True
    except OSError:
        pass  # it went away
    finally:
        with contextlib.suppress(OSError):
            close_now(handle)
    return False
