"""How fast keys go out where it is not known whether a program reads them."""

from __future__ import annotations

import gevent
import pytest
from support.dbus import double, message_bus

from novakey.desktop.remote.backend import BURST_EVENTS, EVENTS_PER_S, Pace, Typist
from novakey.desktop.remote.lag import BLIND_S, STEP_S, TURNS, Lag
from novakey.desktop.remote.xkb import Layout, Press


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

    def __init__(self) -> None:
        self.done: list[str] = []

    def press(self, code: int, down: bool) -> None:
        name = {SHIFT: "shift", A: "a", B: "b"}[code]
        if down or code == SHIFT:
            self.done.append(name if down else f"{name} up")

    def caps_lock(self) -> bool:
        return False

    def aim(self) -> None:
        return

    def lags(self) -> bool:
        return True

    def find_group(self, layout: Layout) -> None:
        return

    def confirm(self) -> None:
        self.done.append("asked")

    def stop(self) -> None:
        return


@pytest.fixture
def no_ibus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")
    monkeypatch.delenv("IBUS_ADDRESS", raising=False)


def typed(lags: bool) -> list[str]:
    keyboard = KeyLog()
    lag = Lag(lambda: keyboard.done.append("arrived"), lambda seconds: None) if lags else None
    typist = Typist(keyboard, None, lag)  # type: ignore[arg-type]
    typist.tap(TEXT)
    assert (typist.sent, typist.whole) == (5, True)
    return keyboard.done


def test_where_keys_lag_they_arrive_before_a_modifier_changes(no_ibus: None) -> None:
    arrived = ["arrived"] * TURNS
    assert typed(lags=True) == ["a", "b", *arrived, "shift", "a", "b", *arrived, "shift up", "a", "asked"]


def test_where_keys_do_not_lag_nothing_waits() -> None:
    assert typed(lags=False) == ["a", "b", "shift", "a", "b", "shift up", "a", "asked"]


def test_without_ibus_to_ask_a_busy_desktop_is_given_longer(no_ibus: None) -> None:
    slept: list[float] = []
    Lag(lambda: None, slept.append).wait()
    assert slept == [STEP_S, BLIND_S]
    slept.clear()
    Lag(lambda: gevent.sleep(0.01), slept.append).wait()
    assert slept[1] >= 3 * TURNS * 0.01


def test_the_engine_is_asked_between_the_questions_to_the_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def engine(method: str, call: object) -> tuple[str, tuple[object, ...]]:
        asked.append(method)
        return "a{sv}", ({},)

    with message_bus() as bus, double(bus.address, "org.freedesktop.IBus.Simple", engine):
        monkeypatch.setenv("IBUS_ADDRESS", bus.address)
        lag = Lag(lambda: asked.append("desktop"), lambda seconds: None)
        lag.wait()
        lag.close()
    assert asked == ["desktop"] * TURNS + ["org.freedesktop.DBus.Properties.GetAll"] + ["desktop"] * TURNS
