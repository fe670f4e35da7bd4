"""How long a message may still act: its phone waits for the answer, and its time runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from novakey.system.clock import CLOCK, Clock
from novakey.wire.refused import Refused
from novakey.wire.reply import Outcome

EXCHANGE_S = 10.0  # from when a message has arrived to its first key
FRESH_S = 15.0  # the age of a secret, by its own timestamp, at its first key


class Exchange:
    """One message until it is answered. Waiting that we ask the phone for does not count."""

    def __init__(
        self,
        until: float,
        clock: Clock = CLOCK,
        is_open: Callable[[], bool] = lambda: True,
        too_old: str = "",
    ) -> None:
        """Let it act before `until` (seconds of the clock), while `is_open` says that its phone is there.

        `too_old` says that its secret was no longer fresh when it came.
        """
        self._until = until
        self._monotonic = clock.monotonic
        self._is_open = is_open
        self._too_old = too_old

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return max(0.0, self._until - self._monotonic())

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Extend the time by what passes in here: a person is asked."""
        began = self._monotonic()
        try:
            yield
        finally:
            self._until += self._monotonic() - began

    def refuse_late(self) -> None:
        """Raise `Refused` where the time is over."""
        if self._too_old:
            raise Refused(Outcome.BAD_TIMESTAMP, self._too_old)
        if self.left <= 0:
            raise Refused(
                Outcome.INTERNAL_ERROR, "it waited too long here, so it went nowhere: send it again"
            )

    def refuse_over(self) -> None:
        """Raise `Refused` where the time is over, or the phone has hung up."""
        self.refuse_late()
        if not self._is_open():
            raise Refused(
                Outcome.INTERNAL_ERROR, "the phone hung up before the first key, so it went nowhere"
            )
