"""Files that lines are added to: owner-only, rotated, and never through a link. For the log and the audit.

A line is one write(2): a reader sees whole lines, and a daemon that
is killed has lost none.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import logging
import os
import stat
from pathlib import Path

from novakey.config.settings import Settings
from novakey.errors import ConfigError
from novakey.system.paste import command


class OwnerOnlyFile(logging.Handler):
    """A file that only its owner can read, also after it was put aside; `keep` of those are kept.

    The standard library's rotating handler would be the way; it asks the file
    system about each line, formats it twice, and pulls `pickle` into the daemon.
    """

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        """`OSError` when it cannot be opened or is not a file of ours."""
        super().__init__()
        self.path = path.absolute()
        self._max_bytes = max_bytes
        self._keep = keep
        self._file = -1
        self._open()

    def write_line(self, line: str) -> None:
        """Add one line, in a fresh file where this one is full; `OSError` when that cannot be."""
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        if self._size and self._size + len(data) > self._max_bytes:
            # The folder went read-only, say: going on in the same file loses less than going silent.
            with contextlib.suppress(OSError):
                self._put_aside()
        written = os.write(self._file, data)
        self._size += written
        if written != len(data):
            raise OSError(errno.ENOSPC, "the disk took a part of a line")

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; the handler reports what fails, and no caller stops."""
        try:
            self.write_line(self.format(record))
        except Exception:  # noqa: BLE001  # the contract of a handler
            self.handleError(record)

    def close(self) -> None:
        """Close the file."""
        super().close()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _put_aside(self) -> None:
        """Rotate: the file becomes number 1, number 1 becomes 2, and the last one is removed."""
        for number in range(self._keep, 0, -1):
            older = self._numbered(number - 1) if number > 1 else self.path
            with contextlib.suppress(FileNotFoundError):
                older.replace(self._numbered(number))
        self._open()

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _open(self) -> None:
        # Not blocking: a fifo planted in the folder would stop the daemon here.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        file = os.open(self.path, flags, 0o600)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise OSError("not a regular file")
            os.fchmod(file, 0o600)
        except OSError:
            os.close(file)
            raise
        if self._file >= 0:
            os.close(self._file)
        self._file, self._size = file, status.st_size


def folder(settings: Settings, paths_log_dir: Path) -> Path:
    """Where the files lie: `log_dir`, a relative one inside `paths_log_dir`, else that."""
    return paths_log_dir / Path(settings.log_dir).expanduser()


def rotated_files(path: Path) -> list[Path]:
    """Return a rotated file and those that were put aside, the newest first; the first may not be there."""
    numbered = []
    for part in path.parent.glob(f"{glob.escape(path.name)}.*"):
        number = part.name.removeprefix(f"{path.name}.")
        if number.isdecimal():
            numbered.append((int(number), part))
    return [path, *(part for _, part in sorted(numbered))]


def rotating(settings: Settings, paths_log_dir: Path, name: str) -> OwnerOnlyFile:
    """Return a file of this name among the log files, rotated by the `log_*` keys, or `ConfigError`."""
    path = folder(settings, paths_log_dir) / name
    try:
        _make_folder(path.parent)
        return OwnerOnlyFile(path, settings.log_rotate_mb * 1_000_000, settings.log_keep)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        shown = str(path) if str(path).isprintable() else ascii(str(path))
        raise ConfigError(
            f"the log file {shown} cannot be written: {reason}",
            "set log_dir to a folder of your own, or correct that one's owner and rights",
        ) from error


def _make_folder(folder: Path) -> None:
    """Make the folder and those above it, each owner-only."""
    if folder.is_dir():
        mode = folder.stat().st_mode
        if mode & 0o022 and not mode & stat.S_ISVTX:
            # A user who can rename our files can also make us write over theirs.
            raise OSError(f"others can write in its folder ({command('chmod', 'go-w', foreign=folder)})")
        return
    if folder.parent != folder and not folder.parent.is_dir():
        _make_folder(folder.parent)
    folder.mkdir(mode=0o700)
