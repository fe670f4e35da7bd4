"""The table of what a phone may do: each cell by hand, and any order of events against a second account."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.machine import run_machine

from novakey.messages.permissions import (
    AFTER_DENIAL_S,
    AFTER_DENIALS_S,
    PUT_AWAY_MOST,
    TABLE,
    Change,
    IllegalChangeError,
    Permissions,
)
from novakey.messages.targets import RequestTarget, WindowTarget

A = "a"
WINDOW, REQUEST = WindowTarget(7), RequestTarget(7)

# After each change on a device that is armed and approved for `WINDOW`, and was denied nothing:
# armed, approved, the seconds of a denial and of a pause.
AFTER = {
    Change.ARMED: (True, True, 0, 0),
    Change.DISARMED: (False, True, 0, 0),
    Change.REQUESTED: (True, True, 0, 0),
    Change.APPROVED_BY_PHONE: (True, True, 0, 0),
    Change.APPROVED_BY_OWNER: (True, True, 0, 0),
    Change.APPROVAL_USED: (True, False, 0, 0),
    Change.DENIED: (True, False, 10, 0),
    Change.DENIED_UNASKED: (True, False, 10, 0),
    Change.IGNORED: (True, True, 0, 10),
    Change.PUT_AWAY: (True, True, 0, 0),
    Change.CLOSED: (False, False, 0, 0),
    Change.REVOKED: (False, False, 0, 0),
}


def is_open(permissions: Permissions, now_ms: float) -> tuple[bool, bool]:
    return A in permissions.armed(now_ms), A in permissions.approved(now_ms)


def test_every_event_has_its_row() -> None:
    assert set(TABLE) == set(Change) == set(AFTER)


@pytest.mark.parametrize("change", Change)
def test_each_event_does_what_its_row_says_to_an_open_device_and_to_no_other(change: Change) -> None:
    permissions = Permissions()
    for device in (A, "b"):
        permissions.apply(Change.ARMED, device, 0, 500)
        permissions.apply(Change.APPROVED_BY_OWNER, device, 0, 500, WINDOW)
    other = permissions.of("b")
    permissions.apply(change, A, 100, 500)
    seconds = (permissions.refused_for_s(A, 100), permissions.paused_for_s(A, 100))
    assert (*is_open(permissions, 100), *(max(0, left) for left in seconds)) == AFTER[change]
    assert permissions.of("b") == other


OPENING = {Change.ARMED, Change.APPROVED_BY_PHONE, Change.APPROVED_BY_OWNER}


@pytest.mark.parametrize("change", [change for change in Change if change not in OPENING])
def test_no_other_event_opens_a_closed_gate(change: Change) -> None:
    permissions = Permissions()
    permissions.apply(change, A, 0, 500, WINDOW)
    assert is_open(permissions, 0) == (False, False)


def test_a_gate_is_open_up_to_its_time_and_then_not_closed_but_over() -> None:
    permissions = Permissions()
    permissions.apply(Change.ARMED, A, 1000, 500)
    assert is_open(permissions, 1499) == (True, False)
    assert is_open(permissions, 1500) == (False, False)
    assert permissions.of(A).arming.until_ms == 1500, "it was not closed"
    permissions.apply(Change.CLOSED, A, 1501)
    assert permissions.of(A).arming.until_ms is None


def test_an_approval_is_tied_to_its_target_until_the_next_one_replaces_it() -> None:
    permissions = Permissions()
    permissions.apply(Change.APPROVED_BY_OWNER, A, 0, 500, WINDOW)
    assert permissions.of(A).approval.target == WINDOW != REQUEST
    permissions.apply(Change.APPROVED_BY_PHONE, A, 0, 500)
    assert permissions.of(A).approval.target is None


def test_a_phone_does_not_approve_itself_while_a_denial_holds_and_the_owner_may() -> None:
    permissions = Permissions()
    permissions.apply(Change.DENIED, A, 0)
    with pytest.raises(IllegalChangeError):
        permissions.apply(Change.APPROVED_BY_PHONE, A, 9_999, 500)
    assert is_open(permissions, 9_999) == (False, False)
    permissions.apply(Change.APPROVED_BY_OWNER, A, 9_999, 500)
    assert is_open(permissions, 9_999) == (False, True)
    assert permissions.refused_for_s(A, 9_999) <= 0


def test_saying_no_again_without_a_prompt_prolongs_nothing() -> None:
    permissions = Permissions()
    permissions.apply(Change.DENIED_UNASKED, A, 0)
    permissions.apply(Change.DENIED_UNASKED, A, 5_000)
    assert permissions.refused_for_s(A, 5_000) == 5.0
    permissions.apply(Change.DENIED_UNASKED, A, 10_000)
    assert permissions.refused_for_s(A, 10_000) == AFTER_DENIAL_S, "it was not said in a row of prompts"


def test_only_after_some_in_a_row_a_prompt_that_is_put_away_is_followed_by_a_pause() -> None:
    permissions = Permissions()
    pauses = []
    for _ in range(PUT_AWAY_MOST + 2):
        permissions.apply(Change.PUT_AWAY, A, 0)
        pauses.append(max(0, permissions.paused_for_s(A, 0)))
        assert permissions.refused_for_s(A, 0) < 0
    assert pauses == [0] * PUT_AWAY_MOST + [AFTER_DENIAL_S, 2 * AFTER_DENIAL_S]
    permissions.apply(Change.APPROVED_BY_OWNER, A, 0, 500)
    permissions.apply(Change.PUT_AWAY, A, 0)
    assert permissions.paused_for_s(A, 0) < 0


def test_what_was_wanted_since_a_moment_is_closed_gate_by_gate() -> None:
    permissions = Permissions()
    permissions.apply(Change.ARMED, A, 100, 5_000)
    permissions.apply(Change.APPROVED_BY_PHONE, A, 300, 5_000)
    assert permissions.were_wanted_since(A, 300) and not permissions.were_wanted_since(A, 301)
    permissions.close_wanted_since(200)
    assert is_open(permissions, 300) == (True, False)
    permissions.apply(Change.REQUESTED, "b", 400)
    assert permissions.were_wanted_since("b", 400), "though that opened nothing"
    permissions.close_wanted_since(400)
    assert not permissions.were_wanted_since("b", 400)


def test_a_device_that_nothing_is_known_of_takes_no_room() -> None:
    permissions = Permissions()
    permissions.apply(Change.DENIED, A, 0)
    permissions.apply(Change.REVOKED, A, 0)
    assert permissions._of == {}


class Account(RuleBasedStateMachine):
    """Any order of events over time, beside a plain account of what the pages promise."""

    def __init__(self) -> None:
        super().__init__()
        self.permissions = Permissions()
        self.now = 0.0
        self.armed_until = self.approved_until = self.denied_until = self.paused_until = 0.0
        self.target: object = None
        self.in_a_row = self.put_away = 0

    def _apply(self, change: Change, target: WindowTarget | RequestTarget | None = None) -> None:
        self.permissions.apply(change, A, self.now, 15_000, target)

    def _pause(self) -> float:
        return self.now + min(AFTER_DENIAL_S * 2 ** (max(self.in_a_row, 1) - 1), AFTER_DENIALS_S) * 1000

    @rule(seconds=st.sampled_from((0.5, 9.5, 15.0, 40.0, 3600.0)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds * 1000

    @rule()
    def the_phone_arms(self) -> None:
        self._apply(Change.ARMED)
        self.armed_until = self.now + 15_000

    @rule()
    def the_phone_disarms(self) -> None:
        self._apply(Change.DISARMED)
        self.armed_until = 0

    @precondition(lambda self: self.now >= self.denied_until)
    @rule()
    def the_phone_approves(self) -> None:
        self._apply(Change.APPROVED_BY_PHONE)
        self.approved_until, self.target = self.now + 15_000, None

    @rule(to=st.sampled_from((WINDOW, REQUEST, None)))
    def the_owner_approves(self, to: WindowTarget | RequestTarget | None) -> None:
        self._apply(Change.APPROVED_BY_OWNER, to)
        self.approved_until, self.target = self.now + 15_000, to
        self.denied_until = self.paused_until = self.in_a_row = self.put_away = 0

    @rule()
    def the_owner_puts_a_prompt_away(self) -> None:
        self._apply(Change.PUT_AWAY)
        self.put_away += 1
        if self.put_away > PUT_AWAY_MOST:
            self.in_a_row += 1
            self.paused_until = self._pause()

    @rule()
    def the_owner_denies_a_prompt(self) -> None:
        self._apply(Change.DENIED)
        self.in_a_row += 1
        self.approved_until, self.denied_until = 0, self._pause()

    @rule()
    def the_owner_denies_without_a_prompt(self) -> None:
        self._apply(Change.DENIED_UNASKED)
        if self.now >= self.denied_until:
            self.denied_until = self._pause()
        self.approved_until = 0

    @rule()
    def a_prompt_is_ignored(self) -> None:
        self._apply(Change.IGNORED)
        self.in_a_row += 1
        self.paused_until = self._pause()

    @rule()
    def a_delivery_uses_the_approval_up(self) -> None:
        self._apply(Change.APPROVAL_USED)
        self.approved_until = 0

    @rule()
    def a_delivery_is_cut(self) -> None:
        self._apply(Change.CLOSED)
        self.armed_until = self.approved_until = 0

    @rule()
    def the_device_is_revoked(self) -> None:
        self._apply(Change.REVOKED)
        self.armed_until = self.approved_until = self.denied_until = self.paused_until = self.in_a_row = (
            self.put_away
        ) = 0

    @invariant()
    def both_accounts_agree(self) -> None:
        now, permissions = self.now, self.permissions
        assert is_open(permissions, now) == (now < self.armed_until, now < self.approved_until)
        assert (permissions.refused_for_s(A, now) > 0) == (now < self.denied_until)
        assert (permissions.paused_for_s(A, now) > 0) == (now < self.paused_until)
        if now < self.approved_until:
            assert permissions.of(A).approval.target == self.target


def test_any_order_of_events_agrees_with_the_plain_account() -> None:
    run_machine(Account, examples=100, steps=40)
