"""The sealing key in a file that only a passphrase opens. For containers and other headless machines.

The key is random and sealed with XChaCha20-Poly1305 under a key that Argon2id
(RFC 9106) derives from the passphrase; the file holds everything but the
passphrase:

    {"v":1,"kdf":"argon2id","passes":…,"memory_kib":…,"salt_b64":…,"nonce_b64":…,"ct_b64":…}

Whoever copies the disk has to guess the passphrase, at a third of a second and
128 MiB a guess. Deriving holds the whole process up for as long, so a backend
is asked when the daemon starts and never while it serves.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from pathlib import Path

from nacl import exceptions, pwhash

from novakey.devices.sealing.base import KEY_SIZE, SealingBackend
from novakey.devices.sealing.passphrase_source import Source
from novakey.errors import StoreError
from novakey.secret import Secret
from novakey.system import files
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
class _Wrapped:
    """The file's content; it has exactly one encoding."""

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
    def decode(cls, data: bytes) -> _Wrapped:
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


class _DoesNotOpen(StoreError):
    """Worth asking again, if there is a person."""


class Passphrase(SealingBackend):
    """The key wrapped in the owner-only file `path`; `source` gives the passphrase.

    The passphrase is asked for only when it is needed: not to see that there
    is no file, and not to delete it.
    """

    name = "passphrase"

    def __init__(self, path: Path, source: Source, cost: Cost = COST) -> None:
        self._path = path
        self._source = source
        self._cost = cost
        self._fresh: tuple[bytes, Secret] | None = None

    def load(self) -> Secret | None:
        """See `SealingBackend.load`."""
        data = files.read_private(self._path)
        if data is None:
            return None
        wrapped = self._decode(data)
        if self._fresh is not None and self._fresh[0] == wrapped.salt:
            # Just stored: read back from the disk without asking the person a third time.
            wrapping, self._fresh = self._fresh[1], None
            return self._open(wrapped, wrapping)
        for _ in range(self._source.tries - 1):
            try:
                return self._open(wrapped, self._derive(wrapped.cost, wrapped.salt, new=False))
            except _DoesNotOpen as error:
                self._source.tell(error.problem)
        return self._open(wrapped, self._derive(wrapped.cost, wrapped.salt, new=False))

    def store(self, key: Secret) -> None:
        """See `SealingBackend.store`. Asks for a new passphrase."""
        if files.read_private(self._path) is not None:  # before a person chooses a passphrase in vain
            raise self._exists()
        salt, nonce = secrets.token_bytes(SALT_SIZE), secrets.token_bytes(crypto.NONCE_SIZE)
        wrapping = self._derive(self._cost, salt, new=True)
        ciphertext = crypto.seal(wrapping.reveal(), nonce, key.reveal(), LABEL)
        try:
            files.create_private(self._path, _Wrapped(self._cost, salt, nonce, ciphertext).encode())
        except FileExistsError:
            raise self._exists() from None
        self._fresh = salt, wrapping

    def delete(self) -> None:
        """See `SealingBackend.delete`."""
        files.remove(self._path)

    def _decode(self, data: bytes) -> _Wrapped:
        try:
            wrapped = _Wrapped.decode(data)
        except (ProtocolError, ValueError):
            raise StoreError(
                f"{self._path} is damaged: it is not a whole file of a sealing key", self._cure()
            ) from None
        cost = wrapped.cost
        if not (
            _MIN_COST.passes <= cost.passes <= MAX_COST.passes
            and _MIN_COST.memory_kib <= cost.memory_kib <= MAX_COST.memory_kib
        ):
            raise StoreError(
                f"{self._path} asks for {cost.passes} passes over {cost.memory_kib} KiB,"
                " which no file of ours does",
                self._cure(),
            )
        return wrapped

    def _derive(self, cost: Cost, salt: bytes, new: bool) -> Secret:
        passphrase = self._source.ask(new)
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

    def _open(self, wrapped: _Wrapped, wrapping: Secret) -> Secret:
        try:
            return Secret(crypto.unseal(wrapping.reveal(), wrapped.nonce, wrapped.ciphertext, LABEL))
        except ProtocolError:
            # The tag cannot tell these apart.
            raise _DoesNotOpen(
                f"{self._path} does not open: the passphrase is wrong, or the file was changed",
                f"give the passphrase that was chosen first; failing that, {self._cure()}",
            ) from None
        finally:
            wrapping.wipe()

    def _exists(self) -> StoreError:
        return StoreError(f"the sealing key {self._path} exists already", "to start over: novakey.py reset")

    def _cure(self) -> str:
        return f"restore {self._path.name} from a backup, or start over with: novakey.py reset"
