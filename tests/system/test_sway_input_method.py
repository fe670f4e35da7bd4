"""Typing under sway with fcitx5 running, into a GTK 3 entry that takes its keys through it.

.tools/venv/bin/python -m pytest -m long -s tests/system/test_sway_input_method.py
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from support import needs
from support.dbus import MessageBus, message_bus
from support.delivery import anywhere
from support.wayland import Sway, SwayGtkEntry, session_of
from support.x11 import wait_until

from novakey.desktop.wayland.wlroots import WlrootsBackend
from novakey.secret import Secret
from novakey.session.input_method import InputMethods

PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
TEXTS = 100
DEADLINE_S = 20.0

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.fixture
def sway() -> Iterator[Sway]:
    needs.programs("fcitx5")
    with message_bus() as bus, Sway() as running:
        running.env |= {"DBUS_SESSION_BUS_ADDRESS": bus.address, "GTK_IM_MODULE": "fcitx"}
        started(bus, running)
        variables = {**running.session, "DBUS_SESSION_BUS_ADDRESS": bus.address}
        with session_of(variables):
            yield running


def started(bus: MessageBus, sway: Sway) -> None:
    """Start fcitx5 with a plain keyboard, as it comes."""
    env = {**sway.env, "XDG_CONFIG_HOME": str(sway.folder / "config"), "HOME": str(sway.folder)}
    bus.start(["fcitx5", "--disable=wayland,xcb,clipboard,notifications"], env=env)


def test_random_secrets_arrive_exactly(sway: Sway) -> None:
    rng, found = random.Random(), Counter[str]()
    with SwayGtkEntry(sway) as entry:
        methods = InputMethods()
        wait_until(methods.is_active, "a field that takes its keys through fcitx5")
        methods.close()
        backend = WlrootsBackend()
        for _ in range(TEXTS):
            text = "".join(rng.choices(PRINTABLE, k=rng.randint(8, 64)))
            entry.clear()
            backend.type_text(Secret(text.encode()), DEADLINE_S, anywhere)
            found["exact" if entry.wait_for(text, 5) == text else "said typed but wrong"] += 1
        backend.close()
    print(dict(found))
    assert found == {"exact": TEXTS}
