"""The clock for everything that a person allows for a while: it counts the time asleep.

`time.monotonic` stands still while a Linux or macOS computer sleeps. An arming of twenty
seconds would then be open when somebody else opens the lid the next morning.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

# On macOS CLOCK_MONOTONIC counts the time asleep; on Windows `time.monotonic` does (GetTickCount64).
_CLOCK: int | None = getattr(
    time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None) if sys.platform == "darwin" else None
)


def boottime() -> float:
    """Return seconds that never go back and that pass while the computer sleeps too."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


@dataclass(frozen=True)
class Clock:
    """The clocks that a part goes by, both in seconds. A test gives others."""

    unix: Callable[[], float] = time.time
    monotonic: Callable[[], float] = boottime

    def monotonic_ms(self) -> float:
        """Return the monotonic time in milliseconds, as the gates count it."""
        return self.monotonic() * 1000.0


CLOCK = Clock()
