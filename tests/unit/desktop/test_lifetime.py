"""When a display ends: a real X server, with no client but this."""

from __future__ import annotations

import gevent
import pytest
from support.x11 import XServer

from novakey.desktop import lifetime


def test_it_waits_until_the_x_server_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with XServer(manager=False) as screen:
        monkeypatch.setenv("DISPLAY", screen.display)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        waiting = gevent.spawn(lifetime.wait_for_end)
        gevent.sleep(0.2)
        screen.run("xset", "q")
        assert not waiting.ready()
    assert waiting.get(timeout=10) is True


@pytest.mark.parametrize("variables", [{"WAYLAND_DISPLAY": "/nonexistent/socket"}, {"DISPLAY": ":97531"}, {}])
def test_without_a_display_it_says_so(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert lifetime.wait_for_end() is False
