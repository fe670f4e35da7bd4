"""The time that a window goes by, under every change of the computer's clock."""

from __future__ import annotations

from novakey.pairing.clock import WindowClock
from novakey.system.clock import Clock


class Clocks:
    """A wall clock that can be set, and one that cannot."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_800_000_000.0, 50.0

    def window_clock(self) -> WindowClock:
        return WindowClock(Clock(lambda: self.wall, lambda: self.steady))


def test_setting_the_clock_back_does_not_make_a_window_longer() -> None:
    clocks = Clocks()
    clock = clocks.window_clock()
    opened = clock.begin()
    clocks.wall -= 3600
    clocks.steady += 600
    assert clock() == opened + 600


def test_a_clock_that_goes_ahead_ends_a_window_sooner() -> None:
    clocks = Clocks()
    clock = clocks.window_clock()
    opened = clock.begin()
    clocks.wall += 700  # a machine that slept: its monotonic clock stood still
    assert clock() == opened + 700


def test_the_next_window_goes_by_the_wall_clock_again() -> None:
    clocks = Clocks()
    clock = clocks.window_clock()
    clocks.wall -= 3600
    assert clock.begin() == int(clocks.wall)
