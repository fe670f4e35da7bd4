"""A phone that gave up, and a message that lay too long: the daemon does nothing for them any more."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from support.daemon import Daemon, arm_and_approve, say
from support.x11 import RecordingXterm, XServer, wait_until

from novakey.net.stream import Stream
from novakey.phone import Profile
from novakey.secret import Secret
from novakey.wire import message, preface
from novakey.wire.message import Message, MessageType
from novakey.wire.reply import Outcome, decode

ARM, INJECT = MessageType.ARM, MessageType.INJECT


@pytest.fixture(scope="module")
def screen() -> Iterator[XServer]:
    with XServer() as running:
        yield running


def on(screen: XServer, folder: Path) -> Daemon:
    return Daemon(folder, env={"DISPLAY": screen.display}, desktop_backend="x11", notify=False)


def frame(phone: Profile, kind: MessageType, payload: bytes = b"", age: int = 0) -> bytes:
    opened = Message(int(time.time()) - age, kind, phone.device_id.encode(), Secret(payload))
    nonce = secrets.token_bytes(24)
    return preface.Route.MSG.value + message.seal(opened, phone.public, phone.device_key.reveal(), nonce)


def test_a_phone_that_hung_up_while_the_daemon_stood_still_gets_nothing_typed(
    screen: XServer, tmp_path: Path
) -> None:
    with on(screen, tmp_path / "d") as daemon, RecordingXterm(screen) as window:
        phone = daemon.pair()
        arm_and_approve(phone)
        os.kill(daemon.process.pid, signal.SIGSTOP)
        with daemon.connect() as sock:
            sock.sendall(frame(phone, INJECT, b"too late"))
        os.kill(daemon.process.pid, signal.SIGCONT)
        daemon.wait_for_log("the phone hung up before the first key")
        assert window.text() == ""
        assert say(phone, INJECT, b"in time").outcome is Outcome.TYPED, "and it costs nothing"
        assert window.wait_for("in time") == "in time"


@pytest.mark.parametrize(("age", "told"), [(13, Outcome.TYPED), (16, Outcome.BAD_TIMESTAMP)])
def test_a_secret_is_typed_for_fifteen_seconds(
    screen: XServer, tmp_path: Path, age: int, told: Outcome
) -> None:
    with on(screen, tmp_path / "d") as daemon, RecordingXterm(screen) as window:
        phone = daemon.pair()
        arm_and_approve(phone)
        reply = say(phone, INJECT, b"x", timestamp=int(time.time()) - age)
        assert reply.outcome is told, reply.msg
        if told is Outcome.TYPED:
            assert window.wait_for("x") == "x"
        else:
            assert window.text() == ""


@pytest.mark.long
@pytest.mark.parametrize("kind", [ARM, INJECT])
def test_a_message_that_lay_past_its_deadline_is_answered_and_does_nothing(
    screen: XServer, tmp_path: Path, kind: MessageType
) -> None:
    with on(screen, tmp_path / "d") as daemon, RecordingXterm(screen) as window:
        phone = daemon.pair()
        if kind is INJECT:
            say(phone, ARM, b'{"ms":100000}')
            arm_and_approve(phone)
        os.kill(daemon.process.pid, signal.SIGSTOP)
        with daemon.connect() as sock:
            sock.sendall(frame(phone, kind, b"x" if kind is INJECT else b""))
            gevent.sleep(11)
            os.kill(daemon.process.pid, signal.SIGCONT)
            reply = decode(sock.makefile("rb").readline())
        assert reply.outcome is Outcome.INTERNAL_ERROR and "waited too long" in reply.msg
        assert window.text() == ""
        if kind is ARM:
            assert say(phone, INJECT, b"x").outcome is Outcome.NOT_ARMED


def test_a_stream_tells_how_long_its_bytes_have_lain_and_whether_its_peer_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        stream = Stream(accepted)
        peer.sendall(b"one\n")
        gevent.sleep(0.3)
        stream.set_deadline(5)
        assert stream.line(10) == b"one\n" and 0.25 < stream.lain_s() < 5
        assert stream.is_open()
        peer.shutdown(socket.SHUT_WR)
        wait_until(lambda: not stream.is_open(), "the end of its side", 5)
        peer.close()
        assert not stream.is_open()
        stream.abort()
