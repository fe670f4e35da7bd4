"""The sealing key in a file that only a passphrase opens. For containers and other headless machines.

The file is a `wrapped.Wrapped`: it holds everything but the passphrase. A
derivation holds the whole process up, so this backend is asked when the daemon
starts and never while it serves.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from novakey.devices.sealing.base import SealingBackend
from novakey.devices.sealing.passphrase_source import Source
from novakey.devices.sealing.wrapped import COST, SALT_SIZE, Cost, Wrapped, derive
from novakey.errors import StoreError
from novakey.secret import Secret
from novakey.system import files
from novakey.wire import ProtocolError


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
        wrapped = Wrapped.checked(data, str(self._path), self._cure())
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
        salt = secrets.token_bytes(SALT_SIZE)
        wrapping = self._derive(self._cost, salt, new=True)
        try:
            files.create_private(self._path, Wrapped.seal(key, self._cost, salt, wrapping).encode())
        except FileExistsError:
            raise self._exists() from None
        self._fresh = salt, wrapping

    def delete(self) -> None:
        """See `SealingBackend.delete`."""
        files.remove(self._path)

    def _derive(self, cost: Cost, salt: bytes, new: bool) -> Secret:
        return derive(self._source.ask(new), cost, salt)

    def _open(self, wrapped: Wrapped, wrapping: Secret) -> Secret:
        try:
            return wrapped.open(wrapping)
        except ProtocolError:
            # The tag cannot tell these apart.
            raise _DoesNotOpen(
                f"{self._path} does not open: the passphrase is wrong, or the file was changed",
                f"give the passphrase that was chosen first; failing that, {self._cure()}",
            ) from None

    def _exists(self) -> StoreError:
        return StoreError(f"the sealing key {self._path} exists already", "to start over: novakey.py reset")

    def _cure(self) -> str:
        return f"restore {self._path.name} from a backup, or start over with: novakey.py reset"
