"""What every desktop backend must do; each backend's tests inherit it.

No failure shows a secret: texts are compared by `differs`.
"""

from __future__ import annotations

import random
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager

import gevent
import pytest
from support.delivery import Checks, anywhere
from support.procfs import Watcher
from support.random_text import ALL, random_secret
from support.x11 import Recorder, at_most, differs, others_run, wait_until

from novakey.desktop.base import Backend, DesktopError, Focus
from novakey.secret import Secret
from novakey.wire.refused import Refused, target_refused

DEADLINE_S = 20.0  # long enough for a busy machine
TEXT = "pässwörd €字😀"


class Stage(ABC):
    """A session with windows, in which a backend is tried. Its variables are in the environment."""

    @abstractmethod
    def backend(self) -> Backend:
        """Return a new backend, as after a restart."""

    @abstractmethod
    def window(self) -> AbstractContextManager[Recorder]:
        """Open a window that takes typed and pasted text; it has the focus."""

    @abstractmethod
    def focus(self, window: Recorder) -> None:
        """Give a window the focus."""

    @abstractmethod
    def clipboard(self, kind: str = "UTF8_STRING") -> bytes:
        """Return what another program finds on the clipboard; nothing when there is nothing of that kind."""

    @abstractmethod
    def copy_elsewhere(self, text: bytes) -> None:
        """Another program copies something."""

    @abstractmethod
    def hung(self) -> AbstractContextManager[None]:
        """Stop the session's server for a while."""

    @abstractmethod
    def unreachable(self) -> AbstractContextManager[None]:
        """No session can be found inside."""


