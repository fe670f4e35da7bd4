"""Files that hold secrets or state: owner-only, never followed through a link, replaced whole.

A file is either the old one or the new one, whatever happens in between: it is
written beside, synced, renamed, and then the folder is synced.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
from pathlib import Path
from shlex import quote
from types import TracebackType

from novakey.errors import NovaKeyError, StoreError

MAX_SIZE = 8 * 1024 * 1024  # far above any store of ours; a fence against a planted giant


def private_folder(path: Path) -> None:
    """Make sure that `path` is a folder of ours that nobody else can enter.

    A missing one is made with mode 0700. `StoreError` names what is wrong with
    an existing one; its rights are not changed behind the owner's back.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except FileExistsError:
        raise StoreError(
            f"{path} is not a folder", f"move it away: mv {quote(str(path))} /elsewhere"
        ) from None
    except OSError as error:
        raise StoreError(f"the folder {path} cannot be made: {error.strerror}") from error
    _refuse_foreign(path, status, 0o700)


def read_private(path: Path, limit: int = MAX_SIZE) -> bytes | None:
    """The content of a regular, owner-only file of ours; None when there is none.

    A link, a fifo, another owner or wider rights raise `StoreError` with the cure.
    """
    # O_NONBLOCK: opening a planted fifo must not hang.
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        if path.is_symlink():
            raise StoreError(
                f"{path} is a link, and links are not followed here",
                f"remove the link: rm {quote(str(path))}",
            ) from None
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise StoreError(
                f"{path} is not a regular file", f"move it away: mv {quote(str(path))} /elsewhere"
            )
        _refuse_foreign(path, status, 0o600)
        with open(handle, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    finally:
        os.close(handle)
    if len(data) > limit:
        raise StoreError(f"{path} is larger than {limit} bytes, so it is not ours")
    return data


def replace_private(path: Path, data: bytes) -> None:
    """Write `data` as the new content of `path`, durably and whole, mode 0600.

    `StoreError` when it fails; the old content is then untouched.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        _write_new(beside, data)
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def create_private(path: Path, data: bytes) -> None:
    """Write a file that must not exist yet, durably and whole; `FileExistsError` when it does."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        _write_new(beside, data)
        os.link(beside, path)  # unlike a rename, this never replaces
        sync_folder(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def remove(path: Path) -> bool:
    """Remove the file (or the link itself), durably; whether there was one."""
    try:
        path.unlink()
        sync_folder(path.parent)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(f"{path} cannot be removed: {error.strerror}") from error
    return True


def remove_leftovers(folder: Path) -> None:
    """Remove what a crash left half-written beside our files."""
    for leftover in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            leftover.unlink()


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
            os.ftruncate(self._handle, 0)
            os.write(self._handle, f"{os.getpid()}\n".encode())
        except BlockingIOError:
            self.__exit__(None, None, None)
            raise NovaKeyError(
                f"another daemon already uses {self._path.parent}",
                "stop it first, or give this one a folder of its own with --data-dir",
            ) from None
        except OSError as error:
            raise StoreError(f"{self._path} cannot be locked: {error.strerror}") from error
        return self

    @classmethod
    def holder(cls, folder: Path) -> int | None:
        """The process id of whoever holds the folder's lock; None when nobody does."""
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


def _write_new(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path, flags, 0o600)
    with open(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(handle)


def _refuse_foreign(path: Path, status: os.stat_result, mode: int) -> None:
    if status.st_uid != os.geteuid():
        raise StoreError(
            f"{path} belongs to another user (uid {status.st_uid})",
            f"if it is yours: chown {os.geteuid()} {quote(str(path))}",
        )
    if status.st_mode & 0o077:
        raise StoreError(
            f"others have rights on {path} (mode {stat.S_IMODE(status.st_mode):04o})",
            f"mend it: chmod {mode:o} {quote(str(path))}",
        )
