"""The numbers of connections: they grow for each device, and count nothing.

A reply is read by strangers. A counter in it would tell them how often the
owner's phones send. The number is the second, which the reply names anyway,
with random bits behind it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from novakey.system.clock import CLOCK, Clock

RANDOM_BITS = 21  # with 32 bits of time these are the 53 that JSON's numbers keep exactly
_STEP = 1024


class RequestIds:
    """Draws them. Clock and randomness are parameters."""

    def __init__(
        self,
        clock: Clock = CLOCK,
        below: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        self._clock = clock
        self._below = below
        self._last: dict[str, int] = {}

    def fresh(self) -> int:
        """Return a number for a connection of an unknown peer."""
        second = int(self._clock.unix()) & 0xFFFFFFFF
        return (second << RANDOM_BITS) + self._below(1 << RANDOM_BITS)

    def growing(self, device_id: str, number: int) -> int:
        """Return the number for a device that has proved itself: `number`, where it is above its last one."""
        last = self._last.get(device_id, 0)
        if number <= last:
            number = self.fresh()
        if number <= last:  # the same second, or the clock was set back
            number = last + 1 + self._below(_STEP)
        self._last[device_id] = number
        return number
