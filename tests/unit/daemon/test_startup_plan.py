"""The plan of a start, for every combination of facts, beside the sentences of its table."""

from __future__ import annotations

import itertools

import pytest

from novakey.daemon.startup import Facts, Plan, plan
from novakey.devices.sealing.choose import WEAKEST_FIRST

EVERY = [
    Facts(configured, backend, sealed, has_key, devices, fallback, rotate)
    for configured, backend in itertools.product(WEAKEST_FIRST, repeat=2)
    for sealed, has_key, devices, fallback, rotate in itertools.product(
        (False, True), (False, True), (0, 1, 2), (False, True), (False, True)
    )
]


@pytest.mark.parametrize(
    ("facts", "chosen"),
    [
        (Facts("keyring", "keyring"), Plan.FIRST_PAIRING),
        (Facts("keyring", "keyring", sealed=True), Plan.KEY_GONE),
        (Facts("keyring", "keyring", True, True, 0), Plan.FIRST_PAIRING),
        (Facts("keyring", "keyring", True, True, 1), Plan.SERVE),
        (Facts("keyring", "passphrase", True, True, 1), Plan.MOVE_UP),
        (Facts("keyring", "keyfile", True, True, 1, fallback=True), Plan.KEEP_FALLBACK),
        (Facts("passphrase", "keyring", True, True, 1), Plan.WEAKER),
        (Facts("keyring", "keyring", True, True, 1, rotate=True), Plan.ROTATE),
    ],
)
def test_each_row_of_the_table(facts: Facts, chosen: Plan) -> None:
    assert plan(facts) is chosen


def test_devices_without_their_key_change_nothing() -> None:
    for facts in EVERY:
        if facts.sealed and not facts.has_key:
            assert plan(facts) is Plan.KEY_GONE, facts


def test_devices_never_go_down_to_a_weaker_backend_not_even_for_new_keys() -> None:
    for facts in EVERY:
        down = WEAKEST_FIRST.index(facts.configured) < WEAKEST_FIRST.index(facts.backend)
        if facts.devices and facts.has_key and down:
            assert plan(facts) is Plan.WEAKER, facts


def test_without_consent_to_new_keys_the_rest_is_planned_as_if_they_were_not_wanted() -> None:
    for facts in EVERY:
        without = plan(facts._replace(rotate=False))
        assert without is not Plan.ROTATE, facts
        assert plan(facts) in (without, Plan.ROTATE), facts


def test_a_first_pairing_is_planned_only_where_no_device_would_be_lost() -> None:
    for facts in EVERY:
        if plan(facts) is Plan.FIRST_PAIRING:
            assert facts.devices == 0, facts
