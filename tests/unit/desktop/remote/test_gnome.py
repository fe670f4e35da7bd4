"""The GNOME backend under a real mutter, into real windows."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from support.dbus import Answer, double
from support.delivery import anywhere
from support.desktop_conformance import Conformance, Stage
from support.mutter import Mutter, MutterFoot, MutterGtkEntry
from support.random_text import ALL, random_secret
from support.wayland import QUIET, session_of
from support.x11 import Recorder, differs, wait_until

from novakey.config.settings import Settings
from novakey.desktop.base import DesktopError
from novakey.desktop.remote import shell
from novakey.desktop.remote.gnome import MutterBackend
from novakey.desktop.select import Chooser
from novakey.messages.policy.target import TargetPolicy
from novakey.secret import Secret
from novakey.wire.refused import Refused

DEADLINE_S = 20.0  # long enough for a busy machine
PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
CAPS_LOCK_KEY = 58


class MutterStage(Stage):
    """mutter with windows of one kind."""

    def __init__(self, server: Mutter, window: type[Recorder]) -> None:
        self._server = server
        self._window = window

    def backend(self) -> MutterBackend:
        return MutterBackend()

    def window(self) -> AbstractContextManager[Recorder]:
        return self._window(self._server)

    def focus(self, window: Recorder) -> None:
        return  # the newest has it

    def clipboard(self, kind: str = "UTF8_STRING") -> bytes:
        argv = ("wl-paste", "--no-newline", "--type", kind)
        return subprocess.run(argv, env=self._server.env, capture_output=True, timeout=10, check=False).stdout

    def copy_elsewhere(self, text: bytes) -> None:
        quiet = {name: QUIET[name] for name in ("stdout", "stderr")}
        subprocess.run(["wl-copy"], input=text, env=self._server.env, timeout=10, check=True, **quiet)

    @contextmanager
    def hung(self) -> Iterator[None]:
        os.kill(self._server.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._server.process.pid, signal.SIGCONT)

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        with session_of({"XDG_RUNTIME_DIR": "/nonexistent", "WAYLAND_DISPLAY": "wayland-0"}):
            yield


@pytest.fixture(scope="module")
def mutter() -> Iterator[Mutter]:
    with Mutter() as running, session_of(running.session):
        yield running


class OnGnome(Conformance):
    READS_FOCUS = False
    SCRIPTS = (range(0x20, 0x7F),)
    LONGEST = 100  # each key is two calls on the bus, which take their time on a busy machine


class TestIntoATerminal(OnGnome):
    PASTES = False  # it is not known to be one, and Ctrl+V is another thing there

    @pytest.fixture(scope="class")
    @classmethod
    def stage(cls, mutter: Mutter) -> Stage:
        return MutterStage(mutter, MutterFoot)


class TestIntoAnEntry(OnGnome):
    @pytest.fixture(scope="class")
    @classmethod
    def stage(cls, mutter: Mutter) -> Stage:
        return MutterStage(mutter, MutterGtkEntry)


def campaign(window: Recorder, texts: int) -> tuple[int, int]:
    """Random secrets: how many arrived exactly, and of how many nothing was typed. Any other fails."""
    rng, exact, nothing = random.Random(), 0, 0
    for _ in range(texts):
        scripts = ALL if rng.random() < 0.3 else OnGnome.SCRIPTS
        text = random_secret(rng, scripts)
        window.clear()
        try:
            MutterBackend().type_text(Secret(text.encode()), DEADLINE_S, anywhere)
        except DesktopError as error:
            assert (error.typed, window.text()) == (0, "")
            assert not text.isascii(), "the map has all of ASCII"
            nothing += 1
            continue
        assert differs(window.wait_for(text), text) is None
        exact += 1
    return exact, nothing


@pytest.mark.long
@pytest.mark.parametrize("kind", [MutterFoot, MutterGtkEntry], ids=["foot", "gtk"])
def test_a_thousand_random_secrets_arrive_exactly_or_not_at_all(mutter: Mutter, kind: type[Recorder]) -> None:
    with kind(mutter) as window:
        exact, nothing = campaign(window, 1000)
        print(f"{window.title}: {exact} exact, {nothing} nothing typed, 0 altered")


def test_a_text_with_a_character_that_the_keyboard_lacks_is_not_begun(mutter: Mutter) -> None:
    with MutterGtkEntry(mutter) as entry:
        with pytest.raises(DesktopError, match="the keyboard layout lacks a character") as caught:
            MutterBackend().type_text(
                Secret("only the last one is missing: 字".encode()), DEADLINE_S, anywhere
            )
        assert caught.value.typed == 0
        MutterBackend().type_text(Secret(b"next"), DEADLINE_S, anywhere)
        assert entry.wait_for("next") == "next"


def test_caps_lock_alters_nothing_and_stays_on(mutter: Mutter) -> None:
    with MutterGtkEntry(mutter) as entry:
        for down in (True, False):
            mutter.person.press(CAPS_LOCK_KEY, down)
        try:
            wait_until(mutter.person.caps_lock, "Caps Lock")  # the call's reply comes before the key's effect
            MutterBackend().type_text(Secret(PRINTABLE.encode()), DEADLINE_S, anywhere)
            assert differs(entry.wait_for(PRINTABLE), PRINTABLE) is None
            wait_until(mutter.person.caps_lock, "Caps Lock again")
        finally:
            for down in (True, False):
                mutter.person.press(CAPS_LOCK_KEY, down)


def test_a_seat_without_a_keyboard_gets_the_first_key_too() -> None:
    with Mutter(keyboard=False) as bare, session_of(bare.session), MutterFoot(bare) as foot:
        for _ in range(3):
            foot.clear()
            MutterBackend().type_text(Secret(b"first"), DEADLINE_S, anywhere)
            assert foot.wait_for("first") == "first"


def shell_of(mutter: Mutter, answer: Callable[[], Answer]) -> AbstractContextManager[None]:
    """Stand in for GNOME's shell, of which mutter alone lacks what it tells of itself."""
    return double(mutter.session["DBUS_SESSION_BUS_ADDRESS"], shell.NAME, lambda method, call: answer())


