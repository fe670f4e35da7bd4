"""Frames made by an independent implementation give their documented result."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from novakey.secret import Secret
from novakey.wire import Malformed, NotAuthenticated, crypto, message, pair, uri

KEPT = Path(__file__).parents[2] / "vectors"


def vectors(name: str) -> dict[str, Any]:
    return json.loads((KEPT / name).read_text())


MESSAGES = vectors("message-v3.json")
PAIRINGS = vectors("pair-v1.json")


def server_key(document: dict[str, Any]) -> crypto.ExpandedKey:
    server = document["server"]
    return crypto.ExpandedKey(
        base64.b64decode(server["public_b64"]), base64.b64decode(server["secret_expanded_b64"])
    )


def open_frame(frame: bytes) -> message.Message:
    """Return what the daemon does with a frame, without the socket."""
    length = message.frame_length(frame[: message.LENGTH_SIZE], 4096)
    envelope = message.split(frame[message.LENGTH_SIZE : message.LENGTH_SIZE + length])
    keys = {d["id"].encode(): bytes.fromhex(d["key_hex"]) for d in MESSAGES["devices"]}
    shared = server_key(MESSAGES).decapsulate(envelope.ciphertext)
    return message.unseal(envelope, shared, keys.get(envelope.device_id, bytes(32)))


def test_the_vectors_are_as_they_came() -> None:
    """What an independent implementation made is never bent to fit ours."""
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in KEPT.iterdir()}
    assert digests == {
        "message-v3.json": "40794a4b8bc74155f1df43d527425e93cdb6d335705d8aeb1f599772fc13fda2",
        "pair-v1.json": "23723f2bd9adaf5dfa3f80a00bc9ac0d58d69af1991dd3109f5eeb09596767a0",
    }


@pytest.mark.parametrize("vector", MESSAGES["accept"], ids=lambda v: v["name"])
def test_accepted_message_opens_to_its_content_and_encodes_back(vector: dict[str, Any]) -> None:
    frame = base64.b64decode(vector["frame_b64"])
    opened = open_frame(frame)
    assert opened.device_id == vector["device_id"].encode()
    assert (opened.timestamp, opened.type) == (vector["timestamp"], vector["type"])
    assert opened.payload.reveal() == bytes.fromhex(vector["payload_hex"])
    assert message.frame(message.split(frame[2:]).encode()) == frame
    assert message.parse_plaintext(opened.encode()) == opened


@pytest.mark.parametrize("vector", MESSAGES["accept"], ids=lambda v: v["name"])
def test_one_byte_more_inside_the_frame_does_not_authenticate(vector: dict[str, Any]) -> None:
    frame = message.frame(base64.b64decode(vector["frame_b64"])[2:] + b"\0")
    with pytest.raises(NotAuthenticated):
        open_frame(frame)


WIRE_REASONS = {"bad_request": Malformed, "crypto_fail": NotAuthenticated}
# fresh and UTF-8 are the handler's business: tests/unit/messages proves those rows over a socket
HANDLER_ROWS = ("bad_timestamp", "inject payload is not UTF-8")


@pytest.mark.parametrize(
    "vector",
    [v for v in MESSAGES["reject"] if v["reason"] not in HANDLER_ROWS and v["name"] not in HANDLER_ROWS],
    ids=lambda v: v["name"],
)
def test_rejected_message_fails_with_its_reason(vector: dict[str, Any]) -> None:
    with pytest.raises(WIRE_REASONS[vector["reason"]]):
        open_frame(base64.b64decode(vector["frame_b64"]))


@pytest.mark.parametrize("vector", PAIRINGS["registrations"], ids=lambda v: v["device_id"] or "empty")
@pytest.mark.parametrize("cut", ["whole", "byte by byte", "one byte more", "byte by byte, one more"])
def test_registration_opens_however_it_is_cut(vector: dict[str, Any], cut: str) -> None:
    frame = base64.b64decode(vector["register_frame_b64"])
    if cut.endswith("more"):
        frame += b"\0"
    reader = pair.RegisterReader(server_key(PAIRINGS), uri.decode_token(PAIRINGS["token_b64url"]))
    pieces = [frame[i : i + 1] for i in range(len(frame))] if cut.startswith("byte") else [frame]
    registration = None
    for piece in pieces:
        registration = registration or reader.feed(piece)
    assert registration is not None
    assert (registration.device_id or "") == vector["device_id"]
    key = registration.device_key
    assert (key.reveal().hex() if key else "") == vector["device_key_hex"]
    assert reader._key is not None and reader._key.hex() == vector["aead_key_hex"]


@pytest.mark.parametrize("vector", PAIRINGS["registrations"], ids=lambda v: v["device_id"] or "empty")
def test_acknowledgement_of_the_other_implementation_opens(vector: dict[str, Any]) -> None:
    frame = base64.b64decode(vector["register_frame_b64"])
    ack = base64.b64decode(vector["ack_b64"])
    opened = pair.decode_acknowledgement(ack, frame[2:1090], bytes.fromhex(vector["aead_key_hex"]))
    assert opened.device_id == vector["ack_device_id"]


def test_our_acknowledgement_opens_to_the_same_content_as_the_other_one() -> None:
    vector = PAIRINGS["registrations"][0]
    frame = base64.b64decode(vector["register_frame_b64"])
    reader = pair.RegisterReader(server_key(PAIRINGS), uri.decode_token(PAIRINGS["token_b64url"]))
    assert reader.feed(frame) is not None
    theirs = base64.b64decode(vector["ack_b64"])
    ours = reader.acknowledge(theirs[: crypto.NONCE_SIZE], vector["ack_device_id"], None)
    opened = [
        pair.decode_acknowledgement(ack, frame[2:1090], bytes.fromhex(vector["aead_key_hex"]))
        for ack in (theirs, ours)
    ]
    assert opened[0] == opened[1]


def test_fingerprint_and_uri_are_those_of_the_example() -> None:
    public = base64.b64decode(PAIRINGS["server"]["public_b64"])
    assert crypto.fingerprint(public) == PAIRINGS["fp16_hex"]
    parsed = uri.decode(PAIRINGS["uri_example"])
    assert parsed.encode() == PAIRINGS["uri_example"]
    assert (parsed.host, parsed.port, parsed.expires) == ("192.0.2.7", 60768, 1800000000)
    assert parsed.token == Secret(bytes(range(16)))
