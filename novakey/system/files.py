"""Files that hold secrets or state: owner-only, never followed through a link, replaced whole.

A file is either the old one or the new one, also after a crash in between: it is
written beside, synced, renamed, and then the folder is synced. A slow disk holds
up the greenlet that waits for it, and no other; writes of one file keep their order.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import defaultdict
from glob import escape
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import gevent
from gevent.util import wrap_errors

from novakey.errors import StoreError
from novakey.system.paste import command

MAX_SIZE = 8 * 1024 * 1024  # far above any store of ours; a fence against a planted giant

# While one greenlet waits for the disk, another may replace the same file: each has its turn.
_turns: defaultdict[Path, Lock] = defaultdict(Lock)


def make_folders(path: Path, mode: int = 0o700) -> None:
    """Make the folder, if it is missing, with this mode, and missing folders above it owner-only.

    `Path.mkdir` leaves those above to the umask. With umask 000, which some containers and services
    have, everybody could then put files in `~/.config` (XDG base directories: 0700).
    """
    if not path.parent.is_dir():
        make_folders(path.parent)
    path.mkdir(mode, exist_ok=True)


def private_folder(path: Path) -> None:
    """Make sure that `path` is a folder of ours that no other user can enter.

    A missing one is made with mode 0700. `StoreError` names what is wrong with
    an existing one; its rights are not changed behind the owner's back. A link
    in its place is refused: where it leads can change under a running daemon.
    """
    try:
        make_folders(path)
        status = path.lstat()
    except FileExistsError:
        raise StoreError(
            f"{path} is not a folder", f"move it away: {command('mv', path, '/elsewhere')}"
        ) from None
    except OSError as error:
        raise failed(f"the folder {path} cannot be made", path.parent, error) from error
    if stat.S_ISLNK(status.st_mode):
        raise StoreError(
            f"{path} is a link, and links are not followed here",
            f"put the folder itself there, or name it: {command('--data-dir', os.path.realpath(path))}",
        )
    _refuse_foreign(path, status, 0o700)


def read_private(path: Path, limit: int = MAX_SIZE) -> bytes | None:
    """Return the content of a regular, owner-only file of ours, or None. See `open_private`."""
    file = open_private(path)
    if file is None:
        return None
    try:
        with file:
            data = file.read(limit + 1)
    except OSError as error:
        raise failed(f"{path} cannot be read", path, error) from error
    if len(data) > limit:
        raise StoreError(
            f"{path} is larger than {limit} bytes, so it is not ours",
            f"move it away: {command('mv', path, '/elsewhere')}",
        )
    return data


def open_private(path: Path) -> BinaryIO | None:
    """Open a regular, owner-only file of ours for reading; None if there is none.

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
                f"remove the link: {command('rm', foreign=path)}",
            ) from None
        raise failed(f"{path} cannot be read", path, error) from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise StoreError(
                f"{path} is not a regular file", f"move it away: {command('mv', path, '/elsewhere')}"
            )
        _refuse_foreign(path, status, 0o600)
        return open(handle, "rb")
    except OSError as error:
        os.close(handle)
        raise failed(f"{path} cannot be read", path, error) from error
    except StoreError:
        os.close(handle)
        raise


def replace_private(path: Path, data: bytes, durable: bool = True) -> None:
    """Write `data` as the new content of `path`, whole, mode 0600, and durably unless that is not needed.

    `StoreError` when it fails; the old content is then there as before. What is not durable outlives
    this process, but no loss of power, and nothing waits for the disk.
    """
    with _turns[path]:
        beside, before = _beside(path), _beside(path)
        try:
            _write_new(beside, data, durable)
            with contextlib.suppress(OSError):  # there is none yet, or the file system has no links
                os.link(path, before, follow_symlinks=False)
            beside.replace(path)
            if durable:
                _sync_or_put_back(path, before)
        except OSError as error:
            raise failed(f"{path} cannot be written", path.parent, error) from error
        finally:
            for leftover in (beside, before):
                with contextlib.suppress(OSError):
                    leftover.unlink()


