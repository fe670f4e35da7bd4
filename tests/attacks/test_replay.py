"""Somebody recorded what a phone sent and sends it again: after a kill, with no ledger, in another time."""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.daemon import Daemon, wrong_clock
from support.x11 import Recorder, RecordingXterm, XServer

from novakey.phone import Profile, exchange
from novakey.secret import Secret
from novakey.wire import message
from novakey.wire.message import Message, MessageType
from novakey.wire.reply import Outcome

TYPED = "recorded-text"
SAID = ((MessageType.APPROVE, b""), (MessageType.ARM, b""), (MessageType.INJECT, TYPED.encode()))


@pytest.fixture(scope="module")
def screen() -> Iterator[XServer]:
    with XServer() as running:
        yield running


@pytest.fixture(scope="module")
def window(screen: XServer) -> Iterator[Recorder]:
    with RecordingXterm(screen) as recorder:
        yield recorder


class Recording:
    """A daemon that typed once, what the phone sent for it, and how often it was typed."""

    def __init__(self, folder: Path, screen: XServer, window: Recorder) -> None:
        self.folder, self.window = folder, window
        self.env = {"DISPLAY": screen.env["DISPLAY"]}
        window.clear()
        with self.start() as daemon:
            self.phone = daemon.pair()
            self.frames = [frame(self.phone, kind, text) for kind, text in SAID]
            outcomes = [exchange(self.phone, sent).outcome for sent in self.frames]
            assert outcomes == [Outcome.OK, Outcome.OK, Outcome.TYPED]
            window.wait_for(TYPED)
            self.ledger = (self.folder / "replay.ledger").read_bytes()
            daemon.kill()

    def start(self) -> Daemon:
        return Daemon(self.folder, env=self.env, desktop_backend="x11", max_requests_per_min=9999)

    def sent_again(self, daemon: Daemon) -> list[Outcome]:
        return [exchange(daemon.at(self.phone), sent).outcome for sent in self.frames]


def frame(phone: Profile, kind: MessageType, text: bytes = b"", timestamp: int | None = None) -> bytes:
    now = int(time.time()) if timestamp is None else timestamp
    opened = Message(now, kind, phone.device_id.encode(), Secret(text))
    return message.seal(opened, phone.public, phone.device_key.reveal(), secrets.token_bytes(24))


REPLAYED = [Outcome.REPLAY] * 3


@pytest.fixture
def recording(tmp_path: Path, screen: XServer, window: Recorder) -> Recording:
    return Recording(tmp_path / "d", screen, window)


def test_after_a_kill_each_is_refused_as_a_replay_and_nothing_is_typed(recording: Recording) -> None:
    with recording.start() as daemon:
        assert recording.sent_again(daemon) == REPLAYED
        assert "replay.ledger" not in daemon.log(), "nothing was lost"
        # What the phone sends now is taken.
        assert exchange(daemon.at(recording.phone), frame(recording.phone, MessageType.ARM)).outcome.success
    assert recording.window.wait_for(len(TYPED)) == TYPED


def test_with_the_clock_set_back_ten_minutes_each_is_a_replay(recording: Recording) -> None:
    recording.env |= wrong_clock("-600s")
    with recording.start() as daemon:
        reply = exchange(daemon.at(recording.phone), recording.frames[0])
        assert time.time() - reply.ts_unix > 500, "its clock is not set back"
        assert recording.sent_again(daemon) == REPLAYED
    assert recording.window.wait_for(len(TYPED)) == TYPED


def harm(name: str) -> Callable[[Path], None]:
    if name == "deleted":
        return lambda path: path.unlink()
    if name == "emptied":
        return lambda path: os.truncate(path, 0)
    return lambda path: os.truncate(path, int(name))


def test_without_a_whole_ledger_each_is_a_replay_and_the_log_says_why(recording: Recording) -> None:
    path = recording.folder / "replay.ledger"
    for name in ("deleted", "emptied", "63", "96", str(len(recording.ledger) - 1)):
        path.write_bytes(recording.ledger)
        harm(name)(path)
        with recording.start() as daemon:
            assert recording.sent_again(daemon) == REPLAYED, name
            daemon.wait_for_log("messages are refused for 1")
            assert "replay.ledger" in daemon.log()
            daemon.kill()
    assert recording.window.wait_for(len(TYPED)) == TYPED


@pytest.mark.long
def test_with_the_ledger_cut_at_every_byte_long(tmp_path: Path, screen: XServer, window: Recorder) -> None:
    """Every byte of what is written, and a sample of the empty rest; about ten minutes of restarts."""
    written, size = 64 + 32 * 3, 64 + 32 * 1024
    lengths = [*range(written), *random.Random(1).sample(range(written, size), 40)]
    until = 0.0
    for length in lengths:
        if time.monotonic() > until:  # a recording older than five minutes would be refused for its age
            recording = Recording(tmp_path / str(length), screen, window)
            until = time.monotonic() + 120
        path = recording.folder / "replay.ledger"
        path.write_bytes(recording.ledger)
        os.truncate(path, length)
        with recording.start() as daemon:
            assert recording.sent_again(daemon) == REPLAYED, length
            daemon.kill()
        assert window.text() == TYPED


def test_timestamps_at_the_edges(tmp_path: Path) -> None:
    """Two seconds of slack on the side that time itself moves."""
    with Daemon(tmp_path / "d", max_requests_per_min=1000) as daemon:
        phone = daemon.pair()

        def outcome(timestamp: int) -> Outcome:
            return exchange(phone, frame(phone, MessageType.ARM, timestamp=timestamp)).outcome

        for far in (2**63, 2**63 + 10**6, 2**64 - 1, 0):
            assert outcome(far) is Outcome.BAD_TIMESTAMP
        for _ in range(20):
            began = int(time.time())
            refused = outcome(began - 301), outcome(began + 123)
            taken = outcome(began - 297), outcome(began + 119)
            assert refused == (Outcome.BAD_TIMESTAMP,) * 2
            if int(time.time()) - began <= 2:
                assert taken == (Outcome.OK,) * 2
                return
        raise AssertionError("this machine is too slow to tell")
