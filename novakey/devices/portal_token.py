"""What a desktop gave for not asking its owner again whether we may type, sealed like the store.

A thief of it could press keys in this session without a question. One that cannot
be read is no loss: the desktop asks once more.
"""

from __future__ import annotations

import hmac
import logging
from pathlib import Path

from novakey.devices import sealed_file
from novakey.errors import StoreError
from novakey.secret import Secret, erase
from novakey.system import files

log = logging.getLogger(__name__)

LABEL = b"NovaKey desktop permission v1"
SIGNING = b"NovaKey delivery note v1"
MAX_TOKEN = 4096  # portals give UUIDs


class SealedRestoreToken:
    """A `desktop.base.RestoreTokenStore` in a file."""

    def __init__(self, path: Path, key: Secret) -> None:
        self._path = path
        self._key = key

    def signing_key(self) -> bytes:
        """Return a key of the same state, with which a delivery signs what it leaves on a display."""
        key = self._key.reveal()
        try:
            return hmac.digest(key, SIGNING, "sha256")
        finally:
            erase(key)

    def load(self) -> str | None:
        """Return what was kept last; None when there is nothing, or nothing that can be read."""
        try:
            data = files.read_private(self._path)
            if data is None:
                return None
            token = sealed_file.open_bytes(data, self._path, self._key, LABEL).get("token")
        except StoreError as error:
            log.warning("the desktop will ask for permission again: %s", error.problem)
            return None
        return token if isinstance(token, str) else None

    def save(self, token: str | None) -> None:
        """Keep it in place of the last one, which is worth nothing any more; None keeps nothing."""
        try:
            if token is None or len(token) > MAX_TOKEN:
                files.remove(self._path)
            else:
                sealed_file.write(self._path, self._key, LABEL, {"token": token})
        except StoreError as error:
            log.warning("the desktop will ask for permission again: %s", error.problem)