def test_while_the_overview_is_open_nothing_is_typed(mutter: Mutter) -> None:
    active = True
    with MutterFoot(mutter) as foot, shell_of(mutter, lambda: ("v", (("b", active),))):
        with pytest.raises(DesktopError, match="overview is open") as caught:
            MutterBackend().type_text(Secret(b"secret"), DEADLINE_S, anywhere)
        assert (caught.value.typed, foot.text()) == (0, "")
        active = False
        MutterBackend().type_text(Secret(b"closed"), DEADLINE_S, anywhere)
        assert foot.only("closed")


@pytest.mark.parametrize("answer", [("v", (("s", "no"),)), ("b", (False,)), None])
def test_a_shell_that_does_not_tell_counts_as_one_with_its_overview_open(
    mutter: Mutter, answer: Answer
) -> None:
    with MutterFoot(mutter) as foot, shell_of(mutter, lambda: answer):
        with pytest.raises(DesktopError, match="overview is open"):
            MutterBackend().type_text(Secret(b"secret"), DEADLINE_S, anywhere)
        assert foot.text() == ""


def test_a_policy_that_cannot_be_checked_refuses(mutter: Mutter) -> None:
    with MutterFoot(mutter) as foot:
        policy = TargetPolicy(Settings(target_policy_enabled=True))
        with pytest.raises(Refused, match="cannot be read"):
            MutterBackend().type_text(Secret(b"secret"), DEADLINE_S, policy)
        assert foot.text() == ""


def test_it_is_chosen_under_gnome(mutter: Mutter) -> None:
    for wanted in ("auto", "wayland", "gnome"):
        assert Chooser(wanted)().name == "gnome"
