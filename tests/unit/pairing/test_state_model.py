"""The pairing state against a simple model, over thousands of stories: no story makes the two differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.machine import run_machine

from novakey.errors import StoreError
from novakey.pairing.model import Record
from novakey.pairing.state import (
    MAX_SEALING_FAILURES,
    REPEAT_S,
    IllegalTransitionError,
    Pairing,
    RefusedHelloError,
    State,
)
from novakey.secret import Secret

WINDOWS, ATTEMPTS, SECONDS = 3, 2, 600
WRONG = Secret(b"\xff" * 16)


@dataclass(frozen=True)
class Known:
    """What the model says must be remembered."""

    interrupted: int = 0
    running: bool = False
    before: int = 0
    failures: int = 0
    locked: bool = False
    stored: bool = False


def known(record: Record) -> Known:
    return Known(
        record.interrupted,
        record.handshake_running,
        record.devices_before,
        record.sealing_failures,
        bool(record.locked),
        record.device_stored,
    )


class Story(RuleBasedStateMachine):
    """Phones, an owner, a clock and a disk that is full now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.tokens, self.full = 1_000_000, 0, False
        self.disk = Record()  # what the subject wrote
        self.subject = Pairing(self.disk, 0, WINDOWS, self.save)
        # The model: a window is (token, expires, attempts, taken), a repeat (token, until, phone).
        self.devices = 0
        self.memory = self.on_disk = Known()
        self.window: tuple[Secret, int, int, bool] | None = None
        self.repeat: tuple[Secret, int, str] | None = None

    def save(self, record: Record) -> None:
        if self.full:
            raise StoreError("the disk is full")
        self.disk = record

    # ---- the model ----

    def must_write(self, after: Known) -> bool:
        """Whether a change that has to be on disk first can be made."""
        if after != self.on_disk and self.full:
            return False
        self.memory = self.on_disk = after
        return True

    def goes_on(self, after: Known) -> None:
        """Make a change, also if it cannot be written."""
        self.memory = after
        if not self.full:
            self.on_disk = after

    def lost_attempt(self) -> None:
        assert self.window is not None
        token, expires, attempts, _ = self.window
        calm = replace(self.memory, running=False, before=0)
        if attempts == 1:
            count = self.memory.interrupted + 1
            self.window = None
            self.goes_on(replace(calm, interrupted=count, locked=count >= WINDOWS))
        elif self.now >= expires:
            self.window = None
            self.goes_on(calm)
        else:
            self.window = (token, expires, attempts - 1, False)
            self.goes_on(calm)

    def expired(self) -> bool:
        if self.window is None or self.window[3] or self.now < self.window[1]:
            return False
        self.window = None
        self.goes_on(replace(self.memory, running=False, before=0))
        return True

    def state(self) -> State:
        if self.window is not None:
            return State.HANDSHAKE if self.window[3] else State.OPEN
        if self.memory.locked:
            return State.LOCKED
        return State.PAIRED if self.devices else State.UNPAIRED

    def changes_nothing(self, call: Callable[[], object]) -> None:
        before = (self.subject.state, self.subject.window, self.subject.record, self.disk)
        with pytest.raises(IllegalTransitionError):
            call()
        assert (self.subject.state, self.subject.window, self.subject.record, self.disk) == before

    # ---- what happens ----

    @rule(seconds=st.sampled_from([1, 30, REPEAT_S, 299, SECONDS]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(full=st.booleans())
    def the_disk(self, full: bool) -> None:
        self.full = full

    @rule()
    def open_window(self) -> None:
        self.tokens += 1
        token = Secret(self.tokens.to_bytes(16, "big"))
        if self.state() not in (State.UNPAIRED, State.PAIRED):
            self.changes_nothing(lambda: self.subject.open_window(token, self.now, SECONDS, ATTEMPTS))
            return
        self.subject.open_window(token, self.now, SECONDS, ATTEMPTS)
        self.window, self.repeat = (token, self.now + SECONDS, ATTEMPTS, False), None

    @rule(right=st.booleans())
    def hello(self, right: bool) -> None:
        current = self.window[0] if self.window else self.repeat[0] if self.repeat else WRONG
        token = current if right else WRONG
        expected: object
        self.expired()
        if self.window is not None:
            if token != self.window[0]:
                expected = "bad_token"
            elif self.window[3]:
                expected = "busy"
            elif self.must_write(replace(self.memory, running=True, before=self.devices)):
                expected, self.window = False, (*self.window[:3], True)
            else:
                expected = StoreError
                self.lost_attempt()
        elif self.repeat and self.now < self.repeat[1] and token == self.repeat[0]:
            expected = True
        else:
            expected = "not_pairing"
        got: object
        try:
            got = self.subject.hello(token, self.now)
        except RefusedHelloError as refused:
            got = refused.reason
        except StoreError:
            got = StoreError
        assert got == expected

    @rule(phone=st.sampled_from(["a", "b"]), more=st.booleans())
    def registered(self, phone: str, more: bool) -> None:
        if self.state() is not State.HANDSHAKE:
            self.changes_nothing(lambda: self.subject.registered(self.now, phone, 1))
            return
        assert self.window is not None
        self.devices = self.devices + more or 1
        self.subject.registered(self.now, phone, self.devices)
        self.repeat, self.window = (self.window[0], self.now + REPEAT_S, phone), None
        self.goes_on(Known(stored=True, locked=self.memory.locked))

    @rule()
    def failed(self) -> None:
        if self.state() is not State.HANDSHAKE:
            self.changes_nothing(lambda: self.subject.failed(self.now))
            return
        self.lost_attempt()
        self.subject.failed(self.now)

    @rule()
    def a_phone_that_may_not_pair_registers(self) -> None:
        if self.state() is not State.HANDSHAKE:
            self.changes_nothing(lambda: self.subject.refused(self.now))
            return
        assert self.window is not None
        token, expires, attempts, _ = self.window
        self.window = None if self.now >= expires else (token, expires, attempts, False)
        self.goes_on(replace(self.memory, running=False, before=0))
        self.subject.refused(self.now)

    @rule()
    def the_timer_rings(self) -> None:
        assert self.subject.expire(self.now) == self.expired()

    @rule(phone=st.sampled_from(["a", "b"]))
    def a_message_comes(self, phone: str) -> None:
        self.subject.forget_repeat(phone)
        if self.repeat and self.repeat[2] == phone:
            self.repeat = None

    # Longer steps, since single ones rarely add up to a story.

    @rule(full_at_the_end=st.booleans())
    def a_window_with_all_its_attempts(self, full_at_the_end: bool) -> None:
        self.open_window()
        for number in range(ATTEMPTS):
            if self.state() is State.OPEN:
                self.hello(True)
            self.full = self.full or (full_at_the_end and number == ATTEMPTS - 1)
            if self.state() is State.HANDSHAKE:
                self.failed()

    @rule(phone=st.sampled_from(["a", "b"]))
    def a_whole_pairing(self, phone: str) -> None:
        self.open_window()
        self.hello(True)
        self.registered(phone, True)

    @precondition(lambda self: self.repeat or self.window)
    @rule(late=st.integers(-1, 0))
    def a_hello_at_the_last_moment(self, late: int) -> None:
        self.now = max(self.now, (self.window or self.repeat)[1] + late)
        self.hello(True)

    @precondition(lambda self: self.devices)
    @rule()
    def a_device_is_revoked(self) -> None:
        self.devices -= 1
        self.subject.revoked(self.devices)
        self.repeat = None
        if self.memory.running:
            after = replace(self.memory, before=self.devices)
            if not self.full or after == self.on_disk:
                self.memory = self.on_disk = after

    @precondition(lambda self: self.state() in (State.UNPAIRED, State.LOCKED))
    @rule(worked=st.booleans())
    def sealing(self, worked: bool) -> None:
        failures = 0 if worked else self.memory.failures + 1
        locked = self.memory.locked or failures >= MAX_SEALING_FAILURES
        written = self.must_write(replace(self.memory, failures=failures, locked=locked))
        try:
            if worked:
                self.subject.sealing_worked("", fallback=False)
            else:
                self.subject.sealing_failed()
        except StoreError:
            assert not written
        else:
            assert written

    @rule(orderly=st.booleans(), freed=st.booleans())
    def restart(self, orderly: bool, freed: bool) -> None:
        self.full = self.full and not freed
        if orderly:
            self.subject.stop()
            if self.state() is State.HANDSHAKE:
                assert self.window is not None
                self.window = (*self.window[:2], 1, True)
                self.lost_attempt()
            self.window = None
            self.goes_on(replace(self.memory, running=False, before=0))
        self.full, self.window, self.repeat = False, None, None
        self.memory = self.on_disk
        if self.memory.running:
            calm = replace(self.memory, running=False, before=0)
            if self.devices > self.memory.before:
                self.goes_on(replace(calm, interrupted=0, failures=0, stored=True))
            else:
                count = self.memory.interrupted + 1
                self.goes_on(replace(calm, interrupted=count, locked=calm.locked or count >= WINDOWS))
        self.subject = Pairing(self.disk, self.devices, WINDOWS, self.save)

    # ---- what must always hold ----

    @invariant()
    def they_agree(self) -> None:
        subject = self.subject
        assert subject.state is self.state()
        assert known(subject.record) == self.memory
        assert known(self.disk) == self.on_disk
        window = subject.window and (subject.window.token, subject.window.expires, subject.window.attempts)
        assert window == (self.window and self.window[:3])
        repeat = subject.repeat
        assert (repeat and (repeat.token, repeat.until, repeat.device_id)) == self.repeat

    @invariant()
    def a_lock_is_for_ever_and_comes_in_time(self) -> None:
        if self.subject.record.locked:
            assert self.subject.window is None
        else:
            assert self.subject.record.interrupted < WINDOWS


TestStory = Story.TestCase
TestStory.settings = settings(
    max_examples=250, stateful_step_count=30, deadline=None, derandomize=True, database=None
)


@pytest.mark.long
def test_five_thousand_stories() -> None:
    run_machine(Story, examples=5_000, steps=50)
