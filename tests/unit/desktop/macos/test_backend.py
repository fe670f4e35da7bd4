"""The macOS backend against doubles of the system calls. No failure shows a secret."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gevent
import pytest
from support.calls_double import LINES, SCRIPTS, DoubleWindow, expect
from support.delivery import Checks, anywhere
from support.desktop_conformance import Conformance, Stage
from support.macos_double import CONCEALED, DVORAK, QWERTY, SHIFT, TEXT, Mac, Window
from support.random_text import random_secret

from novakey.desktop import chunks
from novakey.desktop.base import CannotType, DesktopError, Focus, NoDisplayError
from novakey.desktop.macos import calls as macos_calls
from novakey.desktop.macos.backend import MacBackend
from novakey.messages.output import Output
from novakey.secret import Secret
from novakey.wire.refused import Refused, target_refused
from novakey.wire.reply import Outcome

DEADLINE_S = 5.0
CHUNK = 8  # characters that may go astray


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mac]:
    double = Mac()
    monkeypatch.setattr(macos_calls, "load", double.calls)
    monkeypatch.setattr(chunks, "PAUSE_S", 0.0)
    yield double
    assert double.errors == []
    assert (double.down, double.pools) == (set(), [])


@pytest.fixture
def backend(system: Mac) -> Iterator[MacBackend]:
    made = MacBackend()
    yield made
    made.close()
    assert sorted(thing.kind for thing in system.things.values()) == [], "objects that were not released"


def type_it(backend: MacBackend, text: str) -> None:
    backend.type_text(Secret(text.encode()), DEADLINE_S, anywhere)


def test_random_secrets_arrive_whole_with_any_keys_held(system: Mac, backend: MacBackend) -> None:
    rng = random.Random()
    for _ in range(30):
        system.first.text = ""
        system.held = rng.getrandbits(6) << 16  # Caps Lock, Shift, Control, Option, Command, keypad
        text = random_secret(rng, LINES)
        type_it(backend, text)
        expect(system.first.text, text)
    assert (system.commands, system.second.text, system.other.text) == ([], "", "")


def test_every_line_end_is_one_return(system: Mac, backend: MacBackend) -> None:
    type_it(backend, "a\r\nb\rc\n\nd\n")
    expect(system.first.text, "a\nb\nc\n\nd\n")


@pytest.mark.parametrize("answers", [True, False])
def test_a_focus_that_moves_at_any_moment_ends_the_typing(
    system: Mac, backend: MacBackend, answers: bool
) -> None:
    rng = random.Random()
    system.answers = answers
    stopped = 0
    before = system.count
    type_it(backend, "x" * 250)
    calls = system.count - before
    moving: list[tuple[int, Window]] = []

    def check(focus: Focus | None) -> None:  # the window that is meant is known from here on
        number, window = moving.pop()
        system.at_call(number, lambda: setattr(system, "focused", window))

    for number in rng.sample(range(1, calls - 60), 40):
        # Another window of the same program is told apart only where the program answers.
        window = rng.choice((system.second, system.other)) if answers else system.second
        moving.append((number, window))
        system.first.text = system.second.text = system.other.text = ""
        system.focused = system.first
        text = random_secret(rng, SCRIPTS)[:1] * 250
        try:
            backend.type_text(Secret(text.encode()), DEADLINE_S, Checks(check))
        except DesktopError as error:
            stopped += 1
            assert error.typed == len(system.first.text) + len(window.text)
        else:
            expect(system.first.text, text)  # no success without the whole text
        assert len(window.text) <= CHUNK
        system._at.clear()
    assert stopped > 35


def test_a_focus_that_moves_before_the_first_key_leaves_nothing_anywhere(
    system: Mac, backend: MacBackend
) -> None:
    def check(focus: Focus | None) -> None:
        system.focused = system.other

    with pytest.raises(DesktopError) as caught:
        backend.type_text(Secret(b"secret"), DEADLINE_S, Checks(check))
    assert caught.value.typed == 0
    assert (system.first.text, system.other.text) == ("", "")


def test_without_an_answer_the_front_program_is_looked_up_each_time(system: Mac, backend: MacBackend) -> None:
    system.answers = False
    assert backend.focus(DEADLINE_S) == Focus("pid 5", 5, "Vault", ("com.example.vault",))
    system.focused = system.second
    assert backend.focus(DEADLINE_S) == Focus("pid 6", 6, "chat")
    system.focused = None
    assert backend.focus(DEADLINE_S) is None


def test_the_focus_names_program_bundle_and_title_and_tells_windows_apart(
    system: Mac, backend: MacBackend
) -> None:
    first = backend.focus(DEADLINE_S)
    assert first is not None
    assert (first.pid, first.program, first.classes) == (5, "Vault", ("com.example.vault",))
    assert first.title == "Unlock \N{KEY}"
    assert backend.focus(DEADLINE_S) == first
    system.focused = system.other
    other = backend.focus(DEADLINE_S)
    assert other is not None and (other.pid, other.window != first.window) == (5, True)


def test_a_panel_over_the_front_program_is_the_focus(system: Mac, backend: MacBackend) -> None:
    system.focused, system.panel_over = system.second, system.first
    focus = backend.focus(DEADLINE_S)
    assert focus is not None and focus.program == "chat"


def test_a_title_of_another_kind_or_length_is_no_title(system: Mac, backend: MacBackend) -> None:
    for title in ("x" * 100_000, 5, None):
        system.first.title = title
        focus = backend.focus(DEADLINE_S)
        assert focus is not None and (focus.program, focus.title) == ("Vault", "")


def test_the_focused_window_is_checked_and_the_check_obeyed(system: Mac, backend: MacBackend) -> None:
    asked = []

    def check(focus: Focus | None) -> None:
        asked.append(focus and focus.program)
        raise target_refused("not there")

    for way in (backend.type_text, backend.paste):
        with pytest.raises(Refused):
            way(Secret(b"secret"), DEADLINE_S, Checks(check))
    assert asked == ["Vault", "Vault"]
    assert (system.first.text, system.changes) == ("", 40)


def test_a_refusal_while_pasting_takes_the_text_back(system: Mac, backend: MacBackend) -> None:
    asked: list[Focus | None] = []

    def once(focus: Focus | None) -> None:
        asked.append(focus)
        if len(asked) > 1:
            raise target_refused("no more")

    with pytest.raises(Refused):
        backend.paste(Secret(b"secret"), DEADLINE_S, Checks(once))
    assert (system.first.text, system.changes > 40, system.board) == ("", True, {})


def test_without_the_right_it_is_unavailable_with_the_cure_and_types_nothing(
    system: Mac, backend: MacBackend
) -> None:
    assert MacBackend.unavailable() is None
    system.trusted = False
    why_not = MacBackend.unavailable()
    assert why_not is not None and "Accessibility" in why_not.cure
    with pytest.raises(CannotType) as caught:
        type_it(backend, "secret")
    assert caught.value.typed == 0


def test_an_event_that_cannot_be_made_ends_it_and_says_how_much_went_out(
    system: Mac, backend: MacBackend
) -> None:
    system.events_left = 2 * 19 + 1
    with pytest.raises(DesktopError) as caught:
        type_it(backend, "x" * 50)
    assert caught.value.typed == 19 == len(system.first.text)


def test_it_ends_at_its_deadline(system: Mac, backend: MacBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "PAUSE_S", 0.005)
    with pytest.raises(DesktopError, match="in time") as caught:
        backend.type_text(Secret(b"x" * 250), 0.03, anywhere)
    assert caught.value.typed == len(system.first.text) < 250


def test_a_greenlet_that_is_ended_types_no_more(
    system: Mac, backend: MacBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "PAUSE_S", 0.005)
    greenlet = gevent.spawn(type_it, backend, "x" * 250)
    gevent.sleep(0.02)
    greenlet.kill(timeout=0.5)
    assert greenlet.dead
    came = len(system.first.text)
    gevent.sleep(0.05)
    assert 0 < came == len(system.first.text) < 250


def test_the_clipboard_is_concealed_and_stays_on_this_machine(system: Mac, backend: MacBackend) -> None:
    rng = random.Random()
    for _ in range(30):
        text = random_secret(rng, LINES)
        backend.copy(Secret(text.encode()), DEADLINE_S)
        expect(system.board[TEXT], text)
        assert CONCEALED in system.board and system.host_only
    assert system.managers == []
    backend.close()
    assert system.board == {}


def test_what_a_person_copied_since_stays(system: Mac, backend: MacBackend) -> None:
    backend.copy(Secret(b"secret"), DEADLINE_S)
    system.copy_by_person("theirs")
    backend.close()
    assert system.board[TEXT] == "theirs"


def test_nothing_of_ours_nothing_is_taken(system: Mac, backend: MacBackend) -> None:
    system.copy_by_person("theirs")
    backend.close()
    assert system.board[TEXT] == "theirs"


def test_the_clipboard_is_taken_back_while_typing_goes_on(
    system: Mac, backend: MacBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.copy(Secret(b"secret"), DEADLINE_S)
    monkeypatch.setattr(gevent, "sleep", lambda seconds: backend.clear_clipboard())
    type_it(backend, "x" * 20)
    assert (system.board, len(system.first.text)) == ({}, 20)


def test_a_copy_at_the_same_moment_is_an_error_and_theirs_stays(system: Mac, backend: MacBackend) -> None:
    system.copied_since = True
    with pytest.raises(DesktopError, match="same moment"):
        backend.copy(Secret(b"secret"), DEADLINE_S)
    backend.close()
    assert system.board[TEXT] == "theirs"


@pytest.mark.parametrize("kind", [CONCEALED, TEXT])
def test_a_clipboard_that_takes_only_a_part_is_left_empty(
    system: Mac, backend: MacBackend, kind: str
) -> None:
    system.refuse_set = kind
    with pytest.raises(DesktopError, match="took no text"):
        backend.copy(Secret(b"secret"), DEADLINE_S)
    assert (system.board, system.managers) == ({}, [])


@pytest.mark.parametrize("layout", [None, QWERTY, DVORAK, {}], ids=["none", "qwerty", "dvorak", "no latin"])
def test_pasting_presses_the_key_that_is_v(
    system: Mac, backend: MacBackend, layout: dict[int, str] | None
) -> None:
    system.layout = layout
    assert backend.paste(Secret("p\N{KEY}ss".encode()), DEADLINE_S, anywhere)
    expect(system.first.text, "p\N{KEY}ss")
    assert system.commands == []


def test_what_cannot_be_pasted_stays_on_the_clipboard_for_the_person(
    system: Mac, backend: MacBackend
) -> None:
    for trouble in ({"events_left": 0}, {"focused": None}):
        for name, value in trouble.items():
            setattr(system, name, value)
        assert not backend.paste(Secret(b"secret"), DEADLINE_S, anywhere)
        expect(system.board[TEXT], "secret")
    assert system.first.text == ""


def test_a_paste_while_the_focus_moves_is_no_success(system: Mac, backend: MacBackend) -> None:
    before = system.count
    assert backend.paste(Secret(b"secret"), DEADLINE_S, anywhere)
    asked: list[str | None] = []

    def check(focus: Focus | None) -> None:
        asked.append(focus and focus.program)

    for number in range(1, system.count - before):
        system.first.text = system.second.text = ""
        system.focused = system.first
        asked.clear()
        system.at_call(number, lambda: setattr(system, "focused", system.second))
        if backend.paste(Secret(b"secret"), DEADLINE_S, Checks(check)):
            meant = {"Vault": system.first, "chat": system.second}[str(asked[-1])]
            expect(meant.text, "secret")
        system._at.clear()


@dataclass(frozen=True)
class _Settings:
    allow_typing_fallback: bool = True
    allow_clipboard_on_inject_failure: bool = False
    macos_prefer_clipboard: bool = True
    clipboard_clear_s: int = 15
    delivery_timeout_s: int = 5


def test_the_preference_for_the_clipboard_decides_between_pasting_and_typing(
    system: Mac, backend: MacBackend
) -> None:
    for prefer, wanted, changes in ((True, Outcome.PASTED, 1), (False, Outcome.TYPED, 0)):
        system.first.text, before = "", system.changes
        output = Output(_Settings(macos_prefer_clipboard=prefer), lambda: backend)
        outcome = output.deliver(Secret(b"secret"), anywhere).outcome
        assert outcome is wanted
        expect(system.first.text, "secret")
        assert system.changes - before == changes


def test_secure_keyboard_entry_is_noted_in_the_log(
    system: Mac, backend: MacBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    system.secure_entry = True
    type_it(backend, "secret")
    assert "secure keyboard entry is on" in caplog.text
    expect(system.first.text, "secret")


def test_elsewhere_it_says_that_this_is_not_macos() -> None:
    assert str(MacBackend.unavailable()) == "this is not macOS"
    backend = MacBackend()
    assert backend.focus(DEADLINE_S) is None
    for call in (lambda: type_it(backend, "secret"), lambda: backend.copy(Secret(b"secret"), DEADLINE_S)):
        with pytest.raises(DesktopError, match="this is not") as caught:
            call()
        assert caught.value.typed == 0
    backend.close()


class _Stage(Stage):
    """The double as a session. Its windows are there from the start; to open one is to focus it."""

    def __init__(self, system: Mac) -> None:
        self._system = system
        self._closed = [system.second, system.first]
        system.focused = None

    def backend(self) -> MacBackend:
        return MacBackend()

    @contextmanager
    def window(self) -> Iterator[Any]:
        window = self._closed.pop()
        self._system.focused = window
        yield DoubleWindow(window, window.program.pid)
        self._system.focused = None
        self._closed.append(window)

    def focus(self, window: Any) -> None:
        self._system.focused = window.real

    def clipboard(self, kind: str = "UTF8_STRING") -> bytes:
        board = self._system.board
        if kind == "image/png":
            return b""
        if kind == "x-kde-passwordManagerHint":
            return b"secret" if CONCEALED in board else b""
        return board.get(TEXT, "").encode()

    def copy_elsewhere(self, text: bytes) -> None:
        self._system.copy_by_person(text.decode())

    @contextmanager
    def hung(self) -> Iterator[None]:
        """There is no server that could hang: a session that answers nothing is the nearest to it."""
        gevent.sleep(0.1)
        before, self._system.focused = self._system.focused, None
        yield
        self._system.focused = before

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        def refuse() -> None:
            raise NoDisplayError("this is another system")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(macos_calls, "load", refuse)
            yield


class TestConformance(Conformance):
    @pytest.fixture(scope="class")
    @classmethod
    def stage(cls) -> Iterator[_Stage]:
        double = Mac()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(macos_calls, "load", double.calls)
            yield _Stage(double)
        assert double.errors == []
        assert (double.down, double.pools) == (set(), [])


def test_the_double_would_show_a_modifier_and_a_text_that_is_too_long(system: Mac) -> None:
    """The double itself: without these the tests above could not fail."""
    calls = system.calls()
    for flags, units in ((SHIFT, 1), (0, 21)):
        source = calls.CGEventSourceCreate(-1)
        event = calls.CGEventCreateKeyboardEvent(source, 0, True)
        calls.CGEventSetFlags(event, flags)
        calls.CGEventKeyboardSetUnicodeString(event, units, (ctypes.c_uint16 * units)(*(120,) * units))
        calls.CGEventPost(1, event)
        system.down.clear()
    assert system.commands == [hex(SHIFT)]
    assert len(system.first.text) == 20
