"""The independent frames, sent to a real listener whose clock stands where theirs did."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.daemon import read_all
from support.handler import Heard

from novakey.config.settings import Settings
from novakey.daemon.server import Server
from novakey.desktop.base import NoDisplayError
from novakey.devices.store import Device, DeviceStore
from novakey.messages.approvals import Approvals
from novakey.messages.handler import Handler
from novakey.messages.inject import Injector
from novakey.messages.output import Output
from novakey.messages.permissions import Change, Permissions
from novakey.messages.replay import ReplayGuard
from novakey.messages.requests import SecretRequests
from novakey.pairing.clock import WindowClock
from novakey.pairing.handshake import Handshake
from novakey.pairing.model import Record
from novakey.pairing.state import Pairing
from novakey.secret import Secret
from novakey.system.clock import Clock, boottime
from novakey.wire import crypto, pair, preface, uri

VECTORS = Path(__file__).parents[1] / "vectors"
MESSAGES: dict[str, Any] = json.loads((VECTORS / "message-v3.json").read_text())
PAIRINGS: dict[str, Any] = json.loads((VECTORS / "pair-v1.json").read_text())
NOW = MESSAGES["now"]
CUTS = ("whole", "byte by byte", "one byte more")


def no_display() -> Any:
    raise NoDisplayError("none in this test")


class Listener:
    """A server in this process, with the vectors' keys and their time."""

    def __init__(self, folder: Path, paired: bool) -> None:
        keys = MESSAGES["server"]
        server = crypto.ExpandedKey(
            base64.b64decode(keys["public_b64"]), base64.b64decode(keys["secret_expanded_b64"])
        )
        rows = MESSAGES["devices"] if paired else []
        devices = {row["id"]: Device(row["id"], Secret(bytes.fromhex(row["key_hex"]))) for row in rows}
        settings = Settings(listen_addr="127.0.0.1:0")
        self.store = DeviceStore(folder / "devices.json", Secret(bytes(32)), devices, None)
        self.pairing = Pairing(Record(), paired, 5, lambda record: None)
        handshake = Handshake(
            settings,
            self.pairing,
            self.store,
            server,
            Heard(),
            WindowClock(Clock(lambda: NOW, boottime)),
        )
        permissions = Permissions()
        injector = Injector(
            settings,
            self.store,
            Output(settings, no_display),
            permissions,
            Approvals(settings, permissions),
            SecretRequests(permissions),
        )
        handler = Handler(settings, self.store, server, injector, ReplayGuard(), Clock(lambda: NOW))
        self.server = Server(settings.listen_addr, settings.max_payload_len, handshake, handler)

    def __enter__(self) -> Listener:
        self.address = self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()

    def send(self, data: bytes, cut: str) -> bytes:
        if cut == "one byte more":
            data += b"\0"
        with socket.create_connection(self.address, timeout=10) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                for piece in [data[i : i + 1] for i in range(len(data))] if cut == "byte by byte" else [data]:
                    sock.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it was answered before its end
            sock.shutdown(socket.SHUT_WR)
            return read_all(sock)


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    with Listener(tmp_path, paired=True) as running:
        yield running


EXPECTED_OF_TYPE = {1: "not_armed", 2: "ok", 3: "ok", 4: "ok"}  # no phone has armed: an inject stops there


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("vector", MESSAGES["accept"], ids=lambda v: v["name"])
def test_an_accepted_frame_gets_past_everything_that_the_wire_decides(
    listener: Listener, vector: dict[str, Any], cut: str
) -> None:
    frame = preface.Route.MSG.value + base64.b64decode(vector["frame_b64"])
    reply = json.loads(listener.send(frame, cut))
    assert reply["reason"] == EXPECTED_OF_TYPE[vector["type"]]
    assert json.loads(listener.send(frame, "whole"))["reason"] == "replay"


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("vector", MESSAGES["reject"], ids=lambda v: v["name"])
def test_a_rejected_frame_gets_its_documented_reason(
    listener: Listener, vector: dict[str, Any], cut: str
) -> None:
    frame = base64.b64decode(vector["frame_b64"])
    handler = listener.server.handler
    for event in (Change.ARMED, Change.APPROVED_BY_OWNER):
        for device in MESSAGES["devices"]:  # so that a refused text is refused for itself
            handler.injector.permissions.apply(event, device["id"], handler.clock.monotonic_ms(), 60_000)
    reply = json.loads(listener.send(preface.Route.MSG.value + frame, cut))
    assert reply["reason"] == vector["reason"]
    assert reply["status"] == {"bad_request": 4, "bad_timestamp": 5, "crypto_fail": 8}[vector["reason"]]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("vector", PAIRINGS["registrations"], ids=lambda v: v["device_id"] or "empty")
def test_a_registration_pairs_and_its_acknowledgement_opens(
    tmp_path: Path, vector: dict[str, Any], cut: str
) -> None:
    token = uri.decode_token(PAIRINGS["token_b64url"])
    frame = base64.b64decode(vector["register_frame_b64"])
    with Listener(tmp_path, paired=False) as listener:
        listener.pairing.open_window(token, NOW, 600, 3)
        answer = listener.send(preface.Route.PAIR.value + pair.encode_hello(token) + frame, cut)
        line, _, acknowledgement = answer.partition(b"\n")
        assert json.loads(line)["fp16_hex"] == PAIRINGS["fp16_hex"]
        opened = pair.decode_acknowledgement(
            acknowledgement, frame[2:1090], bytes.fromhex(vector["aead_key_hex"])
        )
        (device,) = listener.store
        assert opened.device_id == device.id
        if vector["device_id"]:
            assert device.id == vector["device_id"]
            assert device.key.reveal().hex() == vector["device_key_hex"]
        else:
            assert opened.device_key == device.key and device.id.startswith("ios-")
