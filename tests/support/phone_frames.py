"""The bytes that the app in the field makes, written from the protocol alone.

Nothing of `novakey.wire` is used: a fault there must not hide in both ends. Integers are big-endian.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import struct
from typing import Any

from nacl import bindings
from pqcrypto.kem import ml_kem_768

PAIR, MSG = b"NOVAK/1 /pair\n", b"NOVAK/1 /msg\n"
INJECT, APPROVE, ARM, DISARM = 1, 2, 3, 4
NONCE_SIZE = 24


def hello(token: str, fingerprint: str) -> bytes:
    """Return the line that opens a pairing."""
    return json.dumps({"op": "hello", "v": 1, "token": token, "fp": fingerprint}).encode() + b"\n"


def server_key(line: bytes) -> bytes | None:
    """Return the public key of the daemon's answer; None for any other line."""
    try:
        members = json.loads(line)
        if members["op"] != "server_key" or members["v"] != 1:
            return None
        public = base64.b64decode(members["kyber_pub_b64"], validate=True)
    except (ValueError, KeyError, TypeError):
        return None
    return public if len(public) == 1184 else None


class Register:
    """One register frame, and the opening of its acknowledgement."""

    def __init__(self, public: bytes, token: str, device_id: str, device_key: bytes) -> None:
        self._ciphertext, shared = ml_kem_768.encaps(public)
        salt = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        self._key = _hkdf(shared, salt, b"NovaKey v3 Pair AEAD")
        members = {"op": "register", "v": 1, "device_id": device_id, "device_key_hex": device_key.hex()}
        nonce = secrets.token_bytes(NONCE_SIZE)
        sealed = _seal(self._key, nonce, json.dumps(members).encode(), b"PAIR" + self._ciphertext + nonce)
        self.frame = struct.pack(">H", 1088) + self._ciphertext + nonce + sealed

    def acknowledged(self, nonce: bytes, sealed: bytes) -> bool:
        """Whether the two parts are the acknowledgement of this register."""
        associated = b"PAIR" + self._ciphertext + nonce
        try:
            plaintext = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
                sealed, associated, nonce, self._key
            )
        except Exception:  # noqa: BLE001  # PyNaCl raises several kinds, for too short parts too
            return False
        return bool(json.loads(plaintext)["op"] == "ok")


def message(
    public: bytes, device_id: str, device_key: bytes, kind: int, payload: bytes, unix_time: int
) -> bytes:
    """Return a message's frame: length, header, nonce, sealed part."""
    name = device_id.encode()
    ciphertext, shared = ml_kem_768.encaps(public)
    header = bytes((3, 1, len(name))) + name + struct.pack(">H", 1088) + ciphertext
    inner = struct.pack(">BBHI", 1, kind, len(name), len(payload)) + name + payload
    nonce = secrets.token_bytes(NONCE_SIZE)
    key = _hkdf(shared, device_key, b"NovaKey v3 AEAD key")
    whole = header + nonce + _seal(key, nonce, struct.pack(">Q", unix_time) + inner, header)
    return struct.pack(">H", len(whole)) + whole


def reply(line: bytes) -> tuple[int, str] | None:
    """Return the status and the sentence behind *Show technical details?*; None if it is no reply."""
    try:
        members: dict[str, Any] = json.loads(line)
        return int(members["status"]), str(members.get("msg", ""))
    except (ValueError, KeyError, TypeError):
        return None


def _seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    return bytes(bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, associated, nonce, key))


def _hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA-256 (RFC 5869) for one block."""
    return hmac.digest(hmac.digest(salt, bytes(secret), "sha256"), info + b"\x01", "sha256")
