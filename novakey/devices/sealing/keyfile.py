"""The sealing key in an owner-only file under the configuration folder. Works headless.

It stops a thief of the data folder alone (a backup, a synced folder), not
a reader of the user's whole home.
"""

from __future__ import annotations

from pathlib import Path

from novakey.devices.sealing.base import KEY_SIZE, SealingBackend
from novakey.errors import StoreError
from novakey.secret import Secret
from novakey.system import files


class KeyFile(SealingBackend):
    """32 random bytes, created once and never replaced."""

    name = "keyfile"

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Secret | None:
        """See `SealingBackend.load`."""
        data = files.read_private(self._path)
        if data is None:
            return None
        if len(data) != KEY_SIZE:
            raise StoreError(
                f"the sealing key {self._path} has {len(data)} bytes instead of {KEY_SIZE}",
                "restore it from a backup, or start over with: novakey.py reset",
            )
        return Secret(data)

    def store(self, key: Secret) -> None:
        """See `SealingBackend.store`."""
        try:
            files.create_private(self._path, key.reveal())
        except FileExistsError:
            raise StoreError(f"the sealing key {self._path} exists already") from None

    def delete(self) -> None:
        """See `SealingBackend.delete`."""
        files.remove(self._path)
