"""The clock that counts the time asleep, and everything that has to go by it."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.handler import handler

from novakey.config.settings import Settings
from novakey.daemon.server import Server
from novakey.devices.store import Device, DeviceStore
from novakey.messages.approvals import Approvals
from novakey.messages.clearing import ClipboardEnds
from novakey.messages.exchange import Exchange
from novakey.messages.handler import Handler
from novakey.messages.inject import Injector
from novakey.messages.permissions import Change
from novakey.messages.requests import SecretRequests
from novakey.pairing.clock import WindowClock
from novakey.secret import Secret
from novakey.system.clock import Clock, boottime
from novakey.wire.refused import Refused
from novakey.wire.reply import Outcome

NIGHT_S = 8 * 3600.0


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/uptime")
def test_it_is_the_clock_of_the_system_that_counts_sleep() -> None:
    before = boottime()
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert before - 0.02 <= uptime <= boottime() + 0.02


@pytest.mark.parametrize(
    "made", [Handler, Injector, Approvals, SecretRequests, ClipboardEnds, WindowClock, Server]
)
def test_all_that_a_person_allows_for_a_while_goes_by_it(made: Callable[..., object]) -> None:
    assert inspect.signature(made).parameters["clock"].default.monotonic is boottime


@pytest.fixture
def sleep(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Let the computer sleep for a night: the one clock goes on, the other stands still."""
    real, slept = time.clock_gettime, [0.0]
    monkeypatch.setattr(
        time, "clock_gettime", lambda clock: real(clock) + (slept[0] if clock == time.CLOCK_BOOTTIME else 0.0)
    )

    def sleep() -> None:
        slept[0] += NIGHT_S

    yield sleep


@pytest.mark.parametrize("gate", ["arming", "approval"])
def test_neither_arming_nor_approval_outlives_a_night_asleep(
    tmp_path: Path, sleep: Callable[[], None], gate: str
) -> None:
    phone = Device("phone", Secret(bytes(32)))
    devices = DeviceStore(tmp_path / "devices.json", Secret(bytes(32)), {"phone": phone}, None)
    answering = handler(Settings(), devices)
    injector = answering.injector

    def refusal(left_s: float = 0) -> Outcome:
        with pytest.raises(Refused) as refused:
            injector.inject("phone", Secret(b"correct horse"), Exchange(injector.clock.monotonic() + left_s))
        return refused.value.outcome

    injector.permissions.apply(Change.ARMED, "phone", injector.clock.monotonic_ms(), 20_000)
    injector.approvals.by_phone("phone")
    assert refusal() is Outcome.INTERNAL_ERROR, "both are open: it is only too late"
    sleep()
    if gate == "approval":
        injector.permissions.apply(Change.ARMED, "phone", injector.clock.monotonic_ms(), 20_000)
    assert refusal(10) is (Outcome.NOT_ARMED if gate == "arming" else Outcome.NEEDS_APPROVE)


def test_no_pairing_window_outlives_a_night_asleep_with_the_clock_set_back(sleep: Callable[[], None]) -> None:
    clock = WindowClock(Clock(lambda: 1_700_000_000.0))
    opened = clock.begin()
    sleep()
    assert clock() - opened >= NIGHT_S
