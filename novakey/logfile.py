"""Files that lines are added to: owner-only, rotated, and never through a link. For the log and the audit.

A line is one write(2): whoever reads along sees whole lines, and a daemon that
is killed has lost none.
"""

from __future__ import annotations

import glob
import io
import logging
import logging.handlers
import os
import stat
from pathlib import Path

from novakey.config import Settings
from novakey.errors import ConfigError


class OwnerOnlyFile(logging.handlers.RotatingFileHandler):
    """A rotating file that only its owner can read, before and after rotation."""

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        super().__init__(path, maxBytes=max_bytes, backupCount=keep, encoding="utf-8")

    def write_line(self, line: str) -> None:
        """Add one line, in a fresh file where this one is full; `OSError` when that cannot be."""
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        if self._size and self._size + len(data) > self.maxBytes:
            self.doRollover()
        if self.stream is None:
            self.stream = self._open()
        written = os.write(self.stream.fileno(), data)
        self._size += written
        if written != len(data):
            raise OSError("the disk took a part of a line")

    def emit(self, record: logging.LogRecord) -> None:
        """As the base class does, without asking the file system about each line."""
        try:
            self.write_line(self.format(record))
        except Exception:  # noqa: BLE001  # the contract of a handler: a log must not stop what is logged
            self.handleError(record)

    def doRollover(self) -> None:
        """Put the file aside."""
        try:
            super().doRollover()
        except OSError:
            # The folder went read-only, say. Going on in the same file loses less than going silent.
            if self.stream is None:
                self.stream = self._open()

    def _open(self) -> io.TextIOWrapper:
        # Not blocking: a fifo planted in the folder would stop the daemon here.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(self.baseFilename, flags, 0o600)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise OSError("not a regular file")
            os.fchmod(fd, 0o600)
        except OSError:
            os.close(fd)
            raise
        self._size = status.st_size
        return open(fd, "a", encoding="utf-8", errors="backslashreplace")


def folder(settings: Settings, paths_log_dir: Path) -> Path:
    """Where the files lie: `log_dir`, a relative one inside `paths_log_dir`, else that."""
    return paths_log_dir / Path(settings.log_dir).expanduser()


def parts(path: Path) -> list[Path]:
    """A rotated file and those that were put aside, the newest first; the first may not be there."""
    numbered = []
    for part in path.parent.glob(f"{glob.escape(path.name)}.*"):
        number = part.name.removeprefix(f"{path.name}.")
        if number.isdecimal():
            numbered.append((int(number), part))
    return [path, *(part for _, part in sorted(numbered))]


def rotating(settings: Settings, paths_log_dir: Path, name: str) -> OwnerOnlyFile:
    """A file of this name among the log files, rotated by the `log_*` keys, or `ConfigError`."""
    path = folder(settings, paths_log_dir) / name
    try:
        _make_folder(path.parent)
        return OwnerOnlyFile(path, settings.log_rotate_mb * 1_000_000, settings.log_keep)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        shown = str(path) if str(path).isprintable() else ascii(str(path))
        raise ConfigError(
            f"the log file {shown} cannot be written: {reason}",
            "set log_dir to a folder of your own, or mend that one's owner and rights",
        ) from error


def _make_folder(folder: Path) -> None:
    """The folder and those above it, each one made here owner-only."""
    if folder.is_dir():
        mode = folder.stat().st_mode
        if mode & 0o022 and not mode & stat.S_ISVTX:
            # Whoever can rename our files can also make us write over theirs.
            raise OSError(f"others can write in its folder (chmod go-w {folder})")
        return
    if folder.parent != folder and not folder.parent.is_dir():
        _make_folder(folder.parent)
    folder.mkdir(mode=0o700)
