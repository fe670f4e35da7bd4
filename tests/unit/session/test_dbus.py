"""The message bus: answers, refusals, silence and ends, over a real dbus-daemon."""

from __future__ import annotations

import gc
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import gevent
import greenlet
import pytest
from jeepney import DBusAddress, MatchRule, Message, new_signal
from jeepney.io.threading import open_dbus_connection
from support.dbus import Answer, MessageBus, double, message_bus
from support.x11 import others_run

from novakey.session.dbus import MAX_MESSAGE, Bus, BusError, session_address
from novakey.session.notifications import Notifier

DAEMON = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
ABSENT = DBusAddress("/x", "org.example.Absent", "org.example.Absent")


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
        ours.call(ABSENT, "Do")
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


def living() -> tuple[int, int]:
    """How many descriptors and how many greenlets this process has."""
    gevent.sleep(0.01)  # the loop closes descriptors, and greenlets end, in its next rounds
    gc.collect()
    greenlets = [found for found in gc.get_objects() if isinstance(found, greenlet.greenlet) and found]
    return len(list(Path("/proc/self/fd").iterdir())), len(greenlets)


def no_more_than(before: tuple[int, int]) -> bool:
    """Whether nothing was left open; what an earlier test left to the loop may be closed by now."""
    return all(now <= then for now, then in zip(living(), before, strict=True))


def test_two_hundred_connections_and_questions_leave_nothing_behind(bus: MessageBus) -> None:
    def service(method: str, call: Message) -> Answer:
        kinds: dict[str, Answer] = {
            "GetCapabilities": ("as", ([],)),
            "Notify": ("u", (7,)),
            "CloseNotification": ("", ()),
        }
        return kinds.get(method.rpartition(".")[2])

    with double(bus.address, "org.freedesktop.Notifications", service), Bus() as watching:
        notifier = Notifier()
        with pytest.raises(BusError):
            notifier.ask("first", "", {"yes": "Yes"}, 0)
        before, names = living(), watching.call(DAEMON, "ListNames")
        for _ in range(200):
            with Bus() as ours:
                ours.call(DAEMON, "GetId")
            with suppress(BusError):  # a busy machine does not show it in that time
                assert notifier.ask("a question", "", {"yes": "Yes"}, 0.01) is None
        assert no_more_than(before)
        assert watching.call(DAEMON, "ListNames") == names
        notifier.close()


def test_a_connection_that_fails_leaves_nothing_behind(bus: MessageBus, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "bus"))
        listener.listen()
        before = living()

        def accept(then: bytes) -> None:
            with listener.accept()[0] as client:
                client.recv(4096)
                client.sendall(b"OK 0123456789abcdef0123456789abcdef\r\n")
                client.recv(4096)  # BEGIN, and perhaps Hello with it
                client.sendall(then)

        for then in (b"", b"l" * 4096, struct.pack("<BBBBIII", 108, 2, 0, 1, 1 << 26, 1, 0)):
            server = gevent.spawn(accept, then)
            with pytest.raises(BusError):
                Bus(address=f"unix:path={tmp_path / 'bus'}")
            server.join(5)
        server = None
        assert no_more_than(before)
    bus.signal(signal.SIGSTOP)
    try:
        with pytest.raises(BusError):
            Bus()
        assert living()[1] <= before[1]
    finally:
        bus.signal(signal.SIGCONT)


def test_an_answer_of_other_types_and_one_that_is_too_long_are_errors(bus: MessageBus) -> None:
    answers: dict[str, Answer] = {"Number": ("u", (1,)), "Long": ("s", ("x" * (MAX_MESSAGE + 1),))}
    name = "org.example.Liar"
    liar = DBusAddress("/x", name, name)
    lying = double(bus.address, name, lambda method, call: answers.get(method.rpartition(".")[2]))
    with lying, Bus() as ours:
        assert ours.call(liar, "Number", returns="u") == (1,)
        for wanted in ("s", "", "uu", "(u)"):
            with pytest.raises(BusError, match="other types"):
                ours.call(liar, "Number", returns=wanted)
        with pytest.raises(BusError, match="hung up"):
            ours.call(liar, "Long")


def test_a_flood_of_signals_keeps_no_one_waiting_and_fills_no_memory(bus: MessageBus) -> None:
    rule = MatchRule(type="signal", interface="org.example.Flood")
    signal_ = new_signal(DBusAddress("/x", interface="org.example.Flood"), "Drop", "u", (1,))
    with Bus() as ours, ours.signals(rule) as queue, open_dbus_connection(bus.address) as flooder:
        with others_run():
            for number in range(2000):
                flooder.send(signal_)
                if number % 50 == 0:
                    gevent.sleep(0)  # the flood comes from another process in earnest
            assert ours.call(DAEMON, "GetId", timeout=5)
        assert queue.qsize() <= 64
