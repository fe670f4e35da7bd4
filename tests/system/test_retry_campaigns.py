"""The phone in the field retries by itself: deliveries cut at random moments, and replies that are lost.

What it does is written down in `tap`: approve, 250 ms, inject; on any failure, also of the connection, the
same once more; then it stops. It says "Sent" where the last status is 0 or 9.
"""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from gevent.server import StreamServer
from support.daemon import Daemon, say
from support.random_text import CJK
from support.wayland import RecordingFoot, Sway
from support.x11 import Recorder, RecordingXterm, XServer, wait_until

from novakey.errors import NovaKeyError
from novakey.phone import Profile
from novakey.wire.message import MessageType
from novakey.wire.reply import Reply

ARM, APPROVE, INJECT = MessageType.ARM, MessageType.APPROVE, MessageType.INJECT
RETRY_AFTER_S = 0.25
LONG = {"max_requests_per_min": 100_000, "notify": False}
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def attempt(phone: Profile, text: str) -> Reply | None:
    """Approve, a moment, inject; None where a reply was lost."""
    try:
        approved = say(phone, APPROVE)
        if approved.outcome.status:
            return approved
        gevent.sleep(RETRY_AFTER_S)
        return say(phone, INJECT, text.encode())
    except NovaKeyError:
        return None


def is_sent(reply: Reply | None) -> bool:
    return reply is not None and reply.outcome.status in (0, 9)


def tap(phone: Profile, text: str, between: Callable[[], None] = lambda: None) -> tuple[bool, bool]:
    """One tap on Send: whether the first try was answered as sent, and what the phone says in the end."""
    if is_sent(attempt(phone, text)):
        return True, True
    between()
    return False, is_sent(attempt(phone, text))


def settled(windows: tuple[Recorder, Recorder]) -> tuple[str, ...]:
    """Return what both windows have, once nothing more comes."""
    before = tuple(window.text() for window in windows)
    while True:
        gevent.sleep(0.15)
        now = tuple(window.text() for window in windows)
        if now == before:
            return now
        before = now


# ---- cut in the middle ----


def cut_deliveries(
    daemon: Daemon,
    windows: tuple[Recorder, Recorder],
    focus: Callable[[Recorder], None],
    texts: Callable[[], str],
    rounds: int,
    wanted: int | None = None,
) -> tuple[int, int]:
    """Move the focus at a random moment of each delivery; how many were tried, and cut by that.

    It ends after `rounds`, or earlier once `wanted` were cut.
    """
    phone, cut, longest = daemon.pair(), 0, 0.02
    for number in range(1, rounds + 1):
        text = texts()
        for window in windows:
            window.clear()
        focus(windows[0])
        assert say(phone, ARM, b'{"ms":15000}').outcome.success
        moving = gevent.spawn_later(RETRY_AFTER_S + random.random() * longest, focus, windows[1])
        after: list[tuple[str, ...]] = []
        first, said = tap(phone, text, lambda after=after: after.append(settled(windows)))  # type: ignore[misc]
        moving.join()
        typed = settled(windows)
        if first:
            longest = min(longest * 1.05, 2.0)
            continue
        longest = max(longest * 0.97, 0.01)
        if after[0] == ("", ""):  # it was refused before the first key, and may be typed by the retry
            continue
        cut += 1
        assert not said, "the phone must not say that it was sent"
        assert typed == after[0], "no character after the cut"
        assert sum(map(len, typed)) <= len(text), "and none twice"
        if cut == wanted:
            return number, cut
    return rounds, cut


def ascii_texts() -> str:
    return "".join(random.choices(LETTERS, k=random.choice((24, 64, 200))))


@contextlib.contextmanager
def on_sway(folder: Path) -> Iterator[tuple[Daemon, tuple[Recorder, Recorder], Callable[[Recorder], None]]]:
    with Sway() as sway, RecordingFoot(sway) as first, RecordingFoot(sway) as second:

        def focus(window: Recorder) -> None:
            sway.focus(window.window)

        env = {**sway.session, "SWAYSOCK": sway.env["SWAYSOCK"]}
        with Daemon(folder, env=env, desktop_backend="wlroots", **LONG) as daemon:
            yield daemon, (first, second), focus


@contextlib.contextmanager
def on_x11(folder: Path) -> Iterator[tuple[Daemon, tuple[Recorder, Recorder], Callable[[Recorder], None]]]:
    with XServer() as server, RecordingXterm(server) as first, RecordingXterm(server) as second:

        def focus(window: Recorder) -> None:
            server.focus(window.window)

        env = {"DISPLAY": server.display}
        with Daemon(folder, env=env, desktop_backend="x11", **LONG) as daemon:
            yield daemon, (first, second), focus


def cjk_texts() -> str:
    return "".join(map(chr, random.sample(CJK, 256)))


