"""Typing under Debian's GNOME Shell with its own IBus, into real windows.

    .tools/venv/bin/python -m pytest -m long -s tests/system/test_gnome_shell.py

prints the figures of docs/desktop.md.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support import needs
from support.delivery import anywhere
from support.gnome_shell import GnomeShell, ShellFoot, ShellGtkEntry, ShellPasswordEntry
from support.random_text import CYRILLIC
from support.wayland import ordinary, session_of
from support.x11 import Recorder, wait_until

from novakey.config.settings import Settings
from novakey.desktop.base import DesktopError
from novakey.desktop.remote.gnome import MutterBackend
from novakey.messages.output import Output
from novakey.secret import Secret
from novakey.session.input_method import InputMethods
from novakey.wire.reply import Outcome

PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
RUSSIAN = "".join(map(chr, CYRILLIC)) + "0123456789"
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
            with ordinary():
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


@contextmanager
def shell_with(*sources: tuple[str, str]) -> Iterator[GnomeShell]:
    with GnomeShell(*sources) as running, session_of(running.session):
        yield running


@pytest.mark.parametrize("layout", ["de", "fr", "de+nodeadkeys"])
def test_a_layout_that_is_not_the_locales_types_all_of_ascii(layout: str) -> None:
    with shell_with(("xkb", layout)) as gnome, ShellGtkEntry(gnome) as entry:
        assert type_many(entry, TEXTS // 2) == {"exact": TEXTS // 2}


def test_of_two_layouts_the_one_in_effect_is_typed_on() -> None:
    with shell_with(("xkb", "us"), ("xkb", "ru")) as gnome, ShellGtkEntry(gnome) as entry:
        few = TEXTS // 4
        assert type_many(entry, few) == {"exact": few}
        gnome.choose_source(1)
        assert type_many(entry, few, RUSSIAN) == {"exact": few}
        assert type_many(entry, few, "abcdefgh") == {"refused": few}
        gnome.choose_source(0)
        assert type_many(entry, few) == {"exact": few}


@pytest.mark.parametrize("kind", KINDS, ids=["gtk", "password", "foot"])
def test_while_a_chinese_engine_is_active_nothing_is_typed(kind: type[Recorder]) -> None:
    needs.programs("/usr/libexec/ibus-engine-libpinyin")
    with shell_with(("xkb", "us"), ("ibus", "libpinyin")) as gnome, kind(gnome) as window:
        methods = InputMethods()
        with ordinary():
            assert methods.composing() is None
            gnome.choose_source(1)
            wait_until(lambda: methods.composing() == "libpinyin", "the engine")
            output = Output(Settings(), MutterBackend, lambda: methods)
            delivered = output.deliver(Secret(b"nihao"), anywhere)
        assert delivered.msg.startswith("nothing was typed: the input method libpinyin is active")
        assert window.text() == ""
        with ordinary():
            gnome.choose_source(0)
            wait_until(lambda: methods.composing() is None, "no engine")
            assert output.deliver(Secret(b"nihao"), anywhere).outcome is Outcome.TYPED
        assert window.wait_for("nihao") == "nihao"
        methods.close()
