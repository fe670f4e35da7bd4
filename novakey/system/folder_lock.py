"""One daemon for each data folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from types import TracebackType

from novakey.errors import NovaKeyError
from novakey.system.files import failed


class FolderLock:
    """One daemon per data folder: an exclusive lock that dies with the process."""

    NAME = "novakey.lock"

    def __init__(self, folder: Path) -> None:
        self._path = folder / self.NAME
        self._handle: int | None = None

    def __enter__(self) -> FolderLock:
        """Take the lock; `NovaKeyError` when another process holds it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            self._handle = os.open(self._path, flags, 0o600)
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(OSError):  # paired phones are served from a full disk too
                os.ftruncate(self._handle, 0)
                os.write(self._handle, f"{os.getpid()}\n".encode())
        except BlockingIOError:
            self.__exit__(None, None, None)
            raise NovaKeyError(
                f"another daemon already uses {self._path.parent}",
                "stop it first, or give this one its own folder with --data-dir, and another listen_addr",
            ) from None
        except OSError as error:
            raise failed(f"{self._path} cannot be locked", self._path, error) from error
        return self

    @classmethod
    def holder(cls, folder: Path) -> int | None:
        """Return the process id of the holder of the folder's lock, or None."""
        path = folder / cls.NAME
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.read(handle, 20).strip()
            return int(text) if text.isdigit() else 0
        finally:
            os.close(handle)
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
