"""The screen lock, told by doubles of the services: no locker of a whole desktop runs here."""

from __future__ import annotations

import signal
from contextlib import ExitStack

import gevent
import pytest
from jeepney import HeaderFields, Message
from jeepney.bus_messages import message_bus as messages
from jeepney.io.threading import open_dbus_connection
from support.dbus import Answer, double, message_bus

from novakey.session import screen_lock

FREEDESKTOP, GNOME = "org.freedesktop.ScreenSaver", "org.gnome.ScreenSaver"
LOGIN = "org.freedesktop.login1"


def says(active: object, signature: str = "b") -> Answer:
    return (signature, (active,))


@pytest.mark.parametrize(
    ("answers", "login", "expected"),
    [
        ({}, None, None),
        ({FREEDESKTOP: says(False)}, None, False),
        ({FREEDESKTOP: says(True)}, None, True),
        ({GNOME: says(True)}, None, True),
        ({FREEDESKTOP: says(False), GNOME: says(True)}, None, True),
        ({FREEDESKTOP: says(False)}, True, True),
        ({}, True, True),
        ({}, False, False),
        ({FREEDESKTOP: None, GNOME: says(False)}, None, False),
        ({FREEDESKTOP: None}, None, None),
        ({FREEDESKTOP: says("locked", "s")}, None, True),
        ({GNOME: ("", ())}, None, True),
        ({GNOME: ("", ())}, False, True),
    ],
)
def test_one_service_that_says_locked_is_enough(
    answers: dict[str, Answer], login: bool | None, expected: bool | None
) -> None:
    with ExitStack() as stack:
        session = stack.enter_context(message_bus())
        system = stack.enter_context(message_bus("DBUS_SYSTEM_BUS_ADDRESS"))
        for name, answer in answers.items():
            stack.enter_context(double(session.address, name, lambda what, call, answer=answer: answer))  # type: ignore[misc]
        if login is not None:
            stack.enter_context(double(system.address, LOGIN, lambda what, call: _hint(what, call, login)))
        assert screen_lock.locked() is expected


def _hint(what: str, call: Message, hint: bool) -> Answer:
    assert (what, call.body) == (
        "org.freedesktop.DBus.Properties.Get",
        ("org.freedesktop.login1.Session", "LockedHint"),
    )
    return ("v", (("b", hint),))


def hang(what: str, call: Message) -> Answer:
    gevent.sleep(60)
    return None


@pytest.mark.parametrize("login", [False, None], ids=["logind says unlocked", "no logind"])
def test_a_locker_that_owns_its_name_and_does_not_answer_counts_as_locked(
    login: bool | None, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        session = stack.enter_context(message_bus())
        stack.enter_context(double(session.address, FREEDESKTOP, hang))
        if login is not None:
            system = stack.enter_context(message_bus("DBUS_SYSTEM_BUS_ADDRESS"))
            stack.enter_context(double(system.address, LOGIN, lambda what, call: _hint(what, call, login)))
        stack.enter_context(gevent.Timeout(8))
        assert screen_lock.locked() is True
    assert f"{FREEDESKTOP} does not say whether the screen is locked" in caplog.text


def test_a_logind_that_does_not_answer_counts_as_locked() -> None:
    with ExitStack() as stack:
        system = stack.enter_context(message_bus("DBUS_SYSTEM_BUS_ADDRESS"))
        stack.enter_context(double(system.address, LOGIN, hang))
        stack.enter_context(gevent.Timeout(8))
        assert screen_lock.locked() is True


def test_a_locker_that_goes_away_before_it_answers_counts_as_locked() -> None:
    with message_bus() as bus:
        locker = open_dbus_connection(bus.address)
        locker.send(messages.RequestName(FREEDESKTOP))

        def leave() -> None:
            while locker.receive().header.fields.get(HeaderFields.member) != "GetActive":
                pass
            locker.close()

        leaving = gevent.spawn(leave)
        with gevent.Timeout(8):
            assert screen_lock.locked() is True
        leaving.kill()


def test_a_bus_that_does_not_answer_counts_as_locked() -> None:
    with message_bus() as bus, gevent.Timeout(8):
        bus.signal(signal.SIGSTOP)
        assert screen_lock.locked() is True


def test_without_any_bus_it_is_not_known() -> None:
    assert screen_lock.locked() is None
