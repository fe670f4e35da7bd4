"""What GNOME's shell tells of itself, by a double of it on a real bus."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.dbus import Answer, MessageBus, double, message_bus

from novakey.desktop.remote import shell
from novakey.session.dbus import Bus


@pytest.fixture(scope="module")
def bus() -> Iterator[MessageBus]:
    with message_bus() as running:
        yield running


@pytest.mark.parametrize("version", ["45.0", "45.beta", "46.3.1", "48.4", "50"])
def test_from_45_on_a_key_comes_with_its_own_shift(version: str) -> None:
    assert shell.is_exact(version)


@pytest.mark.parametrize(
    "version", ["43.9", "44.0", "42", "3.38.6", "40.alpha", "", "newest", ".45", "-45", None, 45]
)
def test_before_45_and_of_unknown_versions_it_does_not(version: object) -> None:
    assert not shell.is_exact(version)


@pytest.mark.parametrize(
    ("answer", "lags"),
    [(("v", (("s", "43.9"),)), True), (("v", (("s", "48.4"),)), False), (("s", ("48",)), True), (None, True)],
)
def test_a_shell_that_does_not_tell_its_version_counts_as_an_old_one(
    bus: MessageBus, answer: Answer, lags: bool
) -> None:
    # An unknown method is a refusal of the shell itself: there is one.
    with double(bus.address, shell.NAME, lambda method, call: answer), Bus() as asked:
        assert shell.keys_lag(asked) is lags


def test_without_a_shell_no_key_lags_and_no_overview_is_open(bus: MessageBus) -> None:
    with Bus() as asked:
        assert not shell.keys_lag(asked)
        assert not shell.overview_is_open(asked)
