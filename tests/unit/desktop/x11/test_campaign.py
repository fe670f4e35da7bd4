"""Random secrets of many scripts into windows of many toolkits, under many layouts."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from support.delivery import anywhere
from support.late_server import serving_late
from support.random_text import ALL, GREEK, random_secret
from support.x11 import Recorder, RecordingGtkEntry, RecordingXterm, XServer, differs, display_of
from support.x11_windows import RecordingPage, RecordingQtEntry, RecordingTkEntry
from support.xkb import lock_group

from novakey.desktop.base import DesktopError
from novakey.desktop.x11.backend import X11Backend
from novakey.desktop.x11.connection import Connection
from novakey.secret import Secret

WINDOWS = {
    "xterm": RecordingXterm,
    "gtk": RecordingGtkEntry,
    "qt": RecordingQtEntry,
    "tk": RecordingTkEntry,
    "chromium": RecordingPage,
}
# Each with one group and, for the names with a comma, with two.
LAYOUTS = ("us", "de", "fr", "cz", "ru", "us,ru", "de,us", "fr,ru", "cz,us", "ru,de")
ARRIVE_S = 20  # the machine may be busy


@pytest.fixture
def server() -> Iterator[XServer]:
    """One for each toolkit: after hundreds of changed maps the window manager is a minute behind."""
    with XServer() as running, display_of(running):
        yield running


@pytest.fixture(params=list(WINDOWS))
def recorder(request: pytest.FixtureRequest, server: XServer) -> Iterator[tuple[str, Recorder]]:
    server.layout("us")
    with WINDOWS[request.param](server) as window:
        yield request.param, window


def one(backend: X11Backend, window: Recorder, text: str) -> str:
    """Return what became of one secret: "arrived", "not typed" (and said so), or what is wrong."""
    window.clear()
    try:
        backend.type_text(Secret(text.encode()), ARRIVE_S, anywhere)
    except DesktopError as error:
        time.sleep(0.3)
        if error.typed == 0 and window.text() == "":
            return "not typed"
        return f"a part was typed: {error}"
    return differs(window.wait_for(text, ARRIVE_S), text) or "arrived"


def campaign(server: XServer, window: Recorder, layouts: list[tuple[str, int]], rounds: int) -> Counter[str]:
    """Type secrets under each layout and group; how often what became of them."""
    rng, backend, connection = random.Random(), X11Backend(), Connection()
    results: Counter[str] = Counter()
    for layout, group in layouts:
        server.layout(layout)
        lock_group(connection, group)
        before = server.keymap()
        for _ in range(rounds):
            result = one(backend, window, random_secret(rng, ALL, different=rng.choice((5, 30, 80))))
            results[result if result in ("arrived", "not typed") else f"{layout}/{group}: {result}"] += 1
        assert connection.keyboard_state().group == group
        assert server.keymap() == before, f"the keyboard differs under {layout}"
    lock_group(connection, 0)
    connection.close()
    return results


def test_random_secrets_of_many_scripts_arrive_whole(server: XServer, recorder: tuple[str, Recorder]) -> None:
    some = [(random.choice(LAYOUTS[:5]), 0), (random.choice(LAYOUTS[5:]), 1)]
    results = campaign(server, recorder[1], some, rounds=1)
    assert results == {"arrived": 2}


def test_chromium_whose_gtk_is_told_of_the_keys_late(backend: X11Backend, server: XServer) -> None:
    with serving_late(server, 0.1) as (late, begin), RecordingPage(late) as page:
        begin()
        results = Counter(
            one(backend, page, text) for text in ("aé字 b", "".join(map(chr, GREEK)), "яαé" * 30)
        )
    assert results == {"arrived": 3}


@pytest.mark.long
def test_four_hundred_random_secrets_into_each_toolkit(
    server: XServer, recorder: tuple[str, Recorder]
) -> None:
    rng = random.Random()
    layouts = [(name, rng.randint(0, name.count(","))) for name in LAYOUTS]
    start = time.monotonic()
    results = campaign(server, recorder[1], layouts, rounds=40)
    print(f"\n{recorder[0]}: {dict(results)} in {time.monotonic() - start:.0f} s")
    assert results["arrived"] + results["not typed"] == 400, results
    assert results["not typed"] * 1000 <= 400, results
