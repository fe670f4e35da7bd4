"""The Windows backend against doubles of the system calls. No failure shows a secret."""

from __future__ import annotations

import ctypes
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
import pytest
from support.calls_double import LINES, SCRIPTS, DoubleWindow, expect
from support.delivery import Checks, anywhere
from support.desktop_conformance import Conformance, Stage
from support.random_text import random_secret
from support.windows_double import CF_UNICODETEXT, HIGH, KEYUP, MEDIUM, OUR_PID, Process, Windows

from novakey.desktop import chunks, select
from novakey.desktop.base import CannotType, DesktopError, Focus, NoDisplayError
from novakey.desktop.select import candidates
from novakey.desktop.windows import calls as windows_calls
from novakey.desktop.windows.backend import WindowsBackend
from novakey.messages.output import Output
from novakey.secret import Secret
from novakey.wire.refused import Refused, target_refused
from novakey.wire.reply import Outcome

ROOT = Path(__file__).resolve().parents[4]
DEADLINE_S = 5.0
CHUNK = 8  # characters that may go astray
MODIFIERS = (0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0x5B, 0x5C)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[Windows]:
    double = Windows()
    monkeypatch.setattr(windows_calls, "load", double.calls)
    monkeypatch.setattr(chunks, "PAUSE_S", 0.0)
    yield double
    assert double.errors == []
    assert double.leaks() == "0 handles, 0 blocks, False, 0"
    assert double.packet_down is None


@pytest.fixture
def backend(system: Windows) -> WindowsBackend:
    return WindowsBackend()


def type_it(backend: WindowsBackend, text: str) -> None:
    backend.type_text(Secret(text.encode()), DEADLINE_S, anywhere)


def test_an_input_has_the_size_that_windows_checks() -> None:
    assert ctypes.sizeof(windows_calls.INPUT) == 40


def test_random_secrets_arrive_whole_with_any_keys_held(system: Windows, backend: WindowsBackend) -> None:
    rng = random.Random()
    for _ in range(100):
        system.first.units.clear()
        system.down, system.alone = set(), None
        for key in rng.sample(MODIFIERS, rng.choice((0, 0, 1, 1, 2, 3))):
            system.press(key)
        held = set(system.down)
        text = random_secret(rng, LINES)
        type_it(backend, text)
        expect(system.first.text, text)
        assert system.down == held
    assert (system.commands, system.menus, system.second.units) == ([], 0, [])


@pytest.mark.parametrize("key", [0xA4, 0xA5, 0x5B, 0x5C])
def test_letting_go_of_alt_or_windows_afterwards_opens_no_menu(
    system: Windows, backend: WindowsBackend, key: int
) -> None:
    system.press(key)
    type_it(backend, "correct horse")
    system._key(key, down=False)
    assert system.menus == 0
    expect(system.first.text, "correct horse")


def test_each_chunk_is_one_call(system: Windows, backend: WindowsBackend) -> None:
    system.press(0xA0)
    type_it(backend, "x" * (3 * CHUNK + 1))
    assert system.sends == 4


def test_every_line_end_is_one_return(system: Windows, backend: WindowsBackend) -> None:
    type_it(backend, "a\r\nb\rc\n\nd\n")
    expect(system.first.text, "a\nb\nc\n\nd\n")


