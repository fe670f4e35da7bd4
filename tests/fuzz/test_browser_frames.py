"""Frames that no extension sends, into the host of the browser: none does more than end something."""

from __future__ import annotations

import json
import os
import random
import struct
from pathlib import Path

import gevent
import pytest

from novakey.pull.browser import Host
from novakey.system.paths import Paths
from novakey.wire import Malformed

SEEDS = [
    b'{"type":"request","id":"1","origin":"https://example.org"}',
    b'{"type":"cancel","id":"1"}',
    b'{"type":"outcome","id":"1","outcome":"filled"}',
]
PIECES = [b'"', b"{", b"[", b"\\u0000", b"null", b',"id":"2"', b"\xff", b"1e999", b"}", b'"type":"cancel"']
VALUES: list[object] = [
    "request",
    "cancel",
    "outcome",
    "fill",
    "1",
    "2",
    "",
    None,
    1,
    True,
    [],
    {},
    [[]],
    "a" * 400,
]
NAMES = ["type", "id", "origin", "outcome", "secret"]
REASONS = {"bad_request", "cancelled", "daemon_gone", "busy"}


class Frames:
    """A pipe that holds bytes, and takes down what the host says."""

    def __init__(self, data: bytes) -> None:
        self.left = memoryview(data)
        self.said: list[bytes] = []

    def read(self, count: int) -> bytes:
        gevent.sleep(0)  # as a browser's pipe does: the requests run
        read, self.left = self.left[:count], self.left[count:]
        return bytes(read)

    def write(self, data: memoryview) -> None:
        self.said.append(bytes(data))


def frame(chance: random.Random) -> bytes:
    """Return one frame: cut and spliced bytes, or an object of wrong members, rarely with a wrong length."""
    if chance.random() < 0.5:
        members = {name: chance.choice(VALUES) for name in chance.sample(NAMES, chance.randint(0, 4))}
        data = json.dumps({"id": "1", **members}).encode()
    else:
        data = chance.choice(SEEDS)
    for _ in range(chance.choice((0, 0, 0, 1, 3))):
        at = chance.randrange(len(data) + 1)
        data = data[:at] + chance.choice(PIECES) + data[at + chance.randint(0, 5) :]
    length = len(data) if chance.random() > 0.01 else chance.randrange(1 << 32)
    return struct.pack("=I", length) + data


def campaign(frames: int, seed: int) -> dict[str, int]:
    """Feed so many frames, a new host after each that ended one; how often each reason was told."""
    chance, told = random.Random(seed), dict.fromkeys(REASONS, 0)
    paths = Paths.under(Path("/nonexistent") / "novakey")
    while frames > 0:
        data = [frame(chance) for _ in range(50)]
        pipe = Frames(b"".join(data))
        while pipe.left:
            before = len(pipe.left)
            try:
                Host(paths, pipe).serve()
            except Malformed:
                pass
            assert len(pipe.left) < before
            gevent.sleep(0)
        frames -= len(data)
        for said in pipe.said:
            (count,) = struct.unpack("=I", said[:4])
            members = json.loads(said[4:])
            assert count == len(said) - 4 and set(members) == {"type", "id", "reason", "message"}
            assert members["type"] == "ended"
            told[members["reason"]] += 1
    return told


def test_a_thousand_frames_end_requests_and_hosts_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    told = campaign(1000, seed=19)
    assert told["bad_request"] > 50 and told["cancelled"] + told["daemon_gone"] > 0
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.long
def test_a_million_frames_end_requests_and_hosts_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    told = campaign(1_000_000, seed=int.from_bytes(os.urandom(4)))
    assert told["bad_request"] > 50_000
    assert "Traceback" not in capfd.readouterr().err
