"""One message, protocol v3.

    frame   u16 length | payload
    payload version 3 | outer type 1 | id length u8 | device id | u16 1088 | ciphertext   <- header
            nonce 24 | sealed
    sealed  timestamp u64 (unix seconds) | inner frame
    inner   version 1 | type u8 | u16 id length | u32 payload length | device id | payload

Integers are big-endian. The header is the associated data, so no bit of it can
be changed; lengths must fit exactly, so no message has a second encoding.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from novakey.secret import Secret, erase
from novakey.wire import Malformed, NotAuthenticated, crypto

OUTER_VERSION = 3
OUTER_TYPE = 1
INNER_VERSION = 1
MAX_DEVICE_ID = 255  # the length is one byte on the wire
LENGTH_SIZE = 2

_KEM_LENGTH = struct.pack(">H", crypto.CIPHERTEXT_SIZE)
_INNER_HEAD = struct.Struct(">BBHI")
_TIMESTAMP = struct.Struct(">Q")


class MessageType(IntEnum):
    """What the phone asks for; the number stands in the inner frame."""

    INJECT = 1
    APPROVE = 2
    ARM = 3
    DISARM = 4


class Envelope(NamedTuple):
    """A payload taken apart but not opened: nothing in it is to be trusted yet."""

    device_id: bytes
    ciphertext: bytes
    nonce: bytes
    sealed: bytes

    @property
    def header(self) -> bytes:
        """The bytes before the nonce, which are the associated data."""
        return header(self.device_id, self.ciphertext)

    def encode(self) -> bytes:
        """Return the payload again, byte for byte."""
        return self.header + self.nonce + self.sealed


class Message(NamedTuple):
    """An authenticated message. `payload` is the secret of an inject."""

    timestamp: int
    type: MessageType
    device_id: bytes
    payload: Secret

    def encode(self) -> bytes:
        """Return the plaintext that is sealed: timestamp and inner frame."""
        head = _INNER_HEAD.pack(INNER_VERSION, self.type, len(self.device_id), len(self.payload))
        return _TIMESTAMP.pack(self.timestamp) + head + self.device_id + self.payload.reveal()


def frame(payload: bytes) -> bytes:
    """Return the payload behind its 16-bit length."""
    return struct.pack(">H", len(payload)) + payload


def frame_length(prefix: bytes, cap: int) -> int:
    """Return the length that a 2-byte prefix announces, from 1 to `cap`; else `Malformed`."""
    (length,) = struct.unpack(">H", prefix)
    if not 1 <= length <= cap:
        raise Malformed(f"the length must be from 1 to {cap}")
    return int(length)


def header(device_id: bytes, ciphertext: bytes) -> bytes:
    """Return the header of an id of 1 to 255 bytes and a 1088-byte ciphertext."""
    if not 1 <= len(device_id) <= MAX_DEVICE_ID or len(ciphertext) != crypto.CIPHERTEXT_SIZE:
        raise ValueError("the id has 1 to 255 bytes, the ciphertext 1088")
    return bytes((OUTER_VERSION, OUTER_TYPE, len(device_id))) + device_id + _KEM_LENGTH + ciphertext


def split(payload: bytes) -> Envelope:
    """Take a payload apart; `Malformed` when it is not in the layout."""
    if len(payload) < 3 or payload[0] != OUTER_VERSION or payload[1] != OUTER_TYPE:
        raise Malformed("not a message of version 3 and type 1")
    id_end = 3 + payload[2]
    device_id = payload[3:id_end]
    kem_start = id_end + len(_KEM_LENGTH)
    kem_end = kem_start + crypto.CIPHERTEXT_SIZE
    nonce_end = kem_end + crypto.NONCE_SIZE
    if not device_id:
        raise Malformed("the device id is empty")
    if payload[id_end:kem_start] != _KEM_LENGTH:
        raise Malformed("the ciphertext must have 1088 bytes")
    if len(payload) < nonce_end + crypto.TAG_SIZE:
        raise Malformed("the message ends too early")
    try:
        device_id.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("the device id is not UTF-8") from None
    return Envelope(device_id, payload[kem_start:kem_end], payload[kem_end:nonce_end], payload[nonce_end:])


def unseal(envelope: Envelope, shared: bytes, device_key: bytes) -> Message:
    """Open an envelope with the decapsulated secret and the device's 32-byte key.

    `NotAuthenticated` when anything was changed or the inner id is another's;
    `Malformed` when an authenticated plaintext is not in the layout.
    """
    key = crypto.message_key(shared, device_key)
    plaintext = bytearray()
    try:
        plaintext = crypto.unseal(key, envelope.nonce, envelope.sealed, envelope.header)
        message = parse_plaintext(plaintext)
    finally:
        erase(key)
        plaintext[:] = bytes(len(plaintext))
    if message.device_id != envelope.device_id:
        raise NotAuthenticated("the inner device id is another one")
    return message


def parse_plaintext(plaintext: bytes | bytearray) -> Message:
    """Return the timestamp and the inner frame, which must end exactly where its lengths say."""
    body = _TIMESTAMP.size + _INNER_HEAD.size
    if len(plaintext) < body:
        raise Malformed("the inner frame is missing")
    (timestamp,) = _TIMESTAMP.unpack_from(plaintext)
    version, kind, id_length, length = _INNER_HEAD.unpack_from(plaintext, _TIMESTAMP.size)
    if version != INNER_VERSION:
        raise Malformed("the inner frame is not of version 1")
    if len(plaintext) != body + id_length + length:
        raise Malformed("the inner frame's lengths do not add up")
    try:
        message_type = MessageType(kind)
    except ValueError:
        raise Malformed("the inner frame's type is unknown") from None
    split_at = body + id_length
    return Message(
        timestamp, message_type, bytes(plaintext[body:split_at]), Secret(memoryview(plaintext)[split_at:])
    )


def seal(message: Message, public: bytes, device_key: bytes, nonce: bytes) -> bytes:
    """Seal on the phone's side: the whole frame for the server that holds the key of `public`."""
    ciphertext, shared = crypto.encapsulate(public)
    associated = header(message.device_id, ciphertext)
    key = crypto.message_key(shared, device_key)
    return frame(associated + nonce + crypto.seal(key, nonce, message.encode(), associated))
