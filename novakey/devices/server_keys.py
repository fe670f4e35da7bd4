"""The server's ML-KEM-768 key pair, in the sealed `server_keys.json`.

{"kyber768_public":…, "kyber768_secret":…}    as pqcrypto makes it, 1184 and 2400 bytes
{"kyber768_public":…, "kyber768_seed":…}      from the existing daemon, 64 bytes: see `seeded`
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from novakey.devices import sealed_file
from novakey.devices.seeded_key import SeededKey
from novakey.errors import StoreError
from novakey.secret import Secret
from novakey.system import files
from novakey.wire import Malformed, crypto, jsonline


class StoredKey(crypto.Decapsulator, Protocol):
    """A key pair that can be written down."""

    def reveal(self) -> bytes:
        """Return the secret half, for the sealed store only."""


def load(path: Path, key: Secret) -> StoredKey | None:
    """Return the key pair in the sealed file; None when there is no file.

    `StoreError` when it cannot be read, unsealed or parsed, or when its two
    halves are not of one pair (a real encapsulation tells).
    """
    data = files.read_private(path)
    if data is None:
        return None
    document = sealed_file.open_bytes(data, path, key, sealed_file.SERVER_KEYS_LABEL)
    try:
        pair = parse(document)
    except (Malformed, ValueError) as error:
        raise StoreError(
            f"{path} does not hold a usable key pair: {error}",
            "restore it from a backup, or pair again after: novakey.py reset",
        ) from None
    return pair


def create(path: Path, key: Secret) -> StoredKey:
    """Return a new key pair, stored durably before it is used."""
    pair = crypto.ExpandedKey.generate()
    save(path, key, pair)
    return pair


def save(path: Path, key: Secret, pair: StoredKey) -> None:
    """Replace the file with this pair, durably."""
    sealed_file.write(path, key, sealed_file.SERVER_KEYS_LABEL, document(pair))


def document(pair: StoredKey) -> dict[str, object]:
    """Return the pair as `parse` reads it; it holds the secret half."""
    member = "kyber768_seed" if isinstance(pair, SeededKey) else "kyber768_secret"
    return {
        "kyber768_public": base64.b64encode(pair.public).decode(),
        member: base64.b64encode(pair.reveal()).decode(),
    }


def parse(document: Mapping[str, Any]) -> StoredKey:
    """Return the pair in a document; `Malformed` or `ValueError` where its halves are not of one pair."""
    public = _base64(document, "kyber768_public")
    pair: StoredKey
    if "kyber768_seed" in document:
        pair = SeededKey(Secret(_base64(document, "kyber768_seed")))
    else:
        pair = crypto.ExpandedKey(public, _base64(document, "kyber768_secret"))
    check_pair(pair, public)
    return pair


def check_pair(pair: crypto.Decapsulator, public: bytes) -> None:
    """`ValueError` unless `public` is the pair's and both halves belong together."""
    if len(public) != crypto.PUBLIC_KEY_SIZE or pair.public != public:
        raise ValueError("the halves are not of one pair")
    ciphertext, shared = crypto.encapsulate(public)
    if pair.decapsulate(ciphertext) != shared:
        raise ValueError("the halves are not of one pair")


def _base64(document: Mapping[str, Any], name: str) -> bytes:
    return base64.b64decode(jsonline.string(document, name), validate=True)
