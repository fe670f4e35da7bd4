"""The clipboard on a real server: owning it, answering, letting go; pasting into real windows."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from support.delivery import anywhere
from support.x11 import Recorder, RecordingXterm, XServer, differs, end, wait_until
from Xlib import X
from Xlib.display import Display

from novakey.desktop.x11.backend import X11Backend
from novakey.desktop.x11.selection import CLOSE_S
from novakey.secret import Secret

DEADLINE_S = 20.0  # long enough for a busy machine
MANAGER_S = 40.0  # each question to CopyQ starts a program, which is slow on such a machine
MANY = 50
TEXT = "pässwörd €字😀"


class OtherTerminal(RecordingXterm):
    """A window that knows neither Ctrl+V nor, by its class, Shift+Insert."""

    title = "other-terminal"
    options = ("-class", "Other", "-name", "other")


@pytest.fixture
def other(server: XServer) -> Iterator[Recorder]:
    with OtherTerminal(server) as recorder:
        yield recorder


def ask(server: XServer, target: str, selection: str = "clipboard", **options: Any) -> bytes:
    """Return what the owner answers; nothing when it refuses."""
    argv = ("xclip", "-o", "-selection", selection, "-t", target)
    done = subprocess.run(argv, env=server.env, capture_output=True, timeout=10, check=False)
    return done.stdout


def test_a_copied_text_is_there_for_other_programs(backend: X11Backend, server: XServer) -> None:
    backend.copy(Secret(TEXT.encode()), DEADLINE_S)
    for target in ("UTF8_STRING", "text/plain;charset=utf-8"):
        assert ask(server, target) == TEXT.encode(), f"{target} differs"
    assert ask(server, "STRING") == b"", "not a text for Latin-1"
    targets = ask(server, "TARGETS").decode().split()
    assert {"UTF8_STRING", "TARGETS", "TIMESTAMP", "x-kde-passwordManagerHint"} <= set(targets)
    assert "STRING" not in targets
    assert ask(server, "x-kde-passwordManagerHint") == b"secret"
    assert ask(server, "image/png") == b""
    assert ask(server, "UTF8_STRING", "primary") == b"", "the primary selection is the person's"


def test_a_latin_text_is_offered_as_such(backend: X11Backend, server: XServer) -> None:
    backend.copy(Secret("pässwörd".encode()), DEADLINE_S)
    assert ask(server, "STRING") == "pässwörd".encode("latin-1")


def test_a_second_copy_replaces_the_first_and_close_takes_it_back(
    backend: X11Backend, server: XServer
) -> None:
    backend.copy(Secret(b"first"), DEADLINE_S)
    backend.copy(Secret(b"second"), DEADLINE_S)
    assert ask(server, "UTF8_STRING") == b"second"
    backend.close()
    wait_until(lambda: ask(server, "UTF8_STRING") == b"", "letting go", 5)


def test_it_lets_go_when_another_program_takes_the_clipboard(backend: X11Backend, server: XServer) -> None:
    backend.copy(Secret(b"secret"), DEADLINE_S)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    taker = ("xclip", "-i", "-selection", "clipboard")
    subprocess.run(taker, input=b"theirs", env=server.env, timeout=10, check=True, **quiet)
    owner = backend._owner
    assert owner is not None
    wait_until(lambda: owner.ended, "letting go", 5)
    assert len(owner._text) == 0
    backend.close()
    assert ask(server, "UTF8_STRING") == b"theirs"


@pytest.mark.parametrize("after", [0, 1, 10])
def test_every_request_is_answered_while_the_clipboard_is_taken_back(
    backend: X11Backend, server: XServer, after: int
) -> None:
    """A program that gets no answer may wait without end, as xclip does."""
    display = Display(server.display)
    window = display.screen().root.create_window(0, 0, 1, 1, 0, X.CopyFromParent)
    clipboard, text = (display.intern_atom(name) for name in ("CLIPBOARD", "UTF8_STRING"))
    backend.copy(Secret(b"secret"), DEADLINE_S)
    for number in range(MANY):
        window.convert_selection(clipboard, text, display.intern_atom(f"PLACE{number}"), X.CurrentTime)
    display.flush()
    answers = 0
    with gevent.Timeout(DEADLINE_S, False):
        while answers < MANY:
            if answers == after:
                backend.close()
            answers += display.next_event().type == X.SelectionNotify
    display.close()
    assert answers == MANY


def test_a_server_that_stands_still_does_not_keep_the_text(backend: X11Backend, server: XServer) -> None:
    backend.copy(Secret(b"secret"), DEADLINE_S)
    owner = backend._owner
    assert owner is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        with gevent.Timeout(CLOSE_S + DEADLINE_S):
            backend.clear_clipboard()
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    assert owner.ended and len(owner._text) == 0


@pytest.mark.parametrize("layout", ["us", "ru"])
def test_a_paste_into_a_window_that_takes_it(
    backend: X11Backend, server: XServer, window: Recorder, layout: str
) -> None:
    server.layout(layout)
    window.clear()
    assert backend.paste(Secret(TEXT.encode()), DEADLINE_S, anywhere) is True
    assert differs(window.wait_for(TEXT), TEXT) is None


def test_with_no_window_to_paste_into_it_is_on_the_clipboard(backend: X11Backend, server: XServer) -> None:
    assert backend.paste(Secret(TEXT.encode()), DEADLINE_S, anywhere) is False
    assert ask(server, "UTF8_STRING") == TEXT.encode()


def test_a_window_that_does_not_paste_is_told_from_one_that_does(
    backend: X11Backend, server: XServer, other: Recorder
) -> None:
    assert backend.paste(Secret(TEXT.encode()), DEADLINE_S, anywhere) is False
    assert ask(server, "UTF8_STRING") == TEXT.encode(), "the person must be able to paste"


class CopyQ:
    """A clipboard manager that leaves marked texts out; since its version 8 it needs no rule for that."""

    _RULES = (
        "[Commands]\nsize=1\n1\\Name=Leave secrets out\n1\\Automatic=true\n"
        "1\\Input=x-kde-passwordManagerHint\n1\\Remove=true\n"
    )

    def __init__(self, server: XServer, home: Path) -> None:
        settings = home / ".config/copyq"
        settings.mkdir(parents=True)
        (settings / "copyq-commands.ini").write_text(self._RULES)
        self.env = {**server.env, "HOME": str(home), "XDG_RUNTIME_DIR": str(home), "QT_QPA_PLATFORM": "xcb"}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(["copyq"], env=self.env, **quiet)

    def ask(self, *words: str) -> str:
        done = subprocess.run(["copyq", *words], env=self.env, capture_output=True, timeout=20, check=False)
        return done.stdout.decode().strip()


def test_a_clipboard_manager_that_honours_the_hint_has_no_copy(
    backend: X11Backend, server: XServer, tmp_path: Path
) -> None:
    manager = CopyQ(server, tmp_path)
    try:
        wait_until(lambda: manager.ask("size") == "0", "the clipboard manager", MANAGER_S)
        backend.copy(Secret(b"marked as a secret"), DEADLINE_S)
        wait_until(lambda: manager.ask("clipboard") == "marked as a secret", "noticing it", MANAGER_S)
        quiet = {"capture_output": False, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

        def is_noticed() -> bool:  # CopyQ misses a text that comes while it still looks at the one before it
            server.run("xclip", "-i", "-selection", "clipboard", input="not marked", **quiet)
            gevent.sleep(0.5)
            return manager.ask("read", "0") == "not marked"

        wait_until(is_noticed, "the next text", MANAGER_S)
        assert manager.ask("size") == "1", "the marked text is in the history"
    finally:
        end(manager.process)
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"marked as a secret" not in file.read_bytes(), file.name
