"""A frame that is sent again exactly: no cryptography, and the answer that it had."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.handler import handler

from novakey.config.settings import Settings
from novakey.devices.store import Device, DeviceStore
from novakey.messages.handler import Handler
from novakey.messages.replay import MAX_REPEATS, Repeats
from novakey.secret import Secret
from novakey.system.clock import Clock
from novakey.wire import crypto, message
from novakey.wire.message import Message, MessageType
from novakey.wire.reply import Outcome


class Counting:
    """The server's key, which counts how often it is used."""

    def __init__(self) -> None:
        self._key = crypto.ExpandedKey.generate()
        self.public = self._key.public
        self.used = 0

    def decapsulate(self, ciphertext: bytes) -> bytearray:
        self.used += 1
        return self._key.decapsulate(ciphertext)

    @contextmanager
    def unused(self) -> Iterator[None]:
        before = self.used
        yield
        assert self.used == before


class Scene:
    """A handler with two phones."""

    def __init__(self, folder: Path) -> None:
        self.server = Counting()
        self.phones = {name: Device(name, Secret(secrets.token_bytes(32))) for name in ("anna", "berta")}
        self.store = DeviceStore(folder / "devices.json", Secret(secrets.token_bytes(32)), self.phones, None)
        self.handler: Handler = handler(Settings(), self.store, server=self.server)

    def frame(self, age: int = 0) -> bytes:
        arm = Message(int(time.time()) - age, MessageType.ARM, b"anna", Secret(b""))
        key = self.phones["anna"].key.reveal()
        return message.seal(arm, self.server.public, key, secrets.token_bytes(24))[message.LENGTH_SIZE :]

    def answer(self, frame: bytes) -> tuple[Outcome, str]:
        reply = self.handler.answer(frame, "192.0.2.1", 1)
        return reply.outcome, reply.stage


@pytest.mark.parametrize(
    ("age", "first", "again"),
    [(0, Outcome.OK, Outcome.REPLAY), (1000, Outcome.BAD_TIMESTAMP, Outcome.BAD_TIMESTAMP)],
)
def test_a_recording_costs_nothing_and_does_not_tell_whether_its_phone_was_revoked(
    tmp_path: Path, age: int, first: Outcome, again: Outcome
) -> None:
    scene = Scene(tmp_path)
    frame = scene.frame(age)
    assert scene.answer(frame) == (first, "arm")
    with scene.server.unused():
        for _ in range(1000):
            assert scene.answer(frame) == (again, "arm")
        scene.store.remove(scene.phones["anna"])
        assert scene.answer(frame) == (again, "arm")
    assert scene.answer(scene.frame()) == (Outcome.CRYPTO_FAIL, "msg")


def test_one_changed_byte_is_another_frame(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    frame = scene.frame()
    assert scene.answer(frame)[0] is Outcome.OK
    assert scene.answer(frame[:-1] + bytes([frame[-1] ^ 1])) == (Outcome.CRYPTO_FAIL, "msg")


def test_a_frame_from_the_future_may_act_later(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    frame, now = scene.frame(age=-200), time.time()
    assert scene.answer(frame)[0] is Outcome.BAD_TIMESTAMP
    scene.handler.clock = Clock(lambda: now + 150)
    assert scene.answer(frame)[0] is Outcome.OK


def test_what_is_remembered_is_bounded() -> None:
    repeats: Repeats[int] = Repeats()
    for number in range(MAX_REPEATS + 1):
        repeats.remember(b"%d" % number, number)
    assert repeats.get(b"0") is None
    assert repeats.get(b"1") == 1
