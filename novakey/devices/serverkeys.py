"""The server's ML-KEM-768 key pair, in the sealed `server_keys.json`.

A key pair is kept as pqcrypto makes it (public and expanded secret). A pair
that came from the existing daemon is kept as its 64-byte seed, see `seeded`.
"""

from __future__ import annotations

import base64
from pathlib import Path

from novakey import files
from novakey.devices import sealed
from novakey.errors import StoreError
from novakey.secret import Secret
from novakey.wire import Malformed, crypto, jsonline


def load(path: Path, key: Secret) -> crypto.Decapsulator | None:
    """The key pair in the sealed file; None when there is no file.

    `StoreError` when it cannot be read, unsealed or parsed, or when its two
    halves are not of one pair (a real encapsulation tells).
    """
    data = files.read_private(path)
    if data is None:
        return None
    document = sealed.open_bytes(data, path, key, sealed.SERVER_KEYS_LABEL)
    try:
        public = base64.b64decode(jsonline.string(document, "kyber768_public"), validate=True)
        secret = base64.b64decode(jsonline.string(document, "kyber768_secret"), validate=True)
        pair = crypto.ExpandedKey(public, secret)
        ciphertext, shared = crypto.encapsulate(public)
        if pair.decapsulate(ciphertext) != shared:
            raise ValueError("the halves are not of one pair")
    except (Malformed, ValueError) as error:
        raise StoreError(
            f"{path} does not hold a usable key pair: {error}",
            "restore it from a backup, or pair anew after: novakey.py reset",
        ) from None
    return pair


def create(path: Path, key: Secret) -> crypto.Decapsulator:
    """A new key pair, stored durably before it is used."""
    pair = crypto.ExpandedKey.generate()
    document = {
        "kyber768_public": base64.b64encode(pair.public).decode(),
        "kyber768_secret": base64.b64encode(pair.reveal()).decode(),
    }
    sealed.write(path, key, sealed.SERVER_KEYS_LABEL, document)
    return pair
