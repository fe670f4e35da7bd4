"""The chooser: which backend is taken, and why the others are not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.wayland import Sway, session_of
from support.x11 import XServer

from novakey.config.settings import keys
from novakey.desktop.base import NoDisplayError
from novakey.desktop.select import Chooser, candidates


@pytest.fixture(scope="module")
def sway() -> Iterator[Sway]:
    with Sway() as running:
        yield running


def test_without_a_session_every_backend_says_why_and_what_helps() -> None:
    with session_of({}):
        found = candidates("auto")
        assert {"x11", "wlroots"} <= {candidate.name for candidate in found}
        for candidate in found:
            assert not candidate.usable
            assert candidate.reason
            assert candidate.cure
        with pytest.raises(
            NoDisplayError, match=r"^WAYLAND_DISPLAY is not set \(wlroots,.*, DISPLAY is not set \(x11\)$"
        ):
            Chooser("auto")()


def test_none_delivers_nothing_even_with_a_session(sway: Sway) -> None:
    with session_of(sway.session), pytest.raises(NoDisplayError, match="desktop_backend is none"):
        Chooser("none")()
    assert candidates("none") == []


def test_under_wayland_with_xwayland_the_wayland_way_is_taken(server: XServer, sway: Sway) -> None:
    with session_of({**sway.session, "DISPLAY": server.display}):
        assert Chooser("auto")().name == "wlroots"
        assert Chooser("wayland")().name == "wlroots"
        assert Chooser("x11")().name == "x11", "a name forces it"


def test_every_configured_name_means_something() -> None:
    with session_of({}):
        for name in keys()["desktop_backend"].choices:
            assert [c.name for c in candidates(name)] or name == "none"


def test_a_backend_is_kept_while_it_can_run_and_a_session_may_come_and_go(
    server: XServer, sway: Sway
) -> None:
    choose = Chooser("auto")
    with session_of({}), pytest.raises(NoDisplayError):
        choose()
    with session_of({"DISPLAY": server.display}):
        first = choose()
        assert choose() is first
    with session_of(sway.session):
        assert choose().name == "wlroots"
    with session_of({"DISPLAY": server.display}):
        assert choose() is first
    choose.close()
