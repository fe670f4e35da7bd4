"""Who may connect: counts and places kept back, without a socket."""

from __future__ import annotations

from novakey.config.settings import Settings
from novakey.net.admission import RECENT_S, Admission
from novakey.net.pairing_slots import PairingSlots

LIMITS = Settings(
    max_connections=10,
    max_unauthenticated_per_address=4,
    reserved_connections=2,
    max_tracked_addresses=16,
)


def test_one_address_gets_its_share_only() -> None:
    admission = Admission(LIMITS)
    slots = [admission.enter("a", 0) for _ in range(5)]
    assert [slot is not None for slot in slots] == [True] * 4 + [False]
    assert admission.enter("b", 0) is not None
    assert slots[0] is not None
    slots[0].leave()
    assert admission.enter("a", 0) is not None


def test_who_authenticated_no_longer_counts_among_the_strangers_of_the_address() -> None:
    admission = Admission(LIMITS)
    for _ in range(8):
        slot = admission.enter("a", 0)
        assert slot is not None
        slot.authenticated(0)
    assert admission.enter("b", 0) is None, "eight of ten, and two are kept back"
    assert admission.enter("a", 0) is not None, "for those that are known"


def test_places_are_kept_for_addresses_that_a_paired_device_was_heard_from() -> None:
    admission = Admission(LIMITS)
    first = admission.enter("phone", 0)
    assert first is not None
    first.authenticated(0)
    first.leave()
    assert sum(admission.enter(f"stranger-{n}", 1) is not None for n in range(100)) == 8
    assert admission.enter("phone", 1) is not None
    assert admission.enter("phone", RECENT_S + 1) is None, "too long ago"


def test_at_a_known_address_the_oldest_silent_connection_gives_way() -> None:
    admission, displaced = Admission(LIMITS), []
    admission.remember("phone", 0)
    slots = [admission.enter("phone", 0) for _ in range(4)]
    for number, slot in enumerate(slots):
        assert slot is not None
        slot.give_way = lambda number=number: displaced.append(number)  # type: ignore[misc]
        slot.whole = number == 0
    newer = [admission.enter("phone", 1) for _ in range(3)]
    assert displaced == [1, 2, 3], "and not that with the whole frame"
    assert admission.inside == 4
    for slot in [*slots, *newer]:
        assert slot is not None
        slot.whole = True
        slot.leave()
    assert admission.inside == 0 and not admission.unauthenticated


def test_everything_is_given_back_and_the_tables_stay_small() -> None:
    admission = Admission(LIMITS)
    for number in range(1000):
        slot = admission.enter(f"address-{number}", number)
        assert slot is not None
        if number % 2:
            slot.authenticated(number)
            slot.authenticated(number)
        slot.leave()
    assert admission.inside == 0
    assert not admission.unauthenticated
    assert len(admission._last_seen) == 16


def test_fewer_descriptors_mean_fewer_connections_but_never_none() -> None:
    few = Admission(LIMITS, 5)
    assert sum(few.enter(str(n), 0) is not None for n in range(10)) == 3
    assert Admission(LIMITS, 1).enter("a", 0) is not None


def test_a_silent_connection_gives_its_seat_to_a_newer_one() -> None:
    seats, gone = PairingSlots(2), []
    first, second = (seats.take(lambda name=name: gone.append(name)) for name in "ab")
    assert first is not None and second is not None
    first.settle()
    third = seats.take(lambda: gone.append("c"))
    assert third is not None and gone == ["b"]
    second.leave()
    assert len(seats.taken) == 2, "leaving twice is nothing"
    third.settle()
    assert seats.take(lambda: None) is None
    first.leave()
    assert seats.take(lambda: None) is not None
