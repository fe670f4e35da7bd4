"""Who another process is, as the system tells it (proc(5)). What a process says of itself is not asked."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

_STAT_TTY = 4  # tty_nr, counted behind the name in /proc/PID/stat
_STAT_PARENT = 1
_LAUNCHERS = ("python", "novakey")


class Who(NamedTuple):
    """A process: its program's name, and whether it has a controlling terminal."""

    program: str
    on_terminal: bool


def executable(pid: int | None) -> str | None:
    """The name of a process's executable, as text; None when it cannot be read.

    A file may have any name: bytes that are no UTF-8 become U+FFFD, as nothing could write them down.
    """
    if pid is None:
        return None
    try:
        name = Path(f"/proc/{pid}/exe").readlink().name.removesuffix(" (deleted)")
    except OSError:
        return None
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace") or None


def describe(pid: int) -> Who:
    """The process `pid`; where that is a command of ours, the program that started it."""
    program = _program(pid)
    if not program or program.startswith(_LAUNCHERS):
        above = _field(pid, _STAT_PARENT)
        program = (above is not None and above > 1 and _program(above)) or program
    return Who(program or "an unknown program", _field(pid, _STAT_TTY) not in (None, 0))


def _field(pid: int, number: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2].split()
        return int(fields[number])
    except (OSError, ValueError, IndexError):
        return None


def _program(pid: int) -> str:
    """The name of its file; where only root may see that (sudo, ourselves), what the kernel calls it."""
    try:
        name = Path(f"/proc/{pid}/exe").readlink().name.removesuffix(" (deleted)")
    except PermissionError:
        try:
            name = Path(f"/proc/{pid}/comm").read_text(errors="replace").removesuffix("\n")
        except OSError:
            return ""
    except OSError:
        return ""
    return "".join(char if char.isprintable() else "?" for char in name)
