"""A JSON document sealed with XChaCha20-Poly1305, as it lies on disk.

    {"v":1,"alg":"xchacha20poly1305","nonce_b64":…,"ct_b64":…}

The associated data is a label of the kind of document, so that one sealed file
cannot be put in the place of another.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from novakey.errors import StoreError
from novakey.secret import Secret
from novakey.system import files
from novakey.wire import ProtocolError, crypto, jsonline

ALGORITHM = "xchacha20poly1305"
DEVICES_LABEL = b"NovaKey devices v1"
SERVER_KEYS_LABEL = b"NovaKey server keys v1"


def write(path: Path, key: Secret, label: bytes, document: Mapping[str, object]) -> None:
    """Seal the document and replace the file with it, durably; `StoreError` when that fails."""
    files.replace_private(path, seal(key, label, document))


def seal(key: Secret, label: bytes, document: Mapping[str, object]) -> bytes:
    """Return the sealed document as it lies on disk: a line."""
    nonce = os.urandom(crypto.NONCE_SIZE)
    sealed = crypto.seal(key.reveal(), nonce, jsonline.encode(document), label)
    members = {
        "v": 1,
        "alg": ALGORITHM,
        "nonce_b64": base64.b64encode(nonce).decode(),
        "ct_b64": base64.b64encode(sealed).decode(),
    }
    return jsonline.encode(members) + b"\n"


def open_bytes(data: bytes, path: Path, key: Secret, label: bytes) -> dict[str, Any]:
    """Return the document in a sealed file's bytes; `StoreError` says why it cannot be had."""
    try:
        members = jsonline.decode(data)
        if (members.get("v"), members.get("alg")) != (1, ALGORITHM):
            raise StoreError(f"{path} is not a file that this program sealed", _cure(path))
        nonce = base64.b64decode(jsonline.string(members, "nonce_b64"), validate=True)
        sealed = base64.b64decode(jsonline.string(members, "ct_b64"), validate=True)
    except (ProtocolError, ValueError):
        raise StoreError(f"{path} is damaged: it is not a whole sealed file", _cure(path)) from None
    try:
        return jsonline.decode(crypto.unseal(key.reveal(), nonce, sealed, label))
    except ProtocolError:
        raise StoreError(
            f"{path} does not open: it was changed, or sealed with another key", _cure(path)
        ) from None


def _cure(path: Path) -> str:
    return (
        f"restore {path.name} and the sealing key from the same backup, or pair again after: novakey.py reset"
    )