class Conformance:
    """Inherit, and give a fixture `stage` for the class.

    The first test wants no window; all others share one.
    """

    SCRIPTS = ALL
    LONGEST = 256
    READS_FOCUS = True
    PASTES = True
    CHUNK = 8
    """How many characters may go astray when the focus moves."""
    LONG = 250
    """How many different characters take long enough for a person to move the focus before the end."""

    @pytest.fixture
    def backend(self, stage: Stage) -> Iterator[Backend]:
        made = stage.backend()
        yield made
        made.close()

    @pytest.fixture(scope="class")
    @classmethod
    def open_window(cls, stage: Stage) -> Iterator[Recorder]:
        with stage.window() as made:
            yield made

    @pytest.fixture
    def window(self, stage: Stage, open_window: Recorder) -> Recorder:
        """Return a window that has the focus and nothing in it."""
        stage.focus(open_window)
        open_window.clear()
        return open_window

    def test_with_no_window_nothing_is_typed(self, backend: Backend) -> None:
        if not self.READS_FOCUS:
            return
        with pytest.raises(DesktopError) as caught:
            backend.type_text(Secret(b"secret"), DEADLINE_S, anywhere)
        assert caught.value.typed == 0
        assert backend.focus(DEADLINE_S) is None

    def test_it_can_run_here(self, stage: Stage) -> None:
        assert type(stage.backend()).unavailable() is None

    def test_where_it_cannot_run_it_says_why_and_what_helps(self, stage: Stage) -> None:
        with stage.unreachable():
            why_not = type(stage.backend()).unavailable()
            assert why_not is not None
            for line in (why_not.reason, why_not.cure):
                assert line.strip() == line != ""
                assert "\n" not in line
            for call in (
                lambda: stage.backend().type_text(Secret(b"secret"), DEADLINE_S, anywhere),
                lambda: stage.backend().copy(Secret(b"secret"), DEADLINE_S),
            ):
                with pytest.raises(DesktopError) as caught:
                    call()
                assert caught.value.typed == 0
            assert stage.backend().focus(DEADLINE_S) is None

    def test_texts_of_every_script_arrive_exactly(self, backend: Backend, window: Recorder) -> None:
        rng = random.Random()
        texts = [random_secret(rng, self.SCRIPTS, self.LONGEST) for _ in range(6)]
        texts += ["".join(map(chr, rng.sample([*script], min(60, len(script))))) for script in self.SCRIPTS]
        for text in texts:
            window.clear()
            backend.type_text(Secret(text.encode()), DEADLINE_S, anywhere)
            assert differs(window.wait_for(text), text) is None

    def test_a_refused_target_gets_nothing(self, backend: Backend, window: Recorder) -> None:
        def refuse(focus: Focus | None) -> None:
            raise target_refused("not there")

        for way in (backend.type_text, backend.paste) if self.PASTES else (backend.type_text,):
            with pytest.raises(Refused):
                way(Secret(b"secret"), DEADLINE_S, Checks(refuse))
        backend.type_text(Secret(b"z"), DEADLINE_S, anywhere)
        assert window.wait_for("z") == "z", "something was typed into a refused window"

    def test_the_window_that_is_typed_into_is_checked_once(
        self, stage: Stage, backend: Backend, window: Recorder
    ) -> None:
        asked: list[Focus | None] = []
        backend.type_text(Secret(b"abc"), DEADLINE_S, Checks(asked.append))
        assert window.wait_for("abc") == "abc"
        assert len(asked) == 1
        if not self.READS_FOCUS:
            assert asked == [None]
            assert backend.focus(DEADLINE_S) is None
            return
        focus = backend.focus(DEADLINE_S)
        assert focus is not None
        assert asked[0] == focus
        assert focus.pid == window.process.pid
        assert focus.program is not None
        assert window.title not in repr(focus), "a title may say what a person reads"
        assert focus.title == window.title

    def test_when_the_focus_moves_typing_stops_and_says_how_far_it_came(
        self, stage: Stage, backend: Backend, window: Recorder
    ) -> None:
        if not self.READS_FOCUS:
            return
        text = "".join(chr(0x4E00 + 33 * index) for index in range(self.LONG))
        with stage.window() as second:
            # The other program moves the focus when it gets to it, which may be after the last key.
            stopped = [self._moved_while_typing(stage, backend, window, second, text) for _ in range(3)]
            for _ in range(7):
                if any(stopped):
                    return
                stopped.append(self._moved_while_typing(stage, backend, window, second, text))
        assert any(stopped), "the focus never moved in the middle"

    def _moved_while_typing(
        self, stage: Stage, backend: Backend, window: Recorder, second: Recorder, text: str
    ) -> bool:
        """Type while the focus moves to `second`; whether that stopped it. Nothing may be lost or astray."""
        stage.focus(window)
        window.clear()
        second.clear()
        movers = []

        def move_soon(focus: Focus | None) -> None:
            if not movers:  # it may be asked again before the first key
                movers.append(gevent.spawn(stage.focus, second))

        typed, stopped = len(text), False
        try:
            backend.type_text(Secret(text.encode()), DEADLINE_S, Checks(move_soon))
        except DesktopError as error:
            typed, stopped = error.typed, True
        gevent.joinall(movers, raise_error=True)
        assert 0 <= typed <= len(text)  # 0 where it moved while the window was learning what the keys mean
        backend.type_text(Secret(b"z"), DEADLINE_S, anywhere)  # comes after all that went astray
        astray = wait_until(lambda: got if (got := second.text()).endswith("z") else "", "the last key")[:-1]
        assert len(astray) <= (self.CHUNK if stopped else 0)
        first = window.wait_for(typed - len(astray))
        assert differs(first, text[: len(first)]) is None
        assert len(first) + len(astray) == typed
        return stopped and typed > 0

    def test_a_session_that_hangs_ends_at_the_deadline_while_others_run(
        self, stage: Stage, backend: Backend, window: Recorder
    ) -> None:
        with at_most(1.8), stage.hung(), others_run(), pytest.raises(DesktopError) as caught:
            backend.type_text(Secret(b"never"), 0.8, anywhere)
        assert caught.value.typed == 0
        stage.focus(window)
        backend.type_text(Secret(b"z"), DEADLINE_S, anywhere)
        assert window.wait_for("z") == "z"

    def test_a_copied_text_is_there_for_others_and_marked_as_a_secret(
        self, stage: Stage, backend: Backend, window: Recorder
    ) -> None:
        backend.copy(Secret(TEXT.encode()), DEADLINE_S)
        assert differs(stage.clipboard().decode(), TEXT) is None
        assert differs(stage.clipboard("text/plain;charset=utf-8").decode(), TEXT) is None
        assert stage.clipboard("x-kde-passwordManagerHint") == b"secret"
        assert stage.clipboard("image/png") == b""

    def test_a_second_copy_replaces_the_first_and_close_takes_it_back(
        self, stage: Stage, backend: Backend, window: Recorder
    ) -> None:
        for text in (b"first", b"second"):
            backend.copy(Secret(text), DEADLINE_S)
            assert stage.clipboard() == text
        backend.close()
        for kind in ("UTF8_STRING", "text/plain;charset=utf-8", "text/plain"):
            wait_until(lambda kind=kind: stage.clipboard(kind) == b"", f"letting go of {kind}", 5)

    def test_what_another_program_copied_since_is_left_alone(
        self, stage: Stage, backend: Backend, window: Recorder
    ) -> None:
        backend.copy(Secret(b"ours"), DEADLINE_S)
        stage.copy_elsewhere(b"theirs")
        wait_until(lambda: stage.clipboard() == b"theirs", "another copy", 5)
        backend.close()
        gevent.sleep(0.1)
        assert stage.clipboard() == b"theirs"

    def test_a_paste_arrives(self, stage: Stage, backend: Backend, window: Recorder) -> None:
        if not self.PASTES:
            return
        assert backend.paste(Secret(TEXT.encode()), DEADLINE_S, anywhere) is True
        assert differs(window.wait_for(TEXT), TEXT) is None

    def test_no_argument_list_and_no_environment_ever_holds_a_secret(
        self, stage: Stage, backend: Backend, window: Recorder
    ) -> None:
        text = secrets.token_urlsafe(24)
        with Watcher(text.encode()) as watch:
            for _ in range(5):
                window.clear()
                backend.type_text(Secret(text.encode()), DEADLINE_S, anywhere)
                assert differs(window.wait_for(text), text) is None
                backend.copy(Secret(text.encode()), DEADLINE_S)
                watch.sweep()
            if self.PASTES:
                backend.paste(Secret(text.encode()), DEADLINE_S, anywhere)
        assert watch.sweeps > 3
        assert watch.seen == []
