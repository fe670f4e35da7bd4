"""Typing under Debian's GNOME Shell with its own IBus, into real windows.

    .tools/venv/bin/python -m pytest -m long -s tests/system/test_gnome_shell.py

prints the figures of docs/desktop.md.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from support.delivery import anywhere
from support.gnome_shell import GnomeShell, ShellFoot, ShellGtkEntry, ShellPasswordEntry
from support.wayland import session_of
from support.x11 import Recorder

from novakey.desktop.base import DesktopError
from novakey.desktop.remote.gnome import MutterBackend
from novakey.secret import Secret

PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
TEXTS = 100
DEADLINE_S = 20.0
KINDS = [ShellGtkEntry, ShellPasswordEntry, ShellFoot]

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def gnome() -> Iterator[GnomeShell]:
    with GnomeShell() as running, session_of(running.session):
        yield running


def type_many(window: Recorder, texts: int, letters: str = PRINTABLE) -> Counter[str]:
    """Type random secrets, and count what became of them."""
    rng, found = random.Random(), Counter[str]()
    for _ in range(texts):
        text = "".join(rng.choices(letters, k=rng.randint(8, 64)))
        window.clear()
        try:
            MutterBackend().type_text(Secret(text.encode()), DEADLINE_S, anywhere)
        except DesktopError as error:
            if error.typed:
                found["stopped, and said so"] += 1
            else:
                found["refused" if not window.text() else "refused but wrong"] += 1
            continue
        found["exact" if window.wait_for(text, 5) == text else "said typed but wrong"] += 1
    print(f"{window.title}: {dict(found)}")
    return found


@pytest.mark.parametrize("kind", KINDS, ids=["gtk", "password", "foot"])
def test_random_secrets_arrive_exactly(gnome: GnomeShell, kind: type[Recorder]) -> None:
    with kind(gnome) as window:
        assert type_many(window, TEXTS) == {"exact": TEXTS}
