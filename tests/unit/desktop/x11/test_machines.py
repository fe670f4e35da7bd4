"""Typing into windows that show another machine, which get the positions of keys and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import needs
from support.delivery import anywhere
from support.x11 import Recorder, XServer
from support.x11_machines import MachineInQemu, MachineInSpice, Remote

from novakey.desktop.base import DesktopError
from novakey.desktop.x11.backend import X11Backend
from novakey.secret import Secret

DEADLINE_S = 20.0
# Signs that keys no keyboard has give as well (187, 188), doubled letters, and more keys than QEMU holds.
US = "aabb 11 (x) [y] {z} <ll> @#~^`\\|; The Quick Brown Fox"
GERMAN = "zyZY üÖß {[]}\\ @€~ <>| §3 (a) =?"


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(MachineInQemu, id="qemu"),
        pytest.param(MachineInSpice, id="spice", marks=pytest.mark.long),
        pytest.param(Remote, id="rdp", marks=pytest.mark.long),
    ],
)
def machine(request: pytest.FixtureRequest, server: XServer) -> Iterator[Recorder]:
    needs.programs(*request.param.programs)
    with request.param(server) as window:
        yield window


def sent(backend: X11Backend, text: str) -> DesktopError:
    """Type a text; what was said of it."""
    with pytest.raises(DesktopError) as caught:
        backend.type_text(Secret(text.encode()), DEADLINE_S, anywhere)
    return caught.value


@pytest.mark.parametrize(("layout", "text"), [("us", US), ("de", GERMAN)])
def test_a_text_on_real_keys_arrives_and_is_not_said_to_have_arrived(
    backend: X11Backend, server: XServer, machine: Recorder, layout: str, text: str
) -> None:
    server.layout(layout)
    machine.layout(layout)
    machine.clear()
    said = sent(backend, text)
    assert (said.typed, said.whole) == (len(text), True)
    assert "layout of the other machine" in str(said)
    assert machine.wait_for(text) == text


def test_a_text_that_cannot_be_typed_in_time_is_refused_before_the_first_key(
    backend: X11Backend, server: XServer, machine: Recorder
) -> None:
    server.layout("us")
    machine.layout("us")
    machine.clear()
    with pytest.raises(DesktopError, match="raise delivery_timeout_s") as caught:
        backend.type_text(Secret(b"a" * 250), 5.0, anywhere)
    assert caught.value.typed == 0
    sent(backend, "z")
    assert machine.wait_for("z") == "z"


@pytest.mark.parametrize(("layout", "text"), [("us", "ab字"), ("de", "ab^"), ("fr", "abä")])
def test_a_text_that_needs_a_borrowed_key_is_refused_before_the_first_key(
    backend: X11Backend, server: XServer, machine: Recorder, layout: str, text: str
) -> None:
    server.layout(layout)
    machine.layout("us")
    machine.clear()
    before = server.keymap()
    said = sent(backend, text)
    assert (said.typed, said.whole) == (0, False)
    assert "shows another machine" in str(said)
    server.layout("us")
    sent(backend, "z")
    assert machine.wait_for("z") == "z"
    server.layout(layout)
    assert server.keymap() == before
