"""Approval on the computer, all of it real: daemon, phone, X server, windows, dunst and its buttons."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gevent
import pytest
from jeepney import Message
from support.daemon import Daemon, run, say
from support.dbus import Answer, MessageBus, double, message_bus
from support.dunst import Dunst
from support.x11 import RecordingGtkEntry, RecordingXterm, XServer, wait_until

from novakey.control import client
from novakey.errors import NovaKeyError
from novakey.phone import Profile
from novakey.system.paths import Paths
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome, Reply

ARM, APPROVE, INJECT = MessageType.ARM, MessageType.APPROVE, MessageType.INJECT
SECRET = b"open sesame 42"
OTHER = b"the same text twice is another matter"
ALLOW, DENY = "Allow once", "Deny"
DENIED = "denied on the computer: "
UNLIMITED = {"max_requests_per_min": 1000, "arm_consume_on_inject": False, "notify": False}


class Desk:
    """A screen with a bus and a window; daemons that are started on it end with it."""

    def __init__(self, screen: XServer, bus: MessageBus, window: RecordingXterm, folder: Path) -> None:
        self.screen, self.bus, self.window, self._folder = screen, bus, window, folder
        self.dunst: Dunst | None = None
        self.daemon: Daemon
        self.phone: Profile

    def start(self, stack: ExitStack, dunst: bool = True, **settings: Any) -> None:
        if dunst:
            self.dunst = Dunst(self.bus, self._folder)
        env = {"DISPLAY": self.screen.display, "DBUS_SESSION_BUS_ADDRESS": self.bus.address}
        settings = {"two_man_approver": "computer", "desktop_backend": "x11", **UNLIMITED, **settings}
        self.daemon = stack.enter_context(Daemon(self._folder / "d", env=env, **settings))
        self.phone = self.daemon.pair("pocket")
        assert say(self.phone, ARM, b'{"ms": 600000}').outcome.success

    def send(self, text: bytes = SECRET) -> Reply:
        return say(self.phone, INJECT, text)

    def press(self, label: str) -> None:
        assert self.dunst is not None
        self.dunst.press(label)
        self.dunst.wait_until_shown(0)
        wait_until(lambda: not self.waiting(), "the daemon to hear of it")

    def owner(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Return what the owner's commands do, without a process for each."""
        return client.ask(Paths.under(self.daemon.folder), op, **arguments)

    def waiting(self) -> list[tuple[str, str]]:
        return [(row["device"], row["program"]) for row in self.owner("status")["questions"]]

    def is_typed(self) -> bool:
        return self.window.wait_for(SECRET.decode()) == SECRET.decode()

    def nothing_is_typed(self) -> bool:
        """Whether the next key of a person is all that the window has got."""
        self.screen.focus(self.window.window)
        self.screen.run("xdotool", "type", "z")
        alone = self.window.only("z")
        self.window.clear()
        return alone


@pytest.fixture(scope="module")
def screen() -> Iterator[XServer]:
    with XServer() as running:
        yield running


Start = Callable[..., Desk]


@pytest.fixture
def start(screen: XServer, tmp_path: Path) -> Iterator[Start]:
    """Start a desk with a daemon of these settings and one armed phone."""
    with message_bus() as bus, RecordingXterm(screen) as window, ExitStack() as stack:
        bus.env["DISPLAY"] = screen.display

        def begin(**settings: Any) -> Desk:
            desk = Desk(screen, bus, window, tmp_path)
            desk.start(stack, **settings)
            return desk

        yield begin


def test_a_secret_is_typed_after_allow_once_and_only_once(start: Start) -> None:
    desk = start()
    assert desk.dunst is not None
    assert "opened nothing" in say(desk.phone, APPROVE).msg, "no device approves itself"
    assert desk.send().outcome is Outcome.NEEDS_APPROVE
    desk.press(ALLOW)
    assert desk.nothing_is_typed(), "the first message is gone"
    assert desk.send().outcome is Outcome.TYPED
    assert desk.is_typed()
    assert desk.send(OTHER).outcome is Outcome.NEEDS_APPROVE
    desk.press(DENY)
    [first, _] = desk.dunst.told()
    assert first == ('"pocket" wants to type into xterm', "Allow only what you have just sent yourself.")
    decided = [row for row in audit(desk) if "event" in row and row["event"] != "paired"]
    assert [(row["event"], row["program"]) for row in decided] == [("approved", "xterm"), ("denied", "xterm")]


