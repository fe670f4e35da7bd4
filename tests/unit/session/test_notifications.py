"""Notifications through dunst, under a real X server; its buttons are pressed by a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from gevent.event import Event
from gevent.queue import Queue
from jeepney import Message, new_signal
from support.dbus import Answer, double, message_bus
from support.dunst import Dunst
from support.x11 import XServer

from novakey.session.dbus import BusError
from novakey.session.notifications import DISMISSED, NAME, SERVICE, Notifier

CHOICES = {"allow": "Allow once", "deny": "Deny"}


@pytest.fixture(scope="module")
def screen() -> Iterator[XServer]:
    with XServer() as running:
        yield running


@pytest.fixture
def dunst(screen: XServer, tmp_path: Path) -> Iterator[Dunst]:
    with message_bus() as bus:
        bus.env["DISPLAY"] = screen.display
        yield Dunst(bus, tmp_path)


@pytest.fixture
def notifier() -> Iterator[Notifier]:
    made = Notifier()
    yield made
    made.close()


@pytest.mark.parametrize(("label", "key"), [("Allow once", "allow"), ("Deny", "deny")])
def test_the_button_that_was_pressed_is_the_answer(
    dunst: Dunst, notifier: Notifier, label: str, key: str
) -> None:
    request = gevent.spawn(notifier.ask, "phone-1 wants to type", "into <b>xterm</b>", CHOICES, 20.0)
    dunst.press(label)
    assert request.get(timeout=10) == key
    assert dunst.shown() == 0


def test_an_unanswered_notification_goes_away_at_its_time(dunst: Dunst, notifier: Notifier) -> None:
    assert notifier.ask("one", "two", CHOICES, 1.5) is None
    assert dunst.shown() == 0


def test_a_dismissed_notification_is_told_from_an_unanswered_one(dunst: Dunst, notifier: Notifier) -> None:
    request = gevent.spawn(notifier.ask, "one", "two", CHOICES, 20.0)
    dunst.wait_until_shown()
    dunst.ctl("close")
    assert request.get(timeout=10) == DISMISSED


def test_a_killed_question_is_taken_away(dunst: Dunst, notifier: Notifier) -> None:
    request = gevent.spawn(notifier.ask, "one", "two", CHOICES, 20.0)
    dunst.wait_until_shown()
    request.kill()
    assert dunst.shown() == 0


@pytest.mark.parametrize("ended", ["killed", "no answer in time"])
def test_a_question_that_ends_before_it_is_shown_is_taken_away_once_it_is(
    notifier: Notifier, ended: str
) -> None:
    called, shown = Event(), Event()
    taken: Queue[int] = Queue()

    def service(what: str, call: Message) -> Answer:
        if what == f"{NAME}.Notify":
            called.set()
            shown.wait(10)
            return "u", (7,)
        if what == f"{NAME}.CloseNotification":
            taken.put(call.body[0])
        return "as", ([],)

    with message_bus() as bus, double(bus.address, NAME, service):
        request = gevent.spawn(_problem, lambda: notifier.ask("one", "two", CHOICES, 30.0))
        assert called.wait(10)
        if ended == "killed":
            request.kill(timeout=5)
            assert request.dead, "it does not wait for the service"
        else:
            assert request.get(timeout=10) == "the service on the bus did not answer in time"
        shown.set()
        assert taken.get(timeout=5) == 7


def _problem(ask: Callable[[], object]) -> str:
    try:
        return f"no problem: {ask()}"
    except BusError as error:
        return str(error)


def test_a_service_that_ends_is_an_error_and_the_next_one_is_found(dunst: Dunst, notifier: Notifier) -> None:
    request = gevent.spawn(notifier.ask, "one", "two", CHOICES, 20.0)
    dunst.wait_until_shown()
    dunst.process.kill()
    with pytest.raises(BusError, match="ended"):
        request.get(timeout=10)
    assert notifier.unavailable() is not None


def test_what_is_told_is_shown_and_markup_in_it_is_only_text(dunst: Dunst, notifier: Notifier) -> None:
    notifier.tell("paired: <i>phone</i>", "from\n<b>here</b> & there")
    dunst.wait_until_shown()
    dunst.ctl("close-all")
    (row,) = dunst.history()
    assert row["summary"]["data"] == "paired: <i>phone</i>"
    assert "\n" not in row["body"]["data"]
    assert "<b>" not in row["body"]["data"], row["body"]["data"]


def test_without_a_service_or_a_bus_asking_is_an_error_and_telling_is_nothing(notifier: Notifier) -> None:
    notifier.tell("one", "two")
    gevent.sleep(0.1)
    with pytest.raises(BusError):
        notifier.ask("one", "two", CHOICES, 5.0)
    with message_bus(), pytest.raises(BusError, match="ServiceUnknown"):
        notifier.ask("one", "two", CHOICES, 5.0)


def test_the_service_on_the_bus_that_the_environment_names_is_asked(notifier: Notifier) -> None:
    with message_bus() as bus, double(bus.address, NAME, lambda what, call: ("as", ([],))):
        assert notifier.unavailable() is None
        with message_bus():
            assert notifier.unavailable() is not None, "the service on the bus of before"
        assert notifier.unavailable() is None


def test_a_click_on_the_body_is_no_answer_and_a_button_after_it_is(notifier: Notifier) -> None:
    shown = Event()

    def answer(what: str, call: Message) -> Answer:
        if what == f"{NAME}.Notify":
            gevent.spawn_later(0.1, shown.set)
            return "u", (7,)
        return "", ()

    with message_bus() as bus, double(bus.address, NAME, answer) as send:
        asked = gevent.spawn(notifier.ask, "one", "two", CHOICES, 20.0)
        assert shown.wait(10)
        send(new_signal(SERVICE, "ActionInvoked", "us", (7, "default")))
        asked.join(0.5)
        assert not asked.ready(), asked.value
        send(new_signal(SERVICE, "ActionInvoked", "us", (7, next(iter(CHOICES)))))
        assert asked.get(timeout=10) == next(iter(CHOICES))
