"""How fast keys go out where it is not known whether a program reads them."""

from __future__ import annotations

from novakey.desktop.remote.backend import BURST_EVENTS, EVENTS_PER_S, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_short_text_goes_out_at_once_and_a_long_one_at_a_steady_pace() -> None:
    clock = Clock()
    pace = Pace(clock, clock.sleep)
    for _ in range(BURST_EVENTS // 2):
        pace.spend(2)
    assert clock.now == 0
    for _ in range(EVENTS_PER_S // 2):
        pace.spend(2)
    assert 0.99 < clock.now < 1.01


def test_at_no_moment_more_is_out_than_a_busy_program_may_leave_unread() -> None:
    clock = Clock()
    pace = Pace(clock, clock.sleep)
    out: list[float] = []
    for _ in range(800):
        pace.spend(2)
        out += [clock.now] * 2
    assert (
        max(sum(at <= other < at + 0.5 for other in out) for at in out) <= BURST_EVENTS + EVENTS_PER_S / 2 + 2
    )
    assert out[-1] < 5, "256 characters within a delivery"
