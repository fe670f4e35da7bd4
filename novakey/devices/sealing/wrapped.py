"""A random key sealed under a passphrase: XChaCha20-Poly1305 under a key that Argon2id (RFC 9106) derives.

    {"v":1,"kdf":"argon2id","passes":…,"memory_kib":…,"salt_b64":…,"nonce_b64":…,"ct_b64":…}

A thief of the file has to guess the passphrase, at a third of a second and
128 MiB a guess. Deriving holds the whole process up for as long.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass

from nacl import exceptions, pwhash

from novakey.devices.sealing.base import KEY_SIZE
from novakey.errors import StoreError
from novakey.secret import Secret
from novakey.wire import ProtocolError, crypto, jsonline

LABEL = b"NovaKey sealing key v1"
SALT_SIZE: int = pwhash.argon2id.SALTBYTES
_CIPHERTEXT_SIZE = KEY_SIZE + crypto.TAG_SIZE


@dataclass(frozen=True)
class Cost:
    """What one derivation takes: passes over the memory, and its size in KiB."""

    passes: int
    memory_kib: int


# Above RFC 9106's second choice (3 passes, 64 MiB), since libsodium has one lane; a 256 MiB container has it.
COST = Cost(passes=4, memory_kib=128 * 1024)
# A file that was put in our place could otherwise take all memory, or hours, before its tag is looked at.
MAX_COST = Cost(passes=16, memory_kib=1024 * 1024)
_MIN_COST = Cost(passes=1, memory_kib=8)  # what libsodium computes at all

# A base64 file of this layout has under 300 bytes.
_MAX_FILE = 1024


@dataclass(frozen=True)
class Wrapped:
    """The sealed key and all that opens it but the passphrase; it has exactly one encoding."""

    cost: Cost
    salt: bytes
    nonce: bytes
    ciphertext: bytes

    def encode(self) -> bytes:
        members = {
            "v": 1,
            "kdf": "argon2id",
            "passes": self.cost.passes,
            "memory_kib": self.cost.memory_kib,
            "salt_b64": base64.b64encode(self.salt).decode(),
            "nonce_b64": base64.b64encode(self.nonce).decode(),
            "ct_b64": base64.b64encode(self.ciphertext).decode(),
        }
        return jsonline.encode(members) + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Wrapped:
        """`ProtocolError` or `ValueError` for anything that `encode` does not write."""
        if len(data) > _MAX_FILE:
            raise ValueError("too long")
        members = jsonline.decode(data)
        salt, nonce, ciphertext = (
            base64.b64decode(jsonline.string(members, name), validate=True)
            for name in ("salt_b64", "nonce_b64", "ct_b64")
        )
        cost = Cost(jsonline.integer(members, "passes"), jsonline.integer(members, "memory_kib"))
        wrapped = cls(cost, salt, nonce, ciphertext)
        sizes = (len(salt), len(nonce), len(ciphertext))
        if sizes != (SALT_SIZE, crypto.NONCE_SIZE, _CIPHERTEXT_SIZE) or wrapped.encode() != data:
            raise ValueError("not what we write")
        return wrapped

    @classmethod
    def checked(cls, data: bytes, where: str, cure: str) -> Wrapped:
        """Return what `encode` wrote; `StoreError` for anything else, and for a cost without end."""
        try:
            wrapped = cls.decode(data)
        except (ProtocolError, ValueError):
            raise StoreError(f"{where} is damaged: it is not a whole file of a sealing key", cure) from None
        cost = wrapped.cost
        if not (
            _MIN_COST.passes <= cost.passes <= MAX_COST.passes
            and _MIN_COST.memory_kib <= cost.memory_kib <= MAX_COST.memory_kib
        ):
            raise StoreError(
                f"{where} asks for {cost.passes} passes over {cost.memory_kib} KiB,"
                " which no file of ours does",
                cure,
            )
        return wrapped

    @classmethod
    def seal(cls, key: Secret, cost: Cost, salt: bytes, wrapping: Secret) -> Wrapped:
        """Seal the key under what `derive` gave for this cost and salt."""
        nonce = secrets.token_bytes(crypto.NONCE_SIZE)
        return cls(cost, salt, nonce, crypto.seal(wrapping.reveal(), nonce, key.reveal(), LABEL))

    def open(self, wrapping: Secret) -> Secret:
        """Return the key, and wipe `wrapping`; `ProtocolError` for a wrong passphrase and a changed file."""
        try:
            return Secret(crypto.unseal(wrapping.reveal(), self.nonce, self.ciphertext, LABEL))
        finally:
            wrapping.wipe()


def derive(passphrase: Secret, cost: Cost, salt: bytes) -> Secret:
    """Return the 32-byte key of a passphrase, which is wiped; `StoreError` without enough memory."""
    try:
        derived = pwhash.argon2id.kdf(
            crypto.KEY_SIZE,
            passphrase.reveal(),
            salt,
            opslimit=cost.passes,
            memlimit=cost.memory_kib * 1024,
        )
    except (exceptions.RuntimeError, MemoryError):  # all that libsodium reports is that it failed
        raise StoreError(
            f"there is not enough memory for the passphrase ({cost.memory_kib // 1024} MiB are needed)",
            "give the machine or the container more memory",
        ) from None
    finally:
        passphrase.wipe()
    return Secret(derived)
