"""Typing under a real sway while a person types, moves the focus, and has windows that a policy tells apart.

The long form of the campaigns: pytest -m long tests/unit/desktop/wayland/test_sway.py
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import gevent
import pytest
from support import needs
from support.delivery import Checks, anywhere
from support.random_text import ALL, random_secret
from support.wayland import RecordingFoot, Sway, SwayGtkEntry, session_of
from support.x11 import _READER, Recorder, differs, wait_until

from novakey.config.settings import Settings
from novakey.desktop.base import DesktopError, Focus
from novakey.desktop.wayland.keymap import CONTROL, SHIFT
from novakey.desktop.wayland.typing import CHUNK
from novakey.desktop.wayland.wlroots import WlrootsBackend
from novakey.messages.policy.target import TargetPolicy
from novakey.secret import Secret
from novakey.wire.refused import Refused

DEADLINE_S = 20.0  # long enough for a busy machine
CAPS_LOCK, ALT, SUPER = 2, 8, 64
PYTHON = Path("/usr/bin/python3").resolve().name  # the program of the GTK entry
KINDS = {"foot": RecordingFoot, "gtk": SwayGtkEntry}


class LyingFoot(RecordingFoot):
    """A terminal that says it is something else, in its title and in its app id."""

    title = "Zebra KeePassXC"

    def _argv(self, folder: Path, output: Path) -> list[str]:
        words = super()._argv(folder, output)
        return [words[0], "-a", "keepassxc", *words[1:]]


@pytest.fixture(scope="module")
def sway() -> Iterator[Sway]:
    with Sway() as running, session_of(running.session):
        yield running


@pytest.fixture(params=KINDS)
def window(request: pytest.FixtureRequest, sway: Sway) -> Iterator[Recorder]:
    with KINDS[request.param](sway) as recorder:
        yield recorder


def deliver(window: Recorder, text: str) -> str | None:
    """Type a text; how what came differs from it."""
    window.clear()
    WlrootsBackend().type_text(Secret(text.encode()), DEADLINE_S, anywhere)
    return differs(window.wait_for(text), text)


def campaign(window: Recorder, texts: int) -> tuple[int, int]:
    """Random secrets: how many arrived exactly, and of how many nothing was typed. Any other fails."""
    rng, exact, nothing = random.Random(), 0, 0
    for _ in range(texts):
        text = random_secret(rng, ALL)
        window.clear()
        try:
            WlrootsBackend().type_text(Secret(text.encode()), DEADLINE_S, anywhere)
        except DesktopError as error:
            assert (error.typed, window.text()) == (0, "")
            nothing += 1
            continue
        assert differs(window.wait_for(text), text) is None
        exact += 1
    return exact, nothing


@pytest.mark.long
def test_two_thousand_random_secrets_arrive_exactly(window: Recorder) -> None:
    exact, nothing = campaign(window, 2000)
    print(f"{window.title}: {exact} exact, {nothing} nothing typed, 0 altered")
    assert nothing <= 2


def meddled(sway: Sway, window: Recorder, texts: int) -> int:
    """Secrets typed while a person presses Shift and toggles Caps Lock; how many times they did."""
    person, rng, times = sway.person, random.Random(), 0
    assert person is not None

    def meddle() -> None:
        nonlocal times
        while True:
            person.hold(rng.choice((0, SHIFT)), rng.choice((0, CAPS_LOCK)))
            times += 1
            gevent.sleep(rng.uniform(0, 0.01))

    meddling = gevent.spawn(meddle)
    try:
        for _ in range(texts):
            assert deliver(window, random_secret(rng, ALL)) is None
    finally:
        meddling.kill()
        person.hold(0)
    return times


def test_what_a_person_presses_and_locks_in_between_alters_nothing(sway: Sway, window: Recorder) -> None:
    assert meddled(sway, window, 10) > 10


@pytest.mark.long
def test_two_thousand_secrets_while_a_person_presses_and_locks(sway: Sway, window: Recorder) -> None:
    print(f"{window.title}: 2000 exact while {meddled(sway, window, 2000)} times meddled with")


@pytest.mark.parametrize("held", [SHIFT, CONTROL, SUPER | ALT])
def test_what_a_person_holds_stays_held_and_their_lock_stays_on(sway: Sway, held: int) -> None:
    person = sway.person
    assert person is not None
    with SwayGtkEntry(sway) as entry:
        try:
            person.hold(held, CAPS_LOCK)
            assert deliver(entry, "abC 12 字 éÉ") is None
            person.hold(0, CAPS_LOCK)
            entry.clear()
            person.tap("a")
            assert entry.wait_for("A") == "A", "Caps Lock is no longer on"
        finally:
            person.hold(0)


def test_a_seat_without_a_keyboard_gets_the_first_key_too() -> None:
    with Sway(keyboard=False) as bare, session_of(bare.session), RecordingFoot(bare) as foot:
        for _ in range(3):
            assert deliver(foot, "first字") is None


def race(sway: Sway, times: int) -> dict[str, int]:
    """Move the focus at a random moment of each delivery of 250 characters; what came of it, counted."""
    rng, counts = random.Random(), {"stopped": 0, "whole": 0, "most astray": 0}
    with RecordingFoot(sway) as first, RecordingFoot(sway) as second:
        for _ in range(times):
            text = "".join(rng.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ 0123456789äéжя", k=250))
            sway.focus(first.window)
            first.clear()
            second.clear()
            move = f"sleep {rng.uniform(0, 0.05):.4f}; exec swaymsg [con_id={second.window}] focus"
            movers: list[subprocess.Popen[bytes]] = []

            def move_soon(
                focus: Focus | None, move: str = move, movers: list[subprocess.Popen[bytes]] = movers
            ) -> None:
                movers.append(subprocess.Popen(["sh", "-c", move], env=sway.env, stdout=subprocess.DEVNULL))

            typed = len(text)
            try:
                WlrootsBackend().type_text(Secret(text.encode()), DEADLINE_S, Checks(move_soon))
                counts["whole"] += 1
            except DesktopError as error:
                typed = error.typed
                counts["stopped"] += 1
            movers[0].wait(10)
            until = time.monotonic() + 2
            while len(first.text()) + len(second.text()) < typed and time.monotonic() < until:
                gevent.sleep(0.01)
            gevent.sleep(0.05)
            here, astray = first.text(), second.text()
            assert len(astray) <= CHUNK
            assert typed < len(text) or (astray == "" and differs(here, text) is None), (
                "a success that is none"
            )
            assert differs(here, text[: len(here)]) is None
            assert astray in text[len(here) : typed], "what went astray is what came next"
            assert typed - len(here) - len(astray) < CHUNK, "keys in the very moment may reach no window"
            counts["most astray"] = max(counts["most astray"], len(astray))
    return counts


def test_when_the_focus_moves_at_most_one_chunk_goes_astray_and_that_is_no_success(sway: Sway) -> None:
    counts = race(sway, 6)
    assert counts["stopped"] + counts["whole"] == 6


@pytest.mark.long
def test_the_focus_moves_at_two_hundred_random_moments(sway: Sway) -> None:
    print(race(sway, 200))


def test_without_sways_socket_the_focus_is_read_as_docks_read_it(sway: Sway, tmp_path: Path) -> None:
    display = str(sway.folder / sway.env["WAYLAND_DISPLAY"])
    with (
        RecordingFoot(sway) as first,
        LyingFoot(sway) as second,
        session_of({"WAYLAND_DISPLAY": display, "XDG_RUNTIME_DIR": str(tmp_path)}),
    ):
        sway.focus(first.window)
        focus = WlrootsBackend().focus(DEADLINE_S)
        assert focus is not None
        assert (focus.pid, focus.program, focus.classes, focus.title) == (None, None, ("foot",), first.title)
        assert deliver(first, "abc字") is None

        def move(asked: Focus | None) -> None:
            sway.focus(second.window)

        first.clear()
        with pytest.raises(DesktopError, match="another window took the focus") as caught:
            WlrootsBackend().type_text(Secret(b"x" * 250), DEADLINE_S, Checks(move))
        assert caught.value.typed == CHUNK
        assert WlrootsBackend().focus(DEADLINE_S).classes == ("keepassxc",)
        sway.focus(first.window)  # where there is no process, the window's own word is all there is
        for names, outcome in (
            (("keepassxc",), pytest.raises(Refused)),
            (("foot",), nullcontext()),
        ):
            policy = TargetPolicy(Settings(target_policy_enabled=True, allowed_process_names=names))
            with outcome:
                WlrootsBackend().type_text(Secret(b"typed"), DEADLINE_S, policy)


# The windows that each policy permits.
ROWS: list[tuple[set[str], dict[str, Any]]] = [
    ({"foot", "liar"}, {}),
    ({"foot", "liar"}, {"allowed_process_names": ["Foot"]}),
    ({"python"}, {"allowed_process_names": [PYTHON]}),
    (set(), {"allowed_process_names": ["keepassxc", "oot"]}),
    ({"python"}, {"denied_process_names": ["foot"]}),
    ({"liar"}, {"allowed_window_titles": ["keepass"]}),
    (set(), {"allowed_window_titles": ["keepass"], "allowed_process_names": [PYTHON]}),
    ({"foot"}, {"denied_window_titles": ["KEEPASS"], "use_built_in_allowlist": True}),
]


def test_a_window_is_typed_into_only_when_the_policy_permits_it(sway: Sway) -> None:
    windows = {"foot": RecordingFoot(sway), "python": SwayGtkEntry(sway), "liar": LyingFoot(sway)}
    with windows["foot"], windows["python"], windows["liar"]:
        for permitted, lists in ROWS:
            for name, window in windows.items():
                sway.focus(window.window)
                window.clear()
                chosen = {key: tuple(v) if isinstance(v, list) else v for key, v in lists.items()}
                policy = TargetPolicy(Settings(target_policy_enabled=True, **chosen))
                backend = WlrootsBackend()
                if name in permitted:
                    backend.type_text(Secret(b"typed"), DEADLINE_S, policy)
                    assert window.wait_for("typed") == "typed", (name, lists)
                    continue
                for way in (backend.type_text, backend.paste):
                    with pytest.raises(Refused):
                        way(Secret(b"refused"), DEADLINE_S, policy)
                assert backend._owner is None, "nor is it on the clipboard"
                assert window.text() == "", (name, lists)


def test_typing_leaves_no_keyboard_and_no_child_behind(sway: Sway) -> None:
    def inputs() -> list[str]:
        return sorted(device["identifier"] for device in sway.msg("-t", "get_inputs"))

    with RecordingFoot(sway) as foot:
        before, children = inputs(), Path(f"/proc/self/task/{os.getpid()}/children").read_text()
        assert deliver(foot, "abc") is None
        assert inputs() == before
        assert Path(f"/proc/self/task/{os.getpid()}/children").read_text() == children


def test_into_an_x11_program_only_ascii_is_typed() -> None:
    with Sway(xwayland=True) as sway, session_of(sway.session):
        script, output = sway.folder / "reader.py", sway.folder / "typed"
        script.write_text(_READER)
        sway.msg("exec", f"xterm -u8 -e /usr/bin/python3 {script} {output}")
        wait_until(lambda: any(w["focused"] for w in sway.windows()) and output.exists(), "an xterm")
        focus = WlrootsBackend().focus(DEADLINE_S)
        needs.sight_of(focus.pid or 0, "names the program of another user")
        assert focus.program == "xterm"
        WlrootsBackend().type_text(Secret(b"ASCII ~!{}"), DEADLINE_S, anywhere)
        wait_until(lambda: output.read_bytes() == b"ASCII ~!{}", "the text")
        with pytest.raises(DesktopError, match="only ASCII") as caught:
            WlrootsBackend().type_text(Secret("abcé".encode()), DEADLINE_S, anywhere)
        assert caught.value.typed == 0
        WlrootsBackend().type_text(Secret(b"z"), DEADLINE_S, anywhere)
        wait_until(lambda: output.read_bytes() == b"ASCII ~!{}z", "the text that was possible, alone")
