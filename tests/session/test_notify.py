"""Notifications through dunst, under a real X server; its buttons are pressed by a program."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
import pytest
from busbench import MessageBus, message_bus
from desktopbench import XServer

from novakey.session.bus import BusError
from novakey.session.notify import Notifier

CHOICES = {"allow": "Allow once", "deny": "Deny"}
# dunst shows the actions in a menu program; this one picks the line with the wanted word.
_RC = "[global]\ndmenu = {menu}\nmouse_left_click = do_action\nnotification_limit = 5\n"
_MENU = '#!/bin/sh\ngrep -m1 "$(cat {wanted})"\n'


@dataclass
class Dunst:
    bus: MessageBus
    process: subprocess.Popen[bytes]
    wanted: Path

    def ctl(self, *words: str) -> str:
        done = subprocess.run(["dunstctl", *words], env=self.bus.env, capture_output=True, text=True)
        return done.stdout

    def shown(self) -> int:
        return int(self.ctl("count", "displayed").strip() or 0)

    def press(self, label: str) -> None:
        """Press the button with this label on the notification that is shown."""
        self.wanted.write_text(label)
        deadline = time.monotonic() + 10
        while not self.shown():
            assert time.monotonic() < deadline, "nothing is shown"
            gevent.sleep(0.05)
        self.ctl("action")

    def history(self) -> list[dict[str, Any]]:
        return list(json.loads(self.ctl("history"))["data"][0])


@pytest.fixture(scope="module")
def screen() -> Iterator[XServer]:
    with XServer() as running:
        yield running


@pytest.fixture
def dunst(screen: XServer, tmp_path: Path) -> Iterator[Dunst]:
    menu, wanted = tmp_path / "menu", tmp_path / "wanted"
    menu.write_text(_MENU.format(wanted=wanted))
    menu.chmod(0o755)
    config = tmp_path / "dunstrc"
    config.write_text(_RC.format(menu=menu))
    with message_bus() as bus:
        bus.env["DISPLAY"] = screen.display
        process = bus.start(["dunst", "-conf", str(config)])
        running = Dunst(bus, process, wanted)
        notifier = Notifier()
        deadline = time.monotonic() + 10
        while notifier.unavailable() is not None:
            assert time.monotonic() < deadline, "dunst did not start"
            gevent.sleep(0.05)
        notifier.close()
        yield running


@pytest.fixture
def notifier() -> Iterator[Notifier]:
    made = Notifier()
    yield made
    made.close()


@pytest.mark.parametrize(("label", "key"), [("Allow once", "allow"), ("Deny", "deny")])
def test_the_button_that_was_pressed_is_the_answer(
    dunst: Dunst, notifier: Notifier, label: str, key: str
) -> None:
    asking = gevent.spawn(notifier.ask, "phone-1 wants to type", "into <b>xterm</b>", CHOICES, 20.0)
    dunst.press(label)
    assert asking.get(timeout=10) == key
    assert dunst.shown() == 0


def test_a_notification_that_nobody_answers_goes_away_at_its_time(dunst: Dunst, notifier: Notifier) -> None:
    assert notifier.ask("one", "two", CHOICES, 0.3) is None
    assert dunst.shown() == 0


def test_a_dismissed_notification_is_no_answer(dunst: Dunst, notifier: Notifier) -> None:
    asking = gevent.spawn(notifier.ask, "one", "two", CHOICES, 20.0)
    while not dunst.shown():
        gevent.sleep(0.05)
    dunst.ctl("close")
    assert asking.get(timeout=10) is None


def test_a_killed_question_is_taken_away(dunst: Dunst, notifier: Notifier) -> None:
    asking = gevent.spawn(notifier.ask, "one", "two", CHOICES, 20.0)
    while not dunst.shown():
        gevent.sleep(0.05)
    asking.kill()
    assert dunst.shown() == 0


def test_a_service_that_ends_meanwhile_is_an_error_and_the_next_one_is_found(
    dunst: Dunst, notifier: Notifier
) -> None:
    asking = gevent.spawn(notifier.ask, "one", "two", CHOICES, 20.0)
    while not dunst.shown():
        gevent.sleep(0.05)
    dunst.process.kill()
    with pytest.raises(BusError, match="ended"):
        asking.get(timeout=10)
    assert notifier.unavailable() is not None


def test_what_is_told_is_shown_and_markup_in_it_is_only_text(dunst: Dunst, notifier: Notifier) -> None:
    notifier.tell("paired: <i>phone</i>", "from\n<b>here</b> & there")
    deadline = time.monotonic() + 10
    while not dunst.shown():
        assert time.monotonic() < deadline, "nothing is shown"
        gevent.sleep(0.05)
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
