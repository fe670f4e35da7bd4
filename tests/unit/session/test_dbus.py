"""The message bus: answers, refusals, silence and ends, over a real dbus-daemon."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from jeepney import DBusAddress, MatchRule
from support.dbus import MessageBus, message_bus
from support.x11 import others_run

from novakey.session.dbus import Bus, BusError, session_address

DAEMON = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
NOBODY = DBusAddress("/x", "org.example.Nobody", "org.example.Nobody")


@pytest.fixture
def bus() -> Iterator[MessageBus]:
    with message_bus() as running:
        yield running


def test_a_call_is_answered_also_from_many_greenlets_at_once(bus: MessageBus) -> None:
    with Bus() as ours:
        jobs = [gevent.spawn(ours.call, DAEMON, "GetId") for _ in range(50)]
        assert len({job.get(timeout=5) for job in jobs}) == 1


def test_a_service_that_is_not_there_is_an_error_with_its_name(bus: MessageBus) -> None:
    with Bus() as ours, pytest.raises(BusError) as caught:
        ours.call(NOBODY, "Do")
    assert caught.value.name == "org.freedesktop.DBus.Error.ServiceUnknown"


def test_without_a_bus_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    with pytest.raises(BusError, match="no session bus"):
        Bus()
    for address in ("unix:path=/nonexistent/bus", "disabled:", "tcp:host=127.0.0.1", ""):
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
        with pytest.raises(BusError):
            Bus()


def test_the_socket_that_systemd_makes_is_found(tmp_path: Path, bus: MessageBus) -> None:
    path = Path(bus.address.removeprefix("unix:path="))
    assert session_address({"XDG_RUNTIME_DIR": str(path.parent)}) == bus.address
    assert session_address({"XDG_RUNTIME_DIR": str(tmp_path)}) is None


def test_a_bus_that_hangs_is_an_error_at_the_deadline_and_nothing_else_stops(bus: MessageBus) -> None:
    with Bus() as ours:
        bus.signal(signal.SIGSTOP)
        with others_run(), pytest.raises(BusError, match="in time"):
            ours.call(DAEMON, "GetId", timeout=0.5)
        with pytest.raises(BusError):
            Bus()
        bus.signal(signal.SIGCONT)


def test_a_bus_that_ends_is_an_error_and_told_to_who_waits_for_signals(bus: MessageBus) -> None:
    with Bus() as ours:
        rule = MatchRule(type="signal", interface="org.freedesktop.DBus", member="NameOwnerChanged")
        with ours.signals(rule) as queue:
            with Bus():
                got = queue.get(timeout=5)
                assert got is not None and got.body[0].startswith(":")
            bus.process.kill()
            deadline = time.monotonic() + 5
            while queue.get(timeout=5) is not None:
                assert time.monotonic() < deadline
            assert not ours.alive
        with pytest.raises(BusError):
            ours.call(DAEMON, "GetId")


def test_it_serves_while_the_environment_names_it_and_closing_it_twice_is_no_fault(bus: MessageBus) -> None:
    with Bus() as ours, Bus(address=bus.address) as beside:
        assert ours.serves and beside.serves
        with message_bus():
            assert ours.alive and not ours.serves
            assert beside.serves, "it was not found by the environment"
        assert ours.serves
        ours.close()
        assert not ours.serves
