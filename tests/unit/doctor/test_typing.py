"""`doctor --type`: the real command types into a window of its own, or into the terminal that it runs in."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.daemon import command, run
from support.delivery import anywhere
from support.wayland import RecordingFoot, Sway, session_of
from support.x11 import XServer, wait_until
from Xlib import X

from novakey.desktop.wayland.wlroots import WlrootsBackend
from novakey.desktop.x11.display import GuardedDisplay
from novakey.doctor import canary
from novakey.doctor.finding import About, Verdict
from novakey.secret import Secret

COUNT = f"{len(canary.CANARY)} awkward characters arrived as they were sent"


@pytest.fixture(scope="module")
def screen() -> Iterator[XServer]:
    with XServer() as running:
        yield running


def typing(folder: Path, screen: XServer, **settings: str) -> tuple[int, dict[str, Any]]:
    """Return the last line of the report."""
    env = {"DISPLAY": screen.display, "NOVAKEY_LISTEN_ADDR": "127.0.0.1:0", **settings}
    done = run("--data-dir", folder, "doctor", "--type", "--json", env=env)
    assert "Traceback" not in done.stderr, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["check"] == "typing"
    return done.returncode, found


@pytest.mark.parametrize("layout", ["us", "de"])
def test_the_canary_arrives_in_its_window_and_the_keyboard_is_as_before(
    screen: XServer, tmp_path: Path, layout: str
) -> None:
    screen.layout(layout)
    before = screen.keymap()
    code, found = typing(tmp_path / "d", screen)
    assert (code, found["verdict"]) == (0, "ok"), found["found"]
    assert found["found"] == f"{COUNT} (x11)"
    assert screen.keymap() == before
    assert screen.run("xdotool", "search", "--name", "NovaKey doctor", check=False) == ""


def test_without_a_window_manager_it_takes_the_focus_itself(tmp_path: Path) -> None:
    with XServer(manager=False) as bare:
        code, found = typing(tmp_path / "d", bare)
    assert (code, found["found"]) == (0, f"{COUNT} (x11)")


def test_a_keyboard_that_another_program_holds_is_named(screen: XServer, tmp_path: Path) -> None:
    holder = GuardedDisplay(screen.display)
    try:
        # A window manager's shortcut holds it like this.
        assert holder.screen().root.grab_keyboard(False, X.GrabModeAsync, X.GrabModeAsync, X.CurrentTime) == 0
        holder.sync()
        code, found = typing(tmp_path / "d", screen)
    finally:
        holder.close()
    assert (code, found["verdict"]) == (1, "fault")
    assert "holds the keyboard" in found["found"] or "focus" in found["found"]


def test_where_nothing_is_to_be_typed_nothing_is(screen: XServer, tmp_path: Path) -> None:
    code, found = typing(tmp_path / "d", screen, NOVAKEY_DESKTOP_BACKEND="none")
    assert (code, found["verdict"]) == (0, "note")


class DoctorInFoot(RecordingFoot):
    """A terminal in which the doctor runs, its report and its prompt in files."""

    title = "doctor-in-foot"

    def _argv(self, folder: Path, output: Path) -> list[str]:
        words = super()._argv(folder, output)
        doctor = command("--data-dir", folder / "d", "doctor", "--type", "--json")
        script = 'touch "$0.ready"; "$@" >"$0" 2>"$0.said"; touch "$0.done"; sleep 60'
        return [*words[: words.index(sys.executable)], "sh", "-c", script, str(output), *doctor]

    def has(self, ending: str, text: str = "") -> bool:
        path = self._output.with_name(self._output.name + ending)
        return path.exists() and text in path.read_text()


def test_under_wayland_it_types_into_its_terminal_after_a_key_was_pressed_there() -> None:
    with Sway() as sway, session_of(sway.session):
        sway.env["NOVAKEY_LISTEN_ADDR"] = "127.0.0.1:0"
        with DoctorInFoot(sway) as terminal:
            wait_until(lambda: terminal.has(".said", "press Enter here"), "its question", 30)
            WlrootsBackend().type_text(Secret(b"\n"), 5.0, anywhere)
            wait_until(lambda: terminal.has(".done"), "its end", 30)
            found = json.loads(terminal.text().splitlines()[-1])
    assert (found["check"], found["verdict"]) == ("typing", "ok"), found["found"]
    assert found["found"].endswith("arrived as they were sent (wlroots)")


ABOUT = About("typing", "")


@pytest.mark.parametrize(
    ("sent", "got", "said"),
    [
        ("az", "zz", "2 characters came of 2 (x11); number 1 was U+0061 (latin small letter a) and came as"),
        ("az", "a", "number 2 was U+007A (latin small letter z) and came as nothing"),
        ("az", "azz", "3 characters came of 2 (x11); number 3 was nothing and came as U+007A"),
        ("a\u0301", "\u00e1", "number 1 was U+0061 (latin small letter a) and came as U+00E1"),
    ],
)
def test_what_differs_is_named(sent: str, got: str, said: str) -> None:
    found = canary._compare(ABOUT, "x11", sent, got)
    assert found.verdict is Verdict.FAULT and said in found.found and found.cure


def test_what_is_the_same_is_fine() -> None:
    assert canary._compare(ABOUT, "x11", canary.CANARY, canary.CANARY).verdict is Verdict.OK
