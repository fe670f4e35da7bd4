"""The screen lock, told by doubles of the services: no locker of a whole desktop runs here."""

from __future__ import annotations

from contextlib import ExitStack

import gevent
import pytest
from jeepney import Message
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
        ({FREEDESKTOP: says("locked", "s")}, None, None),
        ({GNOME: ("", ())}, None, None),
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


def test_a_service_that_hangs_costs_its_deadline_and_says_nothing() -> None:
    def hang(what: str, call: Message) -> Answer:
        gevent.sleep(60)
        return None

    with message_bus() as bus, double(bus.address, FREEDESKTOP, hang), gevent.Timeout(8):
        assert screen_lock.locked() is None


def test_without_any_bus_nobody_knows() -> None:
    assert screen_lock.locked() is None
