"""The numbers of connections."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from novakey.messages.request_ids import RANDOM_BITS, RequestIds
from novakey.system.clock import Clock

EXACT = 2**53  # of a JSON number (RFC 8259, 6)


def test_numbers_count_nothing_for_strangers() -> None:
    ids = RequestIds(Clock(lambda: 1_800_000_000.5))
    drawn = [ids.fresh() for _ in range(2000)]
    assert {number >> RANDOM_BITS for number in drawn} == {1_800_000_000}
    grew = Counter(after > before for before, after in pairwise(drawn))
    assert 800 < grew[True] < 1200, "as often up as down"
    assert len(set(drawn)) > 1980


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2**32 - 2)), max_size=50))
def test_they_grow_for_a_device_with_every_clock_and_stay_exact_in_json(
    heard: list[tuple[str, int]],
) -> None:
    now = 0
    ids = RequestIds(Clock(lambda: now))
    last = {"a": 0, "b": 0}
    for device, now in heard:  # noqa: B007  # the clock reads it
        number = ids.growing(device, ids.fresh())
        assert last[device] < number < EXACT
        last[device] = number
