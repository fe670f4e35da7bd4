"""Typing on X11 while other programs press keys and move the focus: no character lost, none elsewhere."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable

import gevent
import pytest
from support.delivery import Checks, anywhere
from support.random_text import ALL, random_secret
from support.x11 import Recorder, RecordingGtkEntry, RecordingXterm, XServer, differs
from Xlib import X

from novakey.desktop.base import DesktopError, Focus
from novakey.desktop.x11.backend import X11Backend
from novakey.desktop.x11.connection import Connection
from novakey.desktop.x11.display import GuardedDisplay
from novakey.secret import Secret

DEADLINE_S = 20.0  # long enough for a busy machine

# Presses and releases Shift, and toggles Caps Lock, at random moments until its input ends.
_DISTURBER = """
import random, select, sys, time
from Xlib import X, XK, display
d = display.Display()
shift, caps = (d.keysym_to_keycode(XK.string_to_keysym(name)) for name in ("Shift_L", "Caps_Lock"))
toggles = presses = 0

def key(kind, code):
    d.xtest_fake_input(kind, code)
    d.sync()
    time.sleep(random.random() * 0.01)

print("ready", flush=True)
while not select.select([0], [], [], 0)[0]:
    if random.random() < 0.5:
        key(X.KeyPress, shift)
        key(X.KeyRelease, shift)
        presses += 1
    else:
        key(X.KeyPress, caps)
        key(X.KeyRelease, caps)
        toggles += 1
print(presses, toggles, flush=True)
"""


def disturbed(server: XServer, work: Callable[[], None]) -> tuple[int, int]:
    """Do it while Shift and Caps Lock are pressed; how often each was."""
    argv = [sys.executable, "-c", _DISTURBER]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, env=server.env, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        try:
            work()
        finally:
            output, _ = other.communicate("\n", timeout=20)
    presses, toggles = map(int, output.split())
    return presses, toggles


def type_disturbed(server: XServer, window: Recorder, rounds: int) -> None:
    rng, backend, connection = random.Random(), X11Backend(), Connection()
    results: list[str | None] = []

    def work() -> None:
        for _ in range(rounds):
            text = random_secret(rng, ALL, different=rng.choice((5, 30, 80)))
            window.clear()
            backend.type_text(Secret(text.encode()), DEADLINE_S, anywhere)
            results.append(differs(window.wait_for(text), text))

    before = server.keymap()
    presses = toggles = 0
    for _ in range(5):  # the other program may get to it late
        more = disturbed(server, work)
        presses, toggles = presses + more[0], toggles + more[1]
        if min(presses, toggles) > rounds:
            break
    try:
        assert [result for result in results if result] == []
        assert min(presses, toggles) > rounds
        assert connection.keys_down() == []
        caps_lock = connection.keyboard_state().locked & 2
        assert bool(caps_lock) == bool(toggles % 2), f"{toggles} toggles"
    finally:
        if connection.keyboard_state().locked & 2:
            server.run("xdotool", "key", "Caps_Lock")
        connection.close()
    assert server.keymap() == before


def test_shift_and_caps_lock_of_another_program_alter_nothing_and_stay_its_own(
    backend: X11Backend, server: XServer, window: Recorder
) -> None:
    type_disturbed(server, window, rounds=4)


@pytest.mark.long
@pytest.mark.parametrize("layout", ["us", "de", "fr", "cz", "ru"])
def test_two_hundred_secrets_while_keys_are_held(
    backend: X11Backend, server: XServer, window: Recorder, layout: str
) -> None:
    server.layout(layout)
    type_disturbed(server, window, rounds=40)
    server.layout("us")


class Mover:
    """Gives a window the focus a while after it is told to, over a connection of its own."""

    def __init__(self) -> None:
        self._display = GuardedDisplay()

    def now(self, window: str) -> None:
        target = self._display.create_resource_object("window", int(window))
        target.set_input_focus(X.RevertToParent, X.CurrentTime)
        self._display.sync()

    def later(self, window: str, seconds: float) -> gevent.Greenlet:
        return gevent.spawn_later(seconds, self.now, window)

    def close(self) -> None:
        self._display.close()


def move_focus(server: XServer, first: Recorder, rounds: int) -> tuple[int, int]:
    """Move the focus at a random moment of a delivery; return how many were whole, and cut."""
    rng, backend, mover = random.Random(), X11Backend(), Mover()
    whole = cut = 0
    with RecordingGtkEntry(server) as second:
        for _ in range(rounds):
            # A long text of many batches, or one that goes out in a single step.
            letters = range(0x4E00, 0x9FA6) if rng.random() < 0.8 else range(0x21, 0x7F)
            text = "".join(chr(rng.choice(letters)) for _ in range(250))
            mover.now(first.window)
            first.clear()
            second.clear()
            moving: list[gevent.Greenlet] = []

            def begin(focus: Focus | None, moving: list[gevent.Greenlet] = moving) -> None:
                assert focus is not None
                assert focus.window == int(first.window)
                if not moving:  # it is asked again when the window has learned what the keys mean
                    moving.append(mover.later(second.window, rng.random() * 0.6))

            try:
                backend.type_text(Secret(text.encode()), DEADLINE_S, Checks(begin))
            except DesktopError as error:
                cut += 1
                assert 0 <= error.typed < len(text)
                came = first.wait_for(error.typed)
                assert differs(came, text[: error.typed]) is None
            else:
                whole += 1
                assert differs(first.wait_for(text), text) is None, "a success without all of it"
            gevent.joinall(moving, raise_error=True)
            server.run("xdotool", "type", "z")
            assert second.only("z"), "characters in the second window"
    mover.close()
    return whole, cut


def test_when_the_focus_moves_not_a_character_goes_to_the_other_window(
    backend: X11Backend, server: XServer, window: Recorder
) -> None:
    before = server.keymap()
    move_focus(server, window, rounds=4)
    assert server.keymap() == before


@pytest.mark.long
def test_two_hundred_moves_of_the_focus(backend: X11Backend, server: XServer) -> None:
    before = server.keymap()
    for kind in (RecordingXterm, RecordingGtkEntry):
        with kind(server) as window:
            whole, cut = move_focus(server, window, rounds=100)
            print(f"\n{kind.__name__}: {whole} whole, {cut} cut")
            assert cut >= 10
    assert server.keymap() == before
