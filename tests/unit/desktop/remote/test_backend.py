"""How fast keys go out where it is not known whether a program reads them."""

from __future__ import annotations

import pytest

from novakey.desktop.remote.backend import BURST_EVENTS, EVENTS_PER_S, LAG_S, Pace, Typist, lag_pause
from novakey.desktop.remote.xkb import Press


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


SHIFT, A, B = 42, 30, 48
TEXT = [Press(A), Press(B), Press(A, (SHIFT,)), Press(B, (SHIFT,)), Press(A)]
"""abABa on a US keyboard."""


class KeyLog:
    """Writes down what a typist does to its keyboard."""

    def __init__(self, lags: bool) -> None:
        self.done: list[str] = []
        self._lags = lags

    def press(self, code: int, down: bool) -> None:
        name = {SHIFT: "shift", A: "a", B: "b"}[code]
        if down or code == SHIFT:
            self.done.append(name if down else f"{name} up")

    def caps_lock(self) -> bool:
        return False

    def aim(self) -> None:
        return

    def lags(self) -> bool:
        return self._lags

    def confirm(self) -> None:
        self.done.append("confirm")

    def stop(self) -> None:
        return


def typed(lags: bool) -> list[str]:
    keyboard = KeyLog(lags)
    typist = Typist(keyboard, None, lambda seconds: keyboard.done.append("pause"))  # type: ignore[arg-type]
    typist.tap(TEXT)
    assert (typist.sent, typist.whole) == (5, True)
    return keyboard.done


def test_where_keys_lag_they_arrive_before_a_modifier_changes() -> None:
    arrive = ["confirm", "pause"]
    assert typed(lags=True) == ["a", "b", *arrive, "shift", "a", "b", *arrive, "shift up", "a", "confirm"]


def test_where_keys_do_not_lag_nothing_waits() -> None:
    assert typed(lags=False) == ["a", "b", "shift", "a", "b", "shift up", "a", "confirm"]


@pytest.mark.parametrize(("round_trip_s", "pause_s"), [(0.0, LAG_S), (0.001, LAG_S), (0.1, 0.3)])
def test_a_busy_desktop_is_given_longer(round_trip_s: float, pause_s: float) -> None:
    assert lag_pause(round_trip_s) == pytest.approx(pause_s)
