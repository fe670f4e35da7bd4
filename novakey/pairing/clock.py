"""The time that a pairing window goes by: no setting of the clock makes it longer."""

from __future__ import annotations

from novakey.system.clock import CLOCK, Clock


class WindowClock:
    """Unix time that runs at least as fast as the clock that counts sleep since the window opened.

    A clock that is set back, by a person or by forged network time, must not
    extend a window. One that goes ahead (a machine that slept) ends it sooner.
    """

    def __init__(self, clock: Clock = CLOCK) -> None:
        self._unix = clock.unix
        self.monotonic = clock.monotonic
        self.begin()

    def begin(self) -> int:
        """Set the time of an opening window by the wall clock, and return it in unix seconds."""
        self._ahead = self._unix() - self.monotonic()
        return self()

    def __call__(self) -> int:
        """Return the time, in unix seconds."""
        return int(max(self._unix(), self.monotonic() + self._ahead))
