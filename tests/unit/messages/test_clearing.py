"""The clipboard is cleared in time, also while other deliveries fail."""

from __future__ import annotations

import time
from typing import ClassVar

import gevent
import pytest
from gevent.event import Event
from support.delivery import anywhere

from novakey.config.settings import Settings
from novakey.desktop.base import Backend, Delivery, DesktopError, Focus, Unusable
from novakey.messages.clearing import ClipboardEnds
from novakey.messages.output import Output
from novakey.secret import Secret
from novakey.wire.refused import Refused, target_refused
from novakey.wire.reply import Outcome

LONG_S = 5.0  # far beyond `clipboard_clear_s`


class Clipboard(Backend):
    """A clipboard that keeps the text, and can be told to fail."""

    name: ClassVar[str] = "clipboard of this test"

    def __init__(self) -> None:
        self.text = ""
        self.fails: Exception | None = None
        self.cleared = Event()
        self.during = Event()
        self.during.set()

    @classmethod
    def unavailable(cls) -> Unusable | None:
        return None

    def focus(self, deadline_s: float) -> Focus | None:
        return None

    def type_text(self, text: Secret, deadline_s: float, delivery: Delivery) -> None:
        raise DesktopError("nothing can be typed")

    def paste(self, text: Secret, deadline_s: float, delivery: Delivery) -> bool:
        self.copy(text, deadline_s)
        return False

    def copy(self, text: Secret, deadline_s: float) -> None:
        self.during.wait(LONG_S)
        if self.fails is not None:
            raise self.fails
        self.text = text.text()

    def clear_clipboard(self) -> None:
        self.text = ""
        self.cleared.set()


@pytest.mark.parametrize(
    "fails", [DesktopError("it fails"), target_refused("denied")], ids=["failed", "refused"]
)
@pytest.mark.parametrize("way", ["copy", "paste"])
def test_deliveries_that_fail_or_are_refused_do_not_postpone_the_end_of_a_text(
    way: str, fails: Exception
) -> None:
    clipboard = Clipboard()
    settings = Settings(
        clipboard_clear_s=1, allow_typing_fallback=False, allow_clipboard_on_inject_failure=True
    )
    output = Output(settings, lambda: clipboard)
    assert output.copy(Secret(b"the first"), anywhere)[0] is Outcome.COPIED
    clipboard.fails = fails
    start = time.monotonic()
    while not clipboard.cleared.is_set() and time.monotonic() - start < LONG_S:
        try:
            outcome = (
                output.copy(Secret(b"x"), anywhere)
                if way == "copy"
                else output.deliver(Secret(b"x"), anywhere)
            )[0]
            assert outcome is Outcome.INTERNAL_ERROR
        except Refused:
            pass
        gevent.sleep(0.01)
    assert clipboard.cleared.is_set(), "others' deliveries keep it on the clipboard"


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_a_newer_text_has_an_end_of_its_own_that_the_older_does_not_move() -> None:
    clock, clipboard = Clock(), Clipboard()
    ends = ClipboardEnds(3600, clock)
    with ends.placing(clipboard):
        clipboard.text = "older"
    clock.now += 3599
    with ends.placing(clipboard):
        clipboard.text = "newer"
        clock.now += 2  # the end of the older one comes in between
    gevent.sleep(0)
    assert clipboard.text == "newer"


def test_an_end_that_comes_while_another_delivery_hangs_comes_when_that_has_failed() -> None:
    clock, clipboard = Clock(), Clipboard()
    ends = ClipboardEnds(3600, clock)
    with ends.placing(clipboard):
        clipboard.text = "older"
    with pytest.raises(DesktopError), ends.placing(clipboard):
        clock.now += 3601
        raise DesktopError("it hung")
    with pytest.raises(DesktopError), ends.placing(clipboard):  # the next one stops nothing
        raise DesktopError("it fails")
    assert clipboard.cleared.wait(LONG_S)


def test_a_text_on_the_clipboard_of_another_session_keeps_its_end() -> None:
    one, other = Clipboard(), Clipboard()
    ends = ClipboardEnds(0.05)
    with ends.placing(one):
        one.text = "first"
    with ends.placing(other):
        other.text = "second"
    assert one.cleared.wait(LONG_S)
    assert other.cleared.wait(LONG_S)


def test_a_first_text_that_may_have_come_there_in_part_is_taken_back_too() -> None:
    clipboard = Clipboard()
    with pytest.raises(DesktopError), ClipboardEnds(0.05).placing(clipboard):
        clipboard.text = "a part"
        raise DesktopError("it fails")
    assert clipboard.cleared.wait(LONG_S)