def test_deny_ends_it_and_the_phone_may_not_go_on_asking(start: Start) -> None:
    desk = start(approve_wait_ms=8000)
    assert desk.dunst is not None
    sending = gevent.spawn(desk.send)
    desk.press(DENY)
    reply = sending.get(timeout=20)
    assert reply.outcome is Outcome.NEEDS_APPROVE
    assert reply.msg == "denied on the computer: it can be asked again in 10 s"
    assert desk.send().msg.startswith(DENIED)
    assert desk.dunst.shown() == 0
    assert desk.nothing_is_typed()


def test_a_question_that_is_put_away_asks_no_more_for_that_message_and_costs_nothing(start: Start) -> None:
    desk = start(approve_wait_ms=8000)
    assert desk.dunst is not None
    sending = gevent.spawn(desk.send)
    desk.dunst.wait_until_shown()
    desk.dunst.ctl("close-all")
    reply = sending.get(timeout=20)
    assert (reply.outcome, reply.msg) == (
        Outcome.NEEDS_APPROVE,
        "put away on the computer: nothing was typed",
    )
    say(desk.phone, APPROVE)  # the app retries by itself
    assert desk.send().msg == reply.msg
    assert desk.dunst.shown() == 0 and desk.waiting() == []
    assert [row["device"] for row in desk.owner("status")["armed"]] == ["pocket"]
    sending = gevent.spawn(desk.send, OTHER)  # another message asks at once
    desk.press(ALLOW)
    assert sending.get(timeout=20).outcome is Outcome.TYPED
    assert desk.window.wait_for(OTHER.decode()) == OTHER.decode()
    decided = [row["event"] for row in audit(desk) if "event" in row and row["event"] != "paired"]
    assert decided == ["put away", "approved"]


def test_with_either_the_phone_may_approve_itself_after_the_question_was_put_away(start: Start) -> None:
    desk = start(two_man_approver="either")
    assert desk.dunst is not None
    assert desk.send().outcome is Outcome.NEEDS_APPROVE
    desk.dunst.wait_until_shown()
    desk.dunst.ctl("close-all")
    wait_until(lambda: not desk.waiting(), "the daemon to hear of it")
    assert say(desk.phone, APPROVE).msg.startswith("approved_for_ms")
    assert desk.send().outcome is Outcome.TYPED


def test_waiting_for_the_owner_types_in_one_go(start: Start) -> None:
    desk = start(approve_wait_ms=8000)
    sending = gevent.spawn(desk.send)
    desk.press(ALLOW)
    assert sending.get(timeout=20).outcome is Outcome.TYPED
    assert desk.is_typed()


def test_waiting_has_an_end_and_the_question_stays_for_the_next_try(start: Start) -> None:
    desk = start(approve_wait_ms=200)
    assert desk.send().outcome is Outcome.NEEDS_APPROVE
    assert desk.send().outcome is Outcome.NEEDS_APPROVE, "and it is asked once"
    assert desk.waiting() == [("pocket", "xterm")]
    desk.press(ALLOW)
    assert desk.nothing_is_typed()
    assert desk.send().outcome is Outcome.TYPED


@pytest.mark.long
def test_an_unanswered_question_goes_away_and_approves_nothing(start: Start) -> None:
    desk = start()
    assert desk.dunst is not None
    assert desk.send().outcome is Outcome.NEEDS_APPROVE
    desk.dunst.wait_until_shown()
    began = time.monotonic()
    wait_until(lambda: desk.dunst is not None and desk.dunst.shown() == 0, "its end", 45)
    assert time.monotonic() - began > 20
    assert desk.waiting() == []
    assert desk.send().outcome is Outcome.NEEDS_APPROVE
    assert desk.nothing_is_typed()


def test_without_a_service_the_command_line_shows_and_grants_it(start: Start) -> None:
    desk = start(dunst=False)
    assert desk.send().outcome is Outcome.NEEDS_APPROVE
    desk.daemon.wait_for_log("no question can be shown")
    desk.daemon.wait_for_log("use novakey.py approve, or deny")
    assert desk.waiting() == [("pocket", "xterm")]
    shown = run("--data-dir", desk.daemon.folder, "status").stdout
    assert "waiting:  pocket to type into xterm: approve or deny" in shown
    with RecordingGtkEntry(desk.screen):  # where the command would be typed
        assert "into xterm" in run("--data-dir", desk.daemon.folder, "approve").stdout
    desk.screen.focus(desk.window.window)
    assert desk.waiting() == []
    assert desk.send().outcome is Outcome.TYPED
    assert desk.is_typed()


