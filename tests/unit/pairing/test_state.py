"""The pairing table: what may happen, what is counted, and what changes nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from novakey.errors import StoreError
from novakey.pairing.model import Record
from novakey.pairing.state import (
    REPEAT_S,
    IllegalTransitionError,
    Pairing,
    RefusedHelloError,
    State,
)
from novakey.secret import Secret

TOKEN, OTHER = Secret(bytes(16)), Secret(bytes(15) + b"\1")
NOW = 1_800_000_000


class Disk:
    """Remembers the record, and fails when told to."""

    def __init__(self) -> None:
        self.record = Record()
        self.full = False

    def save(self, record: Record) -> None:
        if self.full:
            raise StoreError("the disk is full")
        self.record = record


def pairing(disk: Disk | None = None, paired: bool = False, max_windows: int = 5) -> Pairing:
    disk = disk or Disk()
    return Pairing(disk.record, paired, max_windows, disk.save)


def opened(disk: Disk | None = None, paired: bool = False) -> Pairing:
    subject = pairing(disk, paired)
    subject.open_window(TOKEN, NOW, 600, 3)
    return subject


def refusal(subject: Pairing, token: Secret, now: int = NOW) -> str:
    before = (subject.state, subject.window, subject.record)
    with pytest.raises(RefusedHelloError) as caught:
        subject.hello(token, now)
    assert (subject.state, subject.window, subject.record) == before, "a refused hello changes nothing"
    return caught.value.reason


def test_success_closes_the_window_and_resets_the_count() -> None:
    disk = Disk()
    disk.record = Record(interrupted=4)
    subject = opened(disk)
    assert subject.hello(TOKEN, NOW) is False
    assert disk.record.handshake_running
    subject.registered(NOW, "phone-1", 1)
    assert (subject.state, subject.window) == (State.PAIRED, None)
    assert disk.record == Record(device_stored=True)


def test_a_wrong_token_and_a_busy_window_are_told_apart() -> None:
    subject = opened()
    assert refusal(subject, OTHER) == "bad_token"
    subject.hello(TOKEN, NOW)
    assert refusal(subject, TOKEN) == "busy"
    assert refusal(subject, OTHER) == "bad_token"


def test_the_third_failed_handshake_ends_the_window_as_interrupted() -> None:
    disk = Disk()
    subject = opened(disk)
    for left in (2, 1):
        subject.hello(TOKEN, NOW)
        subject.failed(NOW)
        assert subject.window is not None and subject.window.attempts == left
        assert (subject.state, disk.record.interrupted) == (State.OPEN, 0)
    subject.hello(TOKEN, NOW)
    subject.failed(NOW)
    assert (subject.state, subject.window) == (State.UNPAIRED, None)
    assert disk.record == Record(interrupted=1)
    assert refusal(subject, TOKEN) == "not_pairing"


def test_an_expired_window_is_not_counted_and_its_token_is_worth_nothing() -> None:
    disk = Disk()
    subject = opened(disk)
    assert not subject.expire(NOW + 599)
    assert subject.expire(NOW + 600)
    assert (subject.state, disk.record) == (State.UNPAIRED, Record())
    assert refusal(subject, TOKEN) == "not_pairing"


def test_a_hello_after_the_deadline_finds_no_window_even_if_it_was_not_closed() -> None:
    subject = opened()
    with pytest.raises(RefusedHelloError) as caught:
        subject.hello(TOKEN, NOW + 600)
    assert caught.value.reason == "not_pairing"


def test_a_handshake_that_outlives_the_window_does_not_give_it_back() -> None:
    subject = opened()
    subject.hello(TOKEN, NOW + 599)
    subject.failed(NOW + 601)
    assert (subject.state, subject.window) == (State.UNPAIRED, None)


def interrupt(disk: Disk) -> Pairing:
    subject = pairing(disk)
    subject.open_window(TOKEN, NOW, 600, 3)
    for _ in range(3):
        subject.hello(TOKEN, NOW)
        subject.failed(NOW)
    return subject


def test_five_interrupted_windows_over_restarts_lock_and_a_restart_does_not_unlock() -> None:
    disk = Disk()
    states = [interrupt(disk).state for _ in range(5)]
    assert states == [State.UNPAIRED] * 4 + [State.LOCKED]
    assert "5 pairing windows" in disk.record.locked
    again = pairing(disk)
    assert again.state is State.LOCKED
    with pytest.raises(IllegalTransitionError):
        again.open_window(TOKEN, NOW, 600, 3)
    assert refusal(again, TOKEN) == "not_pairing"


def test_fifty_untouched_windows_do_not_lock() -> None:
    disk = Disk()
    for number in range(50):
        subject = opened(disk)
        subject.expire(NOW + 600) if number % 2 else subject.stop()
    assert disk.record == Record()


def test_death_in_a_handshake_counts_one_window() -> None:
    disk = Disk()
    for count in range(1, 5):
        opened(disk).hello(TOKEN, NOW)
        assert disk.record.handshake_running
        assert pairing(disk).state is State.UNPAIRED
        assert disk.record == Record(interrupted=count)
    opened(disk).hello(TOKEN, NOW)
    assert pairing(disk).state is State.LOCKED


def test_death_after_the_device_was_stored_is_a_success() -> None:
    disk = Disk()
    disk.record = Record(interrupted=3, handshake_running=True)
    assert pairing(disk, paired=True).state is State.PAIRED
    assert disk.record == Record(device_stored=True)


def test_death_in_a_handshake_beside_devices_counts_unless_one_more_is_stored() -> None:
    for stored, counted in ((2, 4), (3, 0)):
        disk = Disk()
        disk.record = Record(interrupted=3)
        subject = Pairing(disk.record, 2, 5, disk.save)
        subject.open_window(TOKEN, NOW, 600, 3)
        subject.hello(TOKEN, NOW)
        assert Pairing(disk.record, stored, 5, disk.save).state is State.PAIRED
        assert (disk.record.interrupted, disk.record.handshake_running) == (counted, False)


def test_revoking_the_last_device_leaves_nothing_paired_and_opens_nothing() -> None:
    subject = pairing(paired=True)
    subject.revoked(0)
    assert (subject.state, subject.window) == (State.UNPAIRED, None)
    assert refusal(subject, TOKEN) == "not_pairing"


def test_revoking_leaves_a_window_open_and_a_lock_shut() -> None:
    subject = opened(paired=True)
    subject.revoked(0)
    assert subject.state is State.OPEN
    assert subject.hello(TOKEN, NOW) is False
    subject.revoked(0)
    assert subject.state is State.HANDSHAKE
    locked = Pairing(Record(locked="x"), 1, 5, Disk().save)
    locked.revoked(0)
    assert locked.state is State.LOCKED


def test_a_revoked_phone_cannot_repeat_its_registration() -> None:
    subject = opened()
    subject.hello(TOKEN, NOW)
    subject.registered(NOW, "phone-1", 1)
    subject.revoked(0)
    assert refusal(subject, TOKEN) == "not_pairing"


def test_stopping_in_a_handshake_is_an_interruption() -> None:
    disk = Disk()
    subject = opened(disk)
    subject.hello(TOKEN, NOW)
    subject.stop()
    assert disk.record == Record(interrupted=1)


def test_a_repeat_is_heard_for_a_minute_or_until_the_first_message() -> None:
    subject = opened()
    subject.hello(TOKEN, NOW)
    subject.registered(NOW, "phone-1", 1)
    assert subject.hello(TOKEN, NOW + REPEAT_S - 1) is True
    assert refusal(subject, OTHER) == "not_pairing"
    assert refusal(subject, TOKEN, NOW + REPEAT_S) == "not_pairing"
    subject.forget_repeat("phone-2")
    assert subject.hello(TOKEN, NOW) is True, "a message from another phone says nothing about this one"
    subject.forget_repeat("phone-1")
    assert refusal(subject, TOKEN) == "not_pairing"


def test_a_hello_that_cannot_be_written_down_begins_nothing_and_uses_up_an_attempt() -> None:
    disk = Disk()
    subject = opened(disk)
    disk.full = True
    for left in (2, 1):
        with pytest.raises(StoreError):
            subject.hello(TOKEN, NOW)
        assert subject.window is not None and subject.window.attempts == left
    assert subject.state is State.OPEN and disk.record == Record()
    disk.full = False
    assert subject.hello(TOKEN, NOW) is False


def test_three_hellos_that_cannot_be_written_down_interrupt_the_window() -> None:
    disk = Disk()
    subject = opened(disk)
    disk.full = True
    for _ in range(3):
        with pytest.raises(StoreError):
            subject.hello(TOKEN, NOW)
    assert (subject.state, subject.record.interrupted) == (State.UNPAIRED, 1)
    assert refusal(subject, TOKEN) == "not_pairing"
    assert disk.record == Record(), "the disk is still full"
    disk.full = False
    subject.stop()
    assert disk.record == Record(interrupted=1), "written at the latest when the daemon stops"


def test_the_fifth_interruption_and_its_lock_are_one_change_on_disk() -> None:
    disk = Disk()
    disk.record = Record(interrupted=4)
    saved: list[Record] = []
    subject = Pairing(disk.record, 0, 5, saved.append)
    subject.open_window(TOKEN, NOW, 600, 1)
    subject.hello(TOKEN, NOW)
    subject.failed(NOW)
    assert [bool(record.locked) for record in saved] == [False, True]
    assert saved[0].interrupted == 4 and saved[1].interrupted == 5


def test_a_lowered_limit_locks_at_the_next_start_and_a_raised_one_lifts_none() -> None:
    disk = Disk()
    disk.record = Record(interrupted=3)
    assert pairing(disk, max_windows=3).state is State.LOCKED
    assert pairing(disk, max_windows=9).state is State.LOCKED
    disk.record = Record(interrupted=5, locked="x", handshake_running=True)
    assert pairing(disk, max_windows=9).state is State.LOCKED and disk.record.locked == "x"


def test_a_whole_device_is_served_from_a_full_disk_after_a_crash() -> None:
    disk = Disk()
    disk.record = Record(handshake_running=True)
    disk.full = True
    assert pairing(disk, paired=True).state is State.PAIRED
    with pytest.raises(StoreError):
        pairing(disk)  # without one the window must be counted, or attempts had no limit


def test_only_the_handshake_of_this_token_holds_the_window() -> None:
    subject = opened()
    assert not subject.holds(TOKEN)
    subject.hello(TOKEN, NOW)
    assert subject.holds(TOKEN) and not subject.holds(OTHER)
    subject.stop()
    assert not subject.holds(TOKEN)


def test_a_full_disk_at_the_end_of_a_handshake_gives_the_window_back() -> None:
    disk = Disk()
    subject = opened(disk)
    subject.hello(TOKEN, NOW)
    disk.full = True
    subject.failed(NOW)
    assert subject.state is State.OPEN
    assert disk.record.handshake_running, "so a restart counts it"


def test_three_sealing_failures_in_a_row_lock_and_a_success_between_does_not() -> None:
    disk = Disk()
    for _ in range(2):
        pairing(disk).sealing_failed()
    pairing(disk).sealing_worked("keyring", fallback=False)
    for expected in (State.UNPAIRED, State.UNPAIRED, State.LOCKED):
        subject = pairing(disk)
        subject.sealing_failed()
        assert subject.state is expected
    assert "secure storage failed" in disk.record.locked


def test_every_event_that_the_table_does_not_know_raises_and_changes_nothing() -> None:
    builders: dict[State, Callable[[], Pairing]] = {
        State.UNPAIRED: pairing,
        State.PAIRED: lambda: pairing(paired=True),
        State.OPEN: opened,
        State.HANDSHAKE: lambda: (s := opened()).hello(TOKEN, NOW) or s,
        State.LOCKED: lambda: Pairing(Record(locked="x"), False, 5, Disk().save),
    }
    events: dict[str, tuple[Callable[[Pairing], object], set[State]]] = {
        "open": (lambda s: s.open_window(TOKEN, NOW, 600, 3), {State.UNPAIRED, State.PAIRED}),
        "registered": (lambda s: s.registered(NOW, "phone-1", 1), {State.HANDSHAKE}),
        "failed": (lambda s: s.failed(NOW), {State.HANDSHAKE}),
        "refused": (lambda s: s.refused(NOW), {State.HANDSHAKE}),
    }
    for (state, build), (name, (event, legal)) in itertools.product(builders.items(), events.items()):
        subject = build()
        assert subject.state is state
        before = (subject.record, subject.window)
        if state in legal:
            event(subject)
            continue
        with pytest.raises(IllegalTransitionError):
            event(subject)
        assert (subject.state, subject.record, subject.window) == (state, *before), f"{name} in {state}"
