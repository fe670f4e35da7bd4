"""What became of a device's secrets a moment ago.

A phone whose message failed, or whose answer was lost, sends the same text again by
itself. So the same text is not delivered twice within `REPEAT_S`, and a retry after a
refusal goes only to the window that was refused. Of a text only a hash is kept, under a
key that lives in this process.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import gevent
from gevent.event import Event

from novakey.desktop.base import Focus
from novakey.secret import Secret
from novakey.system.clock import CLOCK, Clock
from novakey.wire.reply import Outcome

REPEAT_S = 3.0  # the phone in the field retries after 250 ms and a fresh approval
RETRY_S = 2.0
UNKNOWN = "not known"  # the window of a refusal where the focus could not be read, or was not looked at


class Told(NamedTuple):
    """What a phone was told of a delivery, and the program that it was for."""

    outcome: Outcome
    msg: str
    program: str = ""


class _Delivery:
    def __init__(self) -> None:
        self.ended = Event()
        self.told: Told | None = None
        self.ended_at = float("inf")


class Recent:
    """The deliveries and refusals of the last seconds. The clock is a parameter."""

    def __init__(self, clock: Clock = CLOCK) -> None:
        self._monotonic = clock.monotonic
        self._key = os.urandom(32)
        self._deliveries: dict[bytes, _Delivery] = {}
        self._refused: dict[bytes, tuple[int | str, float]] = {}

    def digest(self, device_id: str, secret: Secret) -> bytes:
        """Tell equal texts of one device apart from all others, within this process."""
        hashed = hashlib.blake2b(device_id.encode(), key=self._key, digest_size=16)
        hashed.update(b"\0")
        with secret.view() as view:
            hashed.update(view)
        return hashed.digest()

    def told(self, digest: bytes, seconds: float = 0.0) -> Told | None:
        """Return the outcome of the same text a moment ago; None if it may be delivered now.

        A delivery that still runs is waited for, up to `seconds`.
        """
        delivery = self._deliveries.get(digest)
        if delivery is None:
            return None
        delivery.ended.wait(seconds)
        if not delivery.ended.is_set():
            return Told(Outcome.INTERNAL_ERROR, "the same text is still being delivered")
        if delivery.told is None or self._monotonic() >= delivery.ended_at + REPEAT_S:
            return None
        again = f"{delivery.told.msg} (the same text a moment ago; it is not delivered twice)"
        return delivery.told._replace(msg=again)

    def ended_ms(self, digest: bytes) -> float:
        """When the same text was delivered last; infinite where that still runs, or is not known."""
        delivery = self._deliveries.get(digest)
        return float("inf") if delivery is None else delivery.ended_at * 1000.0

    @contextmanager
    def delivering(self, digest: bytes) -> Iterator[Callable[[Told], None]]:
        """Hold back the same text inside and, once the function given was called, for `REPEAT_S` after."""
        delivery = self._deliveries[digest] = _Delivery()

        def may_be_out(told: Told) -> None:
            delivery.told = told

        try:
            yield may_be_out
        finally:
            if delivery.told is None:
                self._deliveries.pop(digest, None)
            else:
                delivery.ended_at = self._monotonic()
                gevent.spawn_later(REPEAT_S, self._forget)
            delivery.ended.set()

    def refused(self, digest: bytes, window: int | str | None) -> None:
        """Nothing of the text was typed into this window: a retry must not go to another one."""
        if self.retry_window(digest) is None:
            self._refused[digest] = (UNKNOWN if window is None else window, self._monotonic() + RETRY_S)
            gevent.spawn_later(REPEAT_S, self._forget)

    def retry_window(self, digest: bytes) -> int | str | None:
        """Return the only window that the same text may go to now; None for any."""
        window, until = self._refused.get(digest, (None, 0.0))
        return window if self._monotonic() < until else None

    def _forget(self) -> None:
        now = self._monotonic()
        for digest in [digest for digest, of in self._deliveries.items() if now >= of.ended_at + REPEAT_S]:
            del self._deliveries[digest]
        for digest in [digest for digest, (_, until) in self._refused.items() if now >= until]:
            del self._refused[digest]


def window_of(focus: Focus | None) -> int | str:
    """Return the window of a focus, or `UNKNOWN`."""
    return UNKNOWN if focus is None else focus.window
