"""The contract of a sealing backend: where the one key lives that seals store and server keys.

A backend never replaces a key: `store` fails where one is, and `load` raises
rather than answering "none" when a key may be there but cannot be read. Moving
to a stronger backend moves the very same key, so no file is sealed again.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import ClassVar

from novakey.errors import StoreError
from novakey.secret import Secret

KEY_SIZE = 32


class SealingBackend(ABC):
    """One place for the sealing key. Every call ends within the backend's deadline.

    Their order of strength stands in `novakey.devices.sealing.choose`.
    """

    name: ClassVar[str]

    @abstractmethod
    def load(self) -> Secret | None:
        """Return the 32-byte key, or None when certainly none was ever made.

        `StoreError` when that cannot be told or the key cannot be read.
        """

    @abstractmethod
    def store(self, key: Secret) -> None:
        """Keep `key` durably; `StoreError` where one is already or it cannot be kept."""

    @abstractmethod
    def delete(self) -> None:
        """Forget the key; `StoreError` when it may still be there. For `reset` only."""

    def load_or_create(self) -> Secret:
        """Return the present key, or a new one that was read back from its place. This is the probe."""
        key = self.load()
        if key is not None:
            return key
        new = Secret(os.urandom(KEY_SIZE))
        self.store(new)
        if self.load() != new:
            raise StoreError(f"the {self.name} backend does not give back the key that it was given")
        return new