def test_the_keyboard_is_as_a_person_left_it_between_two_calls(
    system: Windows, backend: WindowsBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.press(0xA3)
    seen = []
    monkeypatch.setattr(gevent, "sleep", lambda seconds: seen.append(set(system.down)))
    type_it(backend, "x" * 40)
    assert seen == [{0xA3}] * 5


def test_a_focus_that_moves_at_any_moment_ends_the_typing(system: Windows, backend: WindowsBackend) -> None:
    rng = random.Random()
    stopped = 0
    before = system.count
    type_it(backend, "x" * 250)
    calls = system.count - before
    moving: list[int] = []

    def check(focus: Focus | None) -> None:  # the window that is meant is known from here on
        system.at_call(moving.pop(), lambda: setattr(system, "foreground", system.second))

    for number in rng.sample(range(1, calls - 10), 200):
        moving.append(number)
        system.first.units.clear()
        system.second.units.clear()
        system.foreground = system.first
        text = random_secret(rng, SCRIPTS)[:1] * 250
        try:
            backend.type_text(Secret(text.encode()), DEADLINE_S, Checks(check))
        except DesktopError as error:
            stopped += 1
            assert error.typed == len(system.first.text) + len(system.second.text)
        else:
            expect(system.first.text, text)  # no success without the whole text
        assert len(system.second.text) <= CHUNK
        system._at.clear()
    assert stopped > 190


def test_a_focus_that_moves_before_the_first_key_leaves_nothing_anywhere(
    system: Windows, backend: WindowsBackend
) -> None:
    def check(focus: Focus | None) -> None:
        system.foreground = system.second

    with pytest.raises(DesktopError) as caught:
        backend.type_text(Secret(b"secret"), DEADLINE_S, Checks(check))
    assert caught.value.typed == 0
    assert system.first.units == system.second.units == []


def test_a_line_end_that_closes_the_window_is_a_success_and_in_the_middle_an_end(
    system: Windows, backend: WindowsBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def close_on_return(key: int, down: bool) -> None:
        pressed(key, down)
        if key == 0x0D and down:
            system.foreground = system.second

    pressed = system._key
    monkeypatch.setattr(system, "_key", close_on_return)
    type_it(backend, "secret\n")
    system.foreground = system.first
    with pytest.raises(DesktopError) as caught:
        type_it(backend, "one\ntwo")
    assert caught.value.typed == 4
    assert system.second.units == []


def test_blocked_input_is_cannot_type_and_nothing_is_held(system: Windows, backend: WindowsBackend) -> None:
    system.press(0xA0)
    system.let_through = [0, 0]
    with pytest.raises(CannotType) as caught:
        type_it(backend, "secret")
    assert caught.value.typed == 0
    assert system.first.units == []
    assert system.down == {0xA0}


def test_input_that_is_blocked_later_says_how_much_went_out(system: Windows, backend: WindowsBackend) -> None:
    system.let_through = [999, 999, 0]
    with pytest.raises(DesktopError) as caught:
        type_it(backend, "x" * 50)
    assert not isinstance(caught.value, CannotType)
    assert caught.value.typed == 2 * CHUNK == len(system.first.text)


def test_input_that_is_cut_anywhere_leaves_no_key_down_or_up(
    system: Windows, backend: WindowsBackend
) -> None:
    for cut in range(1, 40):
        system.first.units.clear()
        system.down, system.alone = set(), None
        for key in (0xA1, 0xA4):
            system.press(key)
        system.let_through = [cut]
        text = "a\N{KEY}b\tcd"
        try:
            type_it(backend, text)
        except DesktopError as error:
            begun = sum(1 for unit in system.first.units if not 0xDC00 <= unit < 0xE000)
            assert error.typed == begun, cut
        else:
            expect(system.first.text, text)
            break
        assert system.down == {0xA1, 0xA4}, cut
        assert system.packet_down is None
    else:
        pytest.fail("never typed whole")


@pytest.mark.parametrize(
    "process", [Process("C:\\a.exe", HIGH), Process("", token_opens=False), Process("", opens=False)]
)
def test_a_program_with_more_rights_or_unknown_ones_is_not_typed_into(
    system: Windows, backend: WindowsBackend, process: Process
) -> None:
    # SendInput itself would not tell: the double drops the events and returns their number.
    system.processes[5] = process
    with pytest.raises(CannotType, match="more rights"):
        type_it(backend, "secret")
    assert (system.sends, system.first.units) == (0, [])


def test_elevated_itself_it_types_into_elevated_programs_too(
    system: Windows, backend: WindowsBackend
) -> None:
    system.processes[OUR_PID].integrity = HIGH
    system.processes[5].integrity = HIGH - 1
    type_it(backend, "secret")
    expect(system.first.text, "secret")


def test_the_focus_names_program_class_and_title(system: Windows, backend: WindowsBackend) -> None:
    focus = backend.focus(DEADLINE_S)
    assert focus == Focus(0x10010, 5, "Vault.exe", ("vaultwindow",), "Unlock \N{KEY}")
    system.processes[5].opens = False
    focus = backend.focus(DEADLINE_S)
    assert focus is not None and focus.program is None
    system.foreground = None
    assert backend.focus(DEADLINE_S) is None
    with pytest.raises(DesktopError) as caught:
        type_it(backend, "secret")
    assert caught.value.typed == 0


def test_the_focused_window_is_checked_and_the_check_obeyed(system: Windows, backend: WindowsBackend) -> None:
    asked = []

    def check(focus: Focus | None) -> None:
        asked.append(focus and focus.program)
        raise target_refused("not there")

    for way in (backend.type_text, backend.paste):
        with pytest.raises(Refused):
            way(Secret(b"secret"), DEADLINE_S, Checks(check))
    assert asked == ["Vault.exe", "Vault.exe"]
    assert (system.sends, system.sets) == (0, 0)


def test_a_refusal_while_pasting_takes_the_text_back(system: Windows, backend: WindowsBackend) -> None:
    asked: list[Focus | None] = []

    def once(focus: Focus | None) -> None:
        asked.append(focus)
        if len(asked) > 1:
            raise target_refused("no more")

    with pytest.raises(Refused):
        backend.paste(Secret(b"secret"), DEADLINE_S, Checks(once))
    assert (system.sends, system.sets > 0, system.formats) == (0, True, {})


def test_it_ends_at_its_deadline(
    system: Windows, backend: WindowsBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "PAUSE_S", 0.005)
    with pytest.raises(DesktopError, match="in time") as caught:
        backend.type_text(Secret(b"x" * 250), 0.03, anywhere)
    assert caught.value.typed == len(system.first.text) < 250


def test_a_greenlet_that_is_ended_types_no_more(
    system: Windows, backend: WindowsBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "PAUSE_S", 0.005)
    system.press(0xA2)
    greenlet = gevent.spawn(type_it, backend, "x" * 250)
    gevent.sleep(0.02)
    greenlet.kill(timeout=0.5)
    assert greenlet.dead
    came = len(system.first.text)
    gevent.sleep(0.05)
    assert 0 < came == len(system.first.text) < 250
    assert system.down == {0xA2}


def test_the_clipboard_has_the_text_and_no_monitor_history_or_cloud_has(
    system: Windows, backend: WindowsBackend
) -> None:
    rng = random.Random()
    for _ in range(30):
        text = random_secret(rng, LINES)
        backend.copy(Secret(text.encode()), DEADLINE_S)
        expect((system.clipboard_text() or "").replace("\r\n", "\n"), text)
    assert (system.monitors, system.history, system.cloud) == ([], [], [])
    backend.close()
    assert system.formats == {}


def test_what_a_person_copied_since_stays(system: Windows, backend: WindowsBackend) -> None:
    backend.copy(Secret(b"secret"), DEADLINE_S)
    system.copy_by_person("theirs")
    backend.close()
    assert system.clipboard_text() == "theirs"


def test_what_another_novakey_copied_since_stays(system: Windows, backend: WindowsBackend) -> None:
    backend.copy(Secret(b"secret"), DEADLINE_S)
    WindowsBackend().copy(Secret(b"other"), DEADLINE_S)
    backend.close()
    assert system.clipboard_text() == "other"


def test_nothing_of_ours_nothing_is_taken(system: Windows, backend: WindowsBackend) -> None:
    system.copy_by_person("theirs")
    backend.close()
    assert system.clipboard_text() == "theirs"


def test_a_clipboard_that_others_hold_for_a_while_is_waited_for(
    system: Windows, backend: WindowsBackend
) -> None:
    system.refuse_open = 5
    backend.copy(Secret(b"secret"), DEADLINE_S)
    expect(system.clipboard_text() or "", "secret")
    system.refuse_open = 5
    backend.close()
    assert system.clipboard_text() is None


def test_a_clipboard_that_is_held_for_good_is_an_error_in_time(
    system: Windows, backend: WindowsBackend, caplog: pytest.LogCaptureFixture
) -> None:
    system.refuse_open = 10**9
    begun = time.monotonic()
    with pytest.raises(DesktopError, match="holds the clipboard"):
        backend.copy(Secret(b"secret"), 0.1)
    assert time.monotonic() - begun < 3
    system.refuse_open = 0
    backend.copy(Secret(b"secret"), DEADLINE_S)
    system.refuse_open = 10**9
    backend.close()
    assert "still holds the text" in caplog.text
    assert "secret" not in caplog.text
    system.refuse_open = 0
    backend.close()
    assert system.clipboard_text() is None


def test_a_text_that_comes_while_the_last_one_is_being_taken_back_stays(
    system: Windows, backend: WindowsBackend
) -> None:
    backend.copy(Secret(b"first"), DEADLINE_S)
    system.refuse_open = 3
    clearing = gevent.spawn(backend.clear_clipboard)
    gevent.sleep(0)
    assert system.refuse_open == 2, "it waits"
    system.refuse_open = 0
    backend.copy(Secret(b"second"), DEADLINE_S)
    system.refuse_open = 1
    clearing.join()
    assert system.clipboard_text() == "second"
    backend.close()
    assert system.formats == {}


def test_a_clipboard_that_takes_only_a_part_is_left_empty(system: Windows, backend: WindowsBackend) -> None:
    system.refuse_set = CF_UNICODETEXT
    with pytest.raises(DesktopError, match="took no text"):
        backend.copy(Secret(b"secret"), DEADLINE_S)
    assert system.formats == {}


def test_pasting_brings_the_text_with_any_keys_held(system: Windows, backend: WindowsBackend) -> None:
    for key in (None, 0xA0, 0xA2, 0xA5, 0x5B):
        system.first.units.clear()
        system.down, system.alone = set(), None
        if key:
            system.press(key)
        held = set(system.down)
        assert backend.paste(Secret("p\N{KEY}ss".encode()), DEADLINE_S, anywhere)
        expect(system.first.text, "p\N{KEY}ss")
        assert system.down == held
    assert system.commands == []
    backend.close()


def test_what_cannot_be_pasted_stays_on_the_clipboard_for_the_person(
    system: Windows, backend: WindowsBackend
) -> None:
    system.let_through = [0]
    assert not backend.paste(Secret(b"secret"), DEADLINE_S, anywhere)
    expect(system.clipboard_text() or "", "secret")
    system.processes[5].integrity = HIGH
    assert not backend.paste(Secret(b"secret"), DEADLINE_S, anywhere)
    system.foreground = None
    assert not backend.paste(Secret(b"secret"), DEADLINE_S, anywhere)
    assert (system.first.units, system.second.units) == ([], [])
    backend.close()


def test_a_paste_while_the_focus_moves_is_no_success(system: Windows, backend: WindowsBackend) -> None:
    assert backend.paste(Secret(b"secret"), DEADLINE_S, anywhere)
    calls = system.count
    for number in range(1, calls):
        system.first.units.clear()
        system.second.units.clear()
        system.foreground = system.first
        system.at_call(number, lambda: setattr(system, "foreground", system.second))
        pasted = backend.paste(Secret(b"secret"), DEADLINE_S, anywhere)
        # A move before the first look leaves the second window as the one that was meant.
        meant = system.second if system.first.units == [] and pasted else system.first
        if pasted:
            expect(meant.text, "secret")
        system._at.clear()
    backend.close()


@dataclass(frozen=True)
class _Settings:
    allow_typing_fallback: bool = True
    allow_clipboard_on_inject_failure: bool = True
    macos_prefer_clipboard: bool = True
    clipboard_clear_s: int = 15
    delivery_timeout_s: int = 5


def test_a_text_that_may_not_be_typed_is_copied_without_a_word_of_wayland(
    system: Windows, backend: WindowsBackend
) -> None:
    system.processes[5].integrity = HIGH
    outcome = Output(_Settings(), lambda: backend).deliver(Secret(b"secret"), anywhere).outcome
    assert outcome is Outcome.COPIED
    expect(system.clipboard_text() or "", "secret")
    system.processes[5].integrity = MEDIUM
    outcome = Output(_Settings(), lambda: backend).deliver(Secret(b"secret"), anywhere).outcome
    assert outcome is Outcome.TYPED, "the preference of macOS is for macOS alone"
    backend.close()


def test_a_locked_screen_or_a_service_is_unavailable(system: Windows) -> None:
    assert WindowsBackend.unavailable() is None
    system.desktop_opens = False
    assert "locked" in str(WindowsBackend.unavailable())


def test_on_windows_and_macos_only_their_own_way_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not {"windows", "macos"} & {found.name for found in candidates("auto")}
    for platform, name in (("win32", "windows"), ("darwin", "macos")):
        assert [found.name for found in candidates(name)] == [name], "a name forces it"
        monkeypatch.setattr("sys.platform", platform)
        kinds = select._kinds("auto")
        monkeypatch.undo()
        assert [kind.name for kind in kinds] == [name]


_WITHOUT_POSIX = """
from gevent import monkey
monkey.patch_all()
import subprocess, sys
for name in ("fcntl", "termios", "pwd", "grp", "resource", "tty", "pty", "posix"):
    sys.modules[name] = None
sys.path.insert(0, ".")
from novakey.desktop.select import Chooser, candidates
from novakey.desktop import select
print([found.reason for name in ("windows", "macos") for found in candidates(name)])
for sys.platform in ("win32", "darwin"):
    print([kind.name for kind in select._kinds("auto")])
"""


def test_it_loads_where_there_are_no_modules_of_posix() -> None:
    command = [sys.executable, "-B", "-c", _WITHOUT_POSIX]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "['this is not Windows', 'this is not macOS']",
        "['windows']",
        "['macos']",
    ]


def test_elsewhere_it_says_that_this_is_not_windows() -> None:
    assert str(WindowsBackend.unavailable()) == "this is not Windows"
    backend = WindowsBackend()
    assert backend.focus(DEADLINE_S) is None
    for call in (lambda: type_it(backend, "secret"), lambda: backend.copy(Secret(b"secret"), DEADLINE_S)):
        with pytest.raises(DesktopError, match="this is not") as caught:
            call()
        assert caught.value.typed == 0
    backend.close()


class _Stage(Stage):
    """The double as a session. Its windows are there from the start; to open one is to focus it."""

    def __init__(self, system: Windows) -> None:
        self._system = system
        self._closed = [system.second, system.first]
        system.foreground = None

    def backend(self) -> WindowsBackend:
        return WindowsBackend()

    @contextmanager
    def window(self) -> Iterator[Any]:
        window = self._closed.pop()
        self._system.foreground = window
        yield DoubleWindow(window, window.pid)
        self._system.foreground = None
        self._closed.append(window)

    def focus(self, window: Any) -> None:
        self._system.foreground = window.real

    def clipboard(self, kind: str = "UTF8_STRING") -> bytes:
        text = self._system.clipboard_text()
        if text is None or kind == "image/png":
            return b""
        if kind == "x-kde-passwordManagerHint":
            return b"" if self._system.monitors or self._system.history else b"secret"
        return text.encode()

    def copy_elsewhere(self, text: bytes) -> None:
        self._system.copy_by_person(text.decode())

    @contextmanager
    def hung(self) -> Iterator[None]:
        """There is no server that could hang: a session that answers nothing is the nearest to it."""
        gevent.sleep(0.1)
        before, self._system.foreground = self._system.foreground, None
        yield
        self._system.foreground = before

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        def refuse() -> None:
            raise NoDisplayError("this is another system")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(windows_calls, "load", refuse)
            yield


class TestConformance(Conformance):
    @pytest.fixture(scope="class")
    @classmethod
    def stage(cls) -> Iterator[_Stage]:
        double = Windows()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(windows_calls, "load", double.calls)
            yield _Stage(double)
        assert double.errors == []
        assert double.leaks() == "0 handles, 0 blocks, False, 0"
        assert double.packet_down is None


def test_the_double_would_show_a_held_modifier_and_a_lone_alt(system: Windows) -> None:
    """The double itself: without these the tests above could not fail."""
    system.press(0xA2)
    system._event(0, ord("a"), 4)
    system._event(0, ord("a"), 4 | KEYUP)
    assert (system.commands, system.first.units) == (["packet"], [])
    system._key(0xA2, down=False)
    system.press(0xA4)
    system._key(0xA4, down=False)
    assert system.menus == 1