def create_private(path: Path, data: bytes) -> None:
    """Write a file that must not exist yet, durably and whole; `FileExistsError` when it does."""
    beside = _beside(path)
    try:
        _write_new(beside, data)
        os.link(beside, path)  # unlike a rename, this never replaces
        try:
            sync_folder(path.parent)
        except OSError:
            path.unlink()
            raise
    except FileExistsError:
        raise
    except OSError as error:
        raise failed(f"{path} cannot be written", path.parent, error) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def write_private(path: Path, data: bytes) -> None:
    """Write a file that must not exist yet, durably, on any file system; `FileExistsError` when it does.

    A crash can leave a part of it. `create_private` cannot, but needs hard links, which FAT lacks.
    """
    try:
        _write_new(path, data)
    except FileExistsError:
        raise
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise failed(f"{path} cannot be written", path.parent, error) from error


def free_name(path: Path) -> Path:
    """Return the first of `path`-1, `path`-2 and so on that is not there."""
    number = 1
    while (free := path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return free


def remove(path: Path, durable: bool = True) -> bool:
    """Remove the file (or the link itself), durably unless that is not needed; whether there was one."""
    try:
        with _turns[path]:
            path.unlink()
            if durable:
                sync_folder(path.parent)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise failed(f"{path} cannot be removed", path.parent, error) from error
    return True


def remove_leftovers(*paths: Path) -> None:
    """Remove what a crash left half-written beside these files; such a file may hold keys."""
    for path in paths:
        for leftover in path.parent.glob(f".{escape(path.name)}.{'[0-9a-f]' * 16}.tmp"):
            with contextlib.suppress(OSError):
                leftover.unlink()


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _sync(handle)
    finally:
        os.close(handle)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")


def _sync(handle: int) -> None:
    """Wait for the disk in a thread, so that the other greenlets go on."""
    # The pool would print an error that is raised in it.
    failure = gevent.get_hub().threadpool.apply(wrap_errors(OSError, os.fsync), (handle,))
    if failure is not None:
        raise failure


def _sync_or_put_back(path: Path, before: Path) -> None:
    """Make a rename durable, or undo it as far as a failing disk lets us."""
    try:
        sync_folder(path.parent)
        return
    except OSError as error:
        # If we report failure, the old file must be in place: else a phone is paired and does not know it.
        failure = error
    with contextlib.suppress(OSError):
        if before.is_symlink() or before.exists():
            before.replace(path)
        else:
            path.unlink()
    raise failure


def failed(what: str, path: Path, error: OSError) -> StoreError:
    """Return the error that a person sees for what the system said about `path`."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            cure = f"make room, and try again; how full it is says: {command('df', '-h', foreign=path)}"
        case errno.EROFS:
            cure = f"it is on a read-only file system; which one says: {command('findmnt', '-T', path)}"
        case errno.EACCES | errno.EPERM:
            cure = f"look at its owner and rights: {command('ls', '-ld', foreign=path)}"
        case errno.ELOOP:
            cure = f"links are not followed here, so remove the link: {command('rm', foreign=path)}"
        case _:
            looking = command("df", "-h", foreign=path)
            cure = f"look at the disk and the system's log; where it lies says: {looking}"
    return StoreError(f"{what}: {(error.strerror or type(error).__name__).lower()}", cure)


def _write_new(path: Path, data: bytes, durable: bool = True) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path, flags, 0o600)
    with open(handle, "wb") as file:
        file.write(data)
        file.flush()
        if durable:
            _sync(handle)


def _refuse_foreign(path: Path, status: os.stat_result, mode: int) -> None:
    if status.st_uid != os.geteuid():
        raise StoreError(
            f"{path} belongs to another user (uid {status.st_uid})",
            f"if it is yours: {command('chown', os.geteuid(), foreign=path)}",
        )
    if status.st_mode & 0o077:
        raise StoreError(
            f"others have rights on {path} (mode {stat.S_IMODE(status.st_mode):04o})",
            f"correct it: {command('chmod', f'{mode:o}', foreign=path)}",
        )