def test_a_service_that_dies_leaves_the_question_to_the_command_line(start: Start) -> None:
    desk = start()
    assert desk.dunst is not None
    assert desk.send().outcome is Outcome.NEEDS_APPROVE
    desk.dunst.wait_until_shown()
    desk.dunst.kill()
    desk.daemon.wait_for_log("no question can be shown (the notification service ended)")
    assert desk.nothing_is_typed(), "no answer is no yes"
    assert desk.waiting() == [("pocket", "xterm")]
    assert desk.owner("deny")["denied"] == ["pocket"]
    assert desk.send().msg.startswith(DENIED)
    desk.owner("approve")
    assert desk.send().outcome is Outcome.TYPED
    desk.dunst.start()  # the next one is asked by the service that is there then
    assert desk.send(OTHER).outcome is Outcome.NEEDS_APPROVE
    desk.press(ALLOW)
    assert desk.send(OTHER).outcome is Outcome.TYPED


def test_the_approval_is_for_the_window_that_was_asked_about(start: Start) -> None:
    desk = start()
    assert desk.send().outcome is Outcome.NEEDS_APPROVE
    desk.press(ALLOW)
    with RecordingGtkEntry(desk.screen) as other:
        reply = desk.send()
        assert (reply.outcome, reply.msg) == (
            Outcome.NEEDS_APPROVE,
            "the approval was for another window: bring that one to the front and send again",
        )
        assert desk.nothing_is_typed() and other.text() == ""
    desk.screen.focus(desk.window.window)
    assert desk.send().outcome is Outcome.TYPED
    assert desk.is_typed()


def test_with_either_the_phones_own_approval_takes_the_question_away(start: Start) -> None:
    desk = start(two_man_approver="either")
    assert desk.dunst is not None
    assert desk.send().outcome is Outcome.NEEDS_APPROVE
    desk.dunst.wait_until_shown()
    assert say(desk.phone, APPROVE).outcome.success
    desk.dunst.wait_until_shown(0)
    assert desk.send().outcome is Outcome.TYPED
    assert desk.send(OTHER).outcome is Outcome.NEEDS_APPROVE
    desk.press(ALLOW)
    assert desk.send(OTHER).outcome is Outcome.TYPED


def test_a_daemon_that_stops_and_a_phone_that_is_revoked_leave_no_question_behind(start: Start) -> None:
    desk = start()
    assert desk.dunst is not None
    assert desk.send().outcome is Outcome.NEEDS_APPROVE
    desk.dunst.wait_until_shown()
    desk.owner("revoke", device="pocket")
    desk.dunst.wait_until_shown(0)
    assert desk.waiting() == []
    with pytest.raises(NovaKeyError, match="no device"):
        desk.owner("approve", device="pocket")
    desk.phone = pair_again(desk)
    say(desk.phone, ARM)
    assert desk.send().outcome is Outcome.NEEDS_APPROVE
    desk.dunst.wait_until_shown()
    desk.daemon.stop()
    desk.dunst.wait_until_shown(0)


def pair_again(desk: Desk) -> Profile:
    opening = gevent.spawn(run, "--data-dir", desk.daemon.folder, "pair", "--json")
    phone = desk.daemon.pair("pocket")
    assert opening.get(timeout=20).returncode == 0
    return phone


def test_a_locked_screen_takes_nothing_and_asks_nothing(start: Start) -> None:
    locked = True

    def saver(what: str, call: Message) -> Answer:
        return ("b", (locked,)) if what == "org.freedesktop.ScreenSaver.GetActive" else None

    desk = start()
    assert desk.dunst is not None
    with double(desk.bus.address, "org.freedesktop.ScreenSaver", saver):
        reply = desk.send()
        assert (reply.outcome, reply.msg) == (Outcome.BAD_REQUEST, "target refused: the screen is locked")
        assert desk.dunst.shown() == 0 and desk.waiting() == []
        locked = False
        assert desk.send().outcome is Outcome.BAD_REQUEST, "a phone retries by itself"
        assert desk.send(OTHER).outcome is Outcome.NEEDS_APPROVE
        desk.press(ALLOW)
        locked = True
        assert desk.send(OTHER).outcome is Outcome.BAD_REQUEST, "also with an approval"
        assert desk.nothing_is_typed()
        locked = False
        assert desk.send(b"a tap of a person").outcome is Outcome.TYPED


def audit(desk: Desk) -> list[dict[str, Any]]:
    done = run("--data-dir", desk.daemon.folder, "audit", "--json")
    return [json.loads(line) for line in done.stdout.splitlines()]