def test_what_was_cut_on_sway_is_not_typed_by_the_retry(tmp_path: Path) -> None:
    with on_sway(tmp_path / "d") as (daemon, windows, focus):
        cut_deliveries(daemon, windows, focus, lambda: "".join(random.choices(LETTERS, k=200)), 3)


@pytest.mark.long
def test_two_hundred_cut_deliveries_on_sway(tmp_path: Path) -> None:
    with on_sway(tmp_path / "d") as (daemon, windows, focus):
        tried, cut = cut_deliveries(daemon, windows, focus, ascii_texts, 4000, wanted=200)
    print(f"\n{cut} of {tried} were cut in the middle on sway")
    assert cut == 200


def test_what_was_cut_on_x11_is_not_typed_by_the_retry(tmp_path: Path) -> None:
    with on_x11(tmp_path / "d") as (daemon, windows, focus):
        cut_deliveries(daemon, windows, focus, cjk_texts, 1)


@pytest.mark.long
def test_two_hundred_cut_deliveries_on_x11(tmp_path: Path) -> None:
    with on_x11(tmp_path / "d") as (daemon, windows, focus):
        tried, cut = cut_deliveries(daemon, windows, focus, cjk_texts, 2000, wanted=200)
    print(f"\n{cut} of {tried} were cut in the middle on X11")
    assert cut == 200


# ---- lost replies ----


class LosingProxy:
    """Passes connections on. The one whose turn comes is ended at a random point of the exchange."""

    def __init__(self, daemon: Daemon) -> None:
        self._to = (daemon.host, daemon.port)
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self.lose: Callable[[socket.socket, socket.socket], None] | None = None

    def __enter__(self) -> LosingProxy:
        self._server.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.stop()

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    def _serve(self, phone: socket.socket, address: object) -> None:
        with phone, socket.create_connection(self._to) as daemon:
            request = b""
            while piece := phone.recv(65536):
                request += piece
                if len(request) > 20 and len(request) >= 13 + 2 + int.from_bytes(request[13:15], "big"):
                    break
            lose, self.lose = self.lose, None
            if lose is None:
                daemon.sendall(request)
                phone.sendall(_all_of(daemon))
                return
            daemon.sendall(request)
            lose(phone, daemon)


def _all_of(daemon: socket.socket) -> bytes:
    reply = b""
    while piece := daemon.recv(65536):
        reply += piece
    return reply


def _after_a_moment(phone: socket.socket, daemon: socket.socket) -> None:
    """Break the connection while the daemon looks, waits or types."""
    gevent.sleep(random.random() * 0.1)


def _without_its_reply(phone: socket.socket, daemon: socket.socket) -> None:
    _all_of(daemon)


def _with_half_of_its_reply(phone: socket.socket, daemon: socket.socket) -> None:
    reply = _all_of(daemon)
    phone.sendall(reply[: random.randrange(len(reply) - 1)])


def lost_replies(server: XServer, folder: Path, rounds: int, consume: bool) -> int:
    """Lose one reply of each tap; how many of the losses came after the text was typed."""
    typed_before = 0
    env = {"DISPLAY": server.display}
    settings = {**LONG, "arm_consume_on_inject": consume, "desktop_backend": "x11"}
    with (
        RecordingXterm(server) as window,
        Daemon(folder, env=env, **settings) as daemon,
        LosingProxy(daemon) as proxy,
    ):
        real = daemon.pair()
        phone = Profile("127.0.0.1", proxy.port, real.device_id, real.device_key, real.public)
        for number in range(rounds):
            window.clear()
            text = f"text {number} " + "".join(random.choices(LETTERS, k=20))
            assert say(real, ARM, b'{"ms":15000}').outcome.success
            lose = random.choice((_after_a_moment, _without_its_reply, _with_half_of_its_reply))
            gevent.spawn_later(RETRY_AFTER_S / 2, setattr, proxy, "lose", lose)  # after the approval
            seen: list[str] = []
            first, said = tap(phone, text, lambda seen=seen: seen.append(window.text()))  # type: ignore[misc]
            assert not first and said, (number, lose.__name__)
            wait_until(lambda text=text: len(window.text()) >= len(text), "the text")
            gevent.sleep(0.1)
            assert window.text() == text, (number, lose.__name__)
            typed_before += bool(seen[0])
    return typed_before


@pytest.fixture(scope="module")
def screen() -> Iterator[XServer]:
    with XServer() as running:
        yield running


@pytest.mark.parametrize("consume", [True, False], ids=["consuming", "keeping"])
def test_a_text_whose_reply_was_lost_is_typed_once(screen: XServer, tmp_path: Path, consume: bool) -> None:
    lost_replies(screen, tmp_path / "d", 3, consume)


@pytest.mark.long
@pytest.mark.parametrize("consume", [True, False], ids=["consuming", "keeping"])
def test_fifty_lost_replies(screen: XServer, tmp_path: Path, consume: bool) -> None:
    typed_before = lost_replies(screen, tmp_path / "d", 50, consume)
    print(f"\n{typed_before} of 50 had been typed when the reply was lost")
