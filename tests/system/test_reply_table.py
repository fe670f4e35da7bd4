"""Every row of the reply table, from a real daemon over a socket.

The rows that need a screen are in tests/system/test_typing_end_to_end.py.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.daemon import Daemon, arm_and_approve, ask, random_key, say

from novakey.phone import Profile, exchange
from novakey.secret import Secret
from novakey.wire import message, preface
from novakey.wire.message import Message, MessageType
from novakey.wire.reply import Outcome, Reply

ARM, DISARM, APPROVE, INJECT = MessageType.ARM, MessageType.DISARM, MessageType.APPROVE, MessageType.INJECT


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    settings = {"max_requests_per_min": 1000, "arm_duration_ms": 9000, "unauthenticated_max_per_min": 100000}
    with Daemon(tmp_path_factory.mktemp("reply") / "d", **settings) as running:
        yield running


@pytest.fixture(scope="module")
def phone(daemon: Daemon) -> Profile:
    return daemon.pair()


@pytest.fixture
def disarmed(phone: Profile) -> Profile:
    say(phone, DISARM)
    return phone


def frame_of(phone: Profile, kind: MessageType, payload: bytes = b"", **changes: object) -> bytes:
    now = changes.pop("timestamp", int(time.time()))
    opened = Message(now, kind, phone.device_id.encode(), Secret(payload))
    return message.seal(opened, phone.public, phone.device_key.reveal(), bytes(24 - 8) + _count())


def _count(state: list[int] = [0]) -> bytes:  # noqa: B006
    state[0] += 1
    return (time.time_ns() + state[0]).to_bytes(8, "big")


def row(reply: Reply) -> tuple[Outcome, str]:
    return reply.outcome, reply.stage


def test_every_reply_is_one_line_of_the_documented_members(daemon: Daemon, phone: Profile) -> None:
    line = ask(daemon.connect(), preface.Route.MSG.value + frame_of(phone, ARM))
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    members = json.loads(line)
    assert list(members) == ["v", "status", "stage", "reason", "msg", "ts_unix", "req_id"]
    assert members["v"] == 1 and members["status"] == 0
    assert abs(members["ts_unix"] - time.time()) < 30
    again = json.loads(ask(daemon.connect(), preface.Route.MSG.value + frame_of(phone, ARM)))
    assert again["req_id"] > members["req_id"]


def test_strangers_cannot_count_what_the_owner_sends_between_two_replies(
    daemon: Daemon, phone: Profile
) -> None:
    frame = preface.Route.MSG.value + frame_of(replace(phone, device_key=random_key()), ARM)
    numbers = []
    for _ in range(4):
        stranger = json.loads(ask(daemon.connect(), frame))
        assert stranger["reason"] == "crypto_fail"
        numbers.append((stranger["req_id"], stranger["ts_unix"]))
        say(phone, ARM)
    gaps = {after[0] - before[0] for before, after in itertools.pairwise(numbers)}
    assert len(gaps) == 3 and not gaps & set(range(1, 10))
    assert all(abs((number >> 21) - at) <= 5 for number, at in numbers)


def test_ok_for_arm_disarm_and_approve(phone: Profile) -> None:
    assert row(say(phone, ARM)) == (Outcome.OK, "arm")
    assert row(say(phone, DISARM)) == (Outcome.OK, "disarm")
    assert row(say(phone, APPROVE)) == (Outcome.OK, "approve")
    assert row(say(phone, APPROVE, b"{}")) == (Outcome.OK, "approve")


@pytest.mark.parametrize(
    ("payload", "granted"),
    [(b"", 9000), (b'{"ms":1}', 1), (b'{"ms":120000}', 120000), (b'{"ms":120001}', 120000)],
)
def test_arm_says_what_was_granted(disarmed: Profile, payload: bytes, granted: int) -> None:
    reply = say(disarmed, ARM, payload)
    assert (reply.outcome, reply.msg) == (Outcome.OK, f"armed_for_ms={granted}")


@pytest.mark.parametrize(
    "payload",
    [
        *(b"{}", b'{"ms":0}', b'{"ms":-1}', b'{"ms":1.0}', b'{"ms":true}', b'{"ms":"1"}', b"x", b"[1]", b"5"),
        *(b'{"ms":1,"ms":2}', b'{"ms":' + b"9" * 300 + b"x}", b"\xff", b'{"ms":null}', b"[" * 1500),
    ],
)
def test_arm_with_anything_else_is_a_bad_request_and_arms_nothing(disarmed: Profile, payload: bytes) -> None:
    assert row(say(disarmed, ARM, payload)) == (Outcome.BAD_REQUEST, "arm")
    assert say(disarmed, INJECT, b"x").outcome is Outcome.NOT_ARMED


def test_not_armed_then_needs_approve_then_the_display(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        phone = daemon.pair()
        assert row(say(phone, INJECT, b"x")) == (Outcome.NOT_ARMED, "inject")
        say(phone, ARM)
        assert row(say(phone, INJECT, b"x")) == (Outcome.NEEDS_APPROVE, "inject")
        say(phone, APPROVE)
        reply = say(phone, INJECT, b"x")
        assert row(reply) == (Outcome.INTERNAL_ERROR, "inject")
        assert "no usable display" in reply.msg


def test_a_send_that_fails_to_inject_leaves_arming_and_approval_as_they_were(disarmed: Profile) -> None:
    arm_and_approve(disarmed)
    for _ in range(3):
        assert say(disarmed, INJECT, b"x").outcome is Outcome.INTERNAL_ERROR, "still past both gates"


def test_a_send_refused_by_a_later_gate_leaves_the_earlier_ones(disarmed: Profile) -> None:
    arm_and_approve(disarmed)
    for unsafe in (b"", b"a\nb", b"\x1b[2J", b"\xff", "\u2028".encode(), b"a" * 257):
        assert row(say(disarmed, INJECT, unsafe)) == (Outcome.BAD_REQUEST, "inject")
    assert say(disarmed, INJECT, b"x").outcome is Outcome.INTERNAL_ERROR


def test_arming_ends_by_itself(disarmed: Profile) -> None:
    say(disarmed, ARM, b'{"ms":1}')
    time.sleep(0.05)
    assert say(disarmed, INJECT, b"x").outcome is Outcome.NOT_ARMED


def test_replay(disarmed: Profile) -> None:
    frame = frame_of(disarmed, ARM)
    assert row(exchange(disarmed, frame)) == (Outcome.OK, "arm")
    assert row(exchange(disarmed, frame)) == (Outcome.REPLAY, "arm")


@pytest.mark.parametrize("offset", [-310, 130, 2**63, 2**63 + 10**6])
def test_bad_timestamp(phone: Profile, offset: int) -> None:
    timestamp = (int(time.time()) if abs(offset) < 1000 else 0) + offset
    assert row(exchange(phone, frame_of(phone, INJECT, b"x", timestamp=timestamp))) == (
        Outcome.BAD_TIMESTAMP,
        "inject",
    )


def test_crypto_fail_says_the_same_for_every_cause(phone: Profile) -> None:
    frame = bytearray(frame_of(phone, ARM))
    frame[-1] ^= 1
    stranger = replace(phone, device_id="phone-2")
    wrong_key = replace(phone, device_key=random_key())
    replies = [exchange(phone, bytes(frame)), say(stranger, ARM), say(wrong_key, ARM)]
    assert {row(reply) for reply in replies} == {(Outcome.CRYPTO_FAIL, "msg")}
    assert len({reply.msg for reply in replies}) == 1


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"\0\0", b"\x10\x01" + bytes(4097), b"\xff\xff", b"\0\x05\3\1\0\4\x40", b"\0\x09abc"]
)
def test_malformed_frames_get_one_bad_request_line(daemon: Daemon, phone: Profile, data: bytes) -> None:
    members = json.loads(ask(daemon.connect(), preface.Route.MSG.value + data, finish=True))
    assert (members["status"], members["reason"], members["stage"]) == (4, "bad_request", "msg")


def test_bytes_behind_the_frame_change_nothing(daemon: Daemon, phone: Profile) -> None:
    frame = preface.Route.MSG.value + frame_of(phone, ARM) + b"\0" * 5000
    assert json.loads(ask(daemon.connect(), frame))["reason"] == "ok"


def test_not_paired(tmp_path: Path, phone: Profile) -> None:
    with Daemon(tmp_path / "d") as daemon:
        assert row(say(daemon.at(phone), ARM)) == (Outcome.NOT_PAIRED, "msg")


def test_rate_limit_of_a_device_does_not_use_up_the_nonce(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d", max_requests_per_min=3) as daemon:
        phone = daemon.pair()
        assert [say(phone, ARM).outcome for _ in range(3)] == [Outcome.OK] * 3
        frame = frame_of(phone, ARM)
        for _ in range(2):
            assert row(exchange(phone, frame)) == (Outcome.RATE_LIMIT, "arm")


def test_failures_of_an_address_are_limited_and_others_are_served(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d", unauthenticated_max_per_min=5) as daemon:
        phone = daemon.pair()
        stranger = replace(phone, device_key=random_key())
        bad = preface.Route.MSG.value + frame_of(stranger, ARM)
        reasons = [json.loads(ask(daemon.connect("127.0.0.9"), bad))["reason"] for _ in range(6)]
        assert reasons == ["crypto_fail"] * 5 + ["rate_limit"]
        assert say(phone, ARM).outcome is Outcome.OK


def test_approve_while_two_man_is_off_succeeds_and_opens_nothing(
    tmp_path: Path,
) -> None:
    with Daemon(tmp_path / "d", two_man_enabled=False) as daemon:
        phone = daemon.pair()
        approved = say(phone, APPROVE)
        assert row(approved) == (Outcome.OK, "approve") and "opened nothing" in approved.msg
        assert say(phone, INJECT, b"x").outcome is Outcome.NOT_ARMED
        say(phone, ARM)
        assert say(phone, INJECT, b"x").outcome is Outcome.INTERNAL_ERROR


def test_without_a_display_the_daemon_says_so_and_runs_on(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d", desktop_backend="auto") as daemon:
        phone = daemon.pair()
        arm_and_approve(phone)
        reply = say(phone, INJECT, b"x")
        assert (reply.outcome, reply.outcome.status) == (Outcome.INTERNAL_ERROR, 0x7F)
        assert "DISPLAY" in reply.msg
        assert say(phone, ARM).outcome is Outcome.OK
