"""What a client of the same X display tries: notes that it forges, floods of events, properties of no sense.

The long forms of a flood and of the notes: pytest -m long -s tests/attacks/test_display.py
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import gevent
import pytest
from support.delivery import anywhere
from support.x11 import Recorder, RecordingXterm, XServer, differs, display_of, others_run, wait_until
from Xlib import Xatom

from novakey.desktop.x11.backend import X11Backend
from novakey.desktop.x11.connection import Connection
from novakey.desktop.x11.recovery import MARK, Notes
from novakey.secret import Secret

DEADLINE_S = 20.0  # long enough for a busy machine
KEY = b"of the daemon's state"
TEXT = "a text, é and 字"

# Sends events to every window of no size at the top of the display, and to the display itself, until its
# input ends. `ready` is said after the first thousands.
_FLOODER = """
import select, sys
from Xlib import X, display
from Xlib.protocol import event
d = display.Display()
root = d.screen().root
kind = d.get_atom("_NET_WM_PING")
rounds = 0
while not select.select([0], [], [], 0)[0]:
    for window in [root, *root.query_tree().children]:
        message = event.ClientMessage(window=window, client_type=kind, data=(32, [kind, 1, 2, 3, 4]))
        key = event.KeyPress(detail=38, time=0, root=root, window=window, child=0, root_x=0, root_y=0,
                             event_x=0, event_y=0, state=0, same_screen=1)
        for _ in range(200):
            window.send_event(message, event_mask=X.SubstructureNotifyMask if window == root else 0,
                              onerror=lambda *_: None)
            window.send_event(key, onerror=lambda *_: None)
    d.sync()
    rounds += 1
    if rounds == 20:
        print("ready", flush=True)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[XServer]:
    with XServer() as running, display_of(running):
        yield running


@pytest.fixture
def window(server: XServer) -> Iterator[Recorder]:
    with RecordingXterm(server) as recorder:
        yield recorder


@pytest.fixture
def backend(server: XServer) -> Iterator[X11Backend]:
    made = X11Backend()
    made.sign_with(KEY)
    yield made
    made.close()


@contextmanager
def flood(server: XServer) -> Iterator[None]:
    argv = [sys.executable, "-c", _FLOODER]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, env=server.env, stdin=pipe, stdout=pipe) as other:
        assert other.stdout is not None and other.stdin is not None
        try:
            assert other.stdout.readline() == b"ready\n"
            yield
        finally:
            other.stdin.close()
            other.wait(20)


def typed(backend: X11Backend, window: Recorder, text: str = TEXT) -> str | None:
    window.clear()
    backend.type_text(Secret(text.encode()), DEADLINE_S, anywhere)
    return differs(window.wait_for(text), text)


def plant(numbers: list[int], width: int = 32) -> None:
    """Write a note as any client can."""
    other = Connection()
    other.root.change_property(
        other.atom(MARK), Xatom.CARDINAL, width, numbers if width > 8 else bytes(numbers)
    )
    other.sync()
    other.close()


def notes_of_no_sense() -> list[tuple[list[int], int]]:
    rng = random.Random()
    lengths = (1, 4, 5, 6, 56, 501, 502, 10_000)
    return [
        *(([100_000], 32), ([0, 38, 39], 32), ([2**32 - 1] * 56, 32), ([0] * 224, 8), ([1] * 99, 16)),
        *(([rng.getrandbits(32) for _ in range(length)], 32) for length in lengths),
    ]


def test_a_note_that_is_not_signed_changes_no_key_and_stops_no_delivery(
    server: XServer, backend: X11Backend, window: Recorder
) -> None:
    before = server.keymap()
    for numbers, width in notes_of_no_sense():
        plant(numbers, width)
        with others_run():
            backend.recover()
            assert typed(backend, window, "abc") is None
        assert server.keymap() == before


def test_a_note_that_was_seen_frees_no_key_that_somebody_else_has_taken(
    server: XServer, backend: X11Backend
) -> None:
    """All can read a note and write it again later: it holds for what was put on the keys alone."""
    watching = Connection()
    code, other = watching.keymap().free[:2]
    Notes(KEY).put(watching, 0, {code: (0x01005B57, 0x01005B57), other: (0x61, 0x61)})
    seen = watching.property(watching.root.id, MARK)
    assert isinstance(seen, list)
    watching.put_on_keys({code: (0x62, 0x62), other: (0x61, 0x61)})  # the owner's own, and what the note says
    try:
        plant(seen)

        def is_recovered() -> bool:  # it ends after two seconds, which a busy machine needs for other things
            backend.recover()
            return not watching.keymap().keys[other].symbols

        wait_until(is_recovered, "freeing the key that holds what the note says")
        assert watching.keymap().keys[code].gives((0x62, 0x62)), "the owner's"
        altered = [*seen[:-2], code, seen[-1]]
        plant(altered)
        backend.recover()
        assert watching.keymap().keys[code].gives((0x62, 0x62))
    finally:
        watching.put_on_keys({code: (0, 0), other: (0, 0)})
        watching.sync()
        watching.close()


def test_a_flood_of_events_stops_neither_the_delivery_nor_anything_else(
    server: XServer, backend: X11Backend, window: Recorder
) -> None:
    backend.prepare()  # a connection that waits, whose window the flood finds
    with flood(server), others_run():
        for _ in range(3):
            assert typed(backend, window) is None
            backend.copy(Secret(b"copied"), DEADLINE_S)
            backend.prepare()
            gevent.sleep(0.1)


def test_properties_of_other_types_than_they_should_have_stop_no_delivery(
    server: XServer, backend: X11Backend, window: Recorder
) -> None:
    other = Connection()
    hostile = other.display.create_resource_object("window", int(window.window))
    names = ("WM_CLASS", "WM_PROTOCOLS", "_NET_WM_NAME", "_NET_WM_PID", "WM_CLIENT_MACHINE", "WM_NAME")
    values = (
        (Xatom.STRING, 8, b"\xff\0\xfe" * 20_000),
        (Xatom.CARDINAL, 16, [65535] * 3),
        (Xatom.ATOM, 32, []),
    )
    try:
        for kind, width, value in values:
            for name in names:
                hostile.change_property(other.atom(name), kind, width, value)
            other.sync()
            assert typed(backend, window) is None
            assert backend.focus(DEADLINE_S) is not None
    finally:
        other.close()
