"""What a stranger learns from replies: nothing about which devices are paired, by word or by time."""

from __future__ import annotations

import json
import random
import secrets
import time
from pathlib import Path

import pytest
from support.daemon import Daemon, random_key, read_all
from support.handler import handler

from novakey.config.settings import Settings
from novakey.devices.store import Device, DeviceStore
from novakey.messages.handler import Handler
from novakey.phone import Profile
from novakey.secret import Secret
from novakey.wire import crypto, message, preface
from novakey.wire.message import Message, MessageType
from novakey.wire.reply import Outcome, Reply

KNOWN, UNKNOWN = "device-known-1", "device-other-2"  # of one length


def frame(device_id: str, key: Secret, public: bytes) -> bytes:
    opened = Message(int(time.time()), MessageType.ARM, device_id.encode(), Secret(b""))
    return message.seal(opened, public, key.reveal(), secrets.token_bytes(24))


@pytest.fixture
def subject() -> Handler:
    settings = Settings(unauthenticated_max_per_min=100_000, max_requests_per_min=100_000)
    store = DeviceStore(Path("/nonexistent"), random_key(), {KNOWN: Device(KNOWN, random_key())}, None)
    return handler(settings, store)


def said(reply: Reply) -> tuple[Outcome, str, str]:
    return reply.outcome, reply.stage, reply.msg


def test_every_changed_bit_gets_the_reply_that_an_unknown_device_gets(subject: Handler) -> None:
    """Where the layout breaks, the reply is that of the layout, for both."""
    device = subject.devices.get(KNOWN)
    assert device is not None
    genuine = frame(KNOWN, device.key, subject.server.public)[2:]
    stranger = frame(UNKNOWN, random_key(), subject.server.public)[2:]
    assert len(genuine) == len(stranger)
    unauthentic = said(subject.answer(stranger, "s", 1))
    assert unauthentic[0] is Outcome.CRYPTO_FAIL
    id_at, id_end = 3, 3 + len(KNOWN)
    head = id_end + 2
    kem = range(head, head + crypto.CIPHERTEXT_SIZE)
    for bit in range(8 * len(genuine)):
        at, flip = bit // 8, 1 << bit % 8
        if at in kem and at % 8 != bit % 8:
            continue  # of the ciphertext one bit a byte: each costs a decapsulation
        changed = genuine[:at] + bytes([genuine[at] ^ flip]) + genuine[at + 1 :]
        reply = said(subject.answer(changed, "k", 1))
        if at >= head:
            assert reply == unauthentic, bit
        else:
            other = stranger[:at] + bytes([stranger[at] ^ flip]) + stranger[at + 1 :]
            expected = said(subject.answer(other, "u", 1))
            assert reply[0] in (Outcome.BAD_REQUEST, Outcome.CRYPTO_FAIL)
            assert reply == expected or id_at <= at < id_end, bit
    assert said(subject.answer(genuine, "k", 1))[0] is Outcome.OK, "no failed try used anything up"


def test_unknown_device_and_wrong_key_are_one_line_but_for_number_and_time(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        phone = daemon.pair(KNOWN)
        lines = []
        for device_id in (KNOWN, UNKNOWN, "x", "y" * 255):
            with daemon.connect() as sock:
                sock.sendall(preface.Route.MSG.value + frame(device_id, random_key(), phone.public))
                members = json.loads(read_all(sock))
            assert members.pop("req_id") > 0
            assert abs(members.pop("ts_unix") - time.time()) < 60
            lines.append(members)
        assert lines.count(lines[0]) == len(lines)
        assert lines[0]["reason"] == "crypto_fail"


def timings(daemon: Daemon, phone: Profile, count: int) -> list[tuple[bool, float]]:
    """`count` interleaved requests: whether the id was a known one, and the seconds until the reply."""
    kinds = [True, False] * (count // 2)
    random.shuffle(kinds)
    keys, found = {True: random_key(), False: random_key()}, []
    for known in kinds:
        data = preface.Route.MSG.value + frame(KNOWN if known else UNKNOWN, keys[known], phone.public)
        with daemon.connect() as sock:
            time.sleep(0.001)  # the daemon waits for the first line by now
            began = time.perf_counter()
            sock.sendall(data)
            sock.recv(4096)
            found.append((known, time.perf_counter() - began))
    return found


def right(samples: list[tuple[bool, float]]) -> float:
    """How often the best single threshold, learned on one half, is right about the other half."""
    learn, test = samples[::2], samples[1::2]

    def share(threshold: float, above: bool, of: list[tuple[bool, float]]) -> float:
        return sum(known == ((seconds > threshold) == above) for known, seconds in of) / len(of)

    thresholds = sorted(seconds for _, seconds in learn)[:: max(1, len(learn) // 200)]
    best = max(((t, above) for t in thresholds for above in (True, False)), key=lambda c: share(*c, learn))
    return share(*best, test)


def classify(folder: Path, count: int) -> float:
    with Daemon(folder, unauthenticated_max_per_min=100_000) as daemon:
        phone = daemon.pair(KNOWN)
        timings(daemon, phone, 50)
        return right(timings(daemon, phone, count))


def test_the_classifier_would_notice_a_difference() -> None:
    noise = [random.gauss(1.0, 0.1) for _ in range(2000)]
    shuffled = [(random.random() < 0.5, s) for s in noise]
    assert right(shuffled) < 0.6
    assert right([(known, s + 0.1 * known) for known, s in shuffled]) > 0.6


def test_time_does_not_tell_a_known_id_from_an_unknown_one(tmp_path: Path) -> None:
    """A few hundred only: chance alone is right up to 60 % of the time there."""
    assert classify(tmp_path / "d", 600) < 0.67


@pytest.mark.long
def test_time_does_not_tell_a_known_id_from_an_unknown_one_long(tmp_path: Path) -> None:
    shares = [classify(tmp_path / f"d{n}", 2000) for n in range(3)]
    print([f"{share:.1%}" for share in shares])
    assert max(shares) <= 0.6
