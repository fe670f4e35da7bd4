"""Who another process is, as the system tells it (proc(5)). What a process says of itself is not asked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

# Counted behind the name in /proc/PID/stat.
_STAT_PARENT, _STAT_GROUP, _STAT_SESSION, _STAT_TTY, _STAT_FOREGROUND = range(1, 6)
_LAUNCHERS = ("python", "novakey")


class Terminal(NamedTuple):
    """The controlling terminal of a process: its device, its session's leader, and who is in front."""

    major: int
    minor: int
    session: int
    is_foreground: bool


def executable(pid: int | None) -> str | None:
    """Return the name of a process's executable, as text; None when it cannot be read.

    A file may have any name: bytes that are no UTF-8 become U+FFFD, as nothing could write them down.
    """
    if pid is None:
        return None
    try:
        name = Path(f"/proc/{pid}/exe").readlink().name.removesuffix(" (deleted)")
    except OSError:
        return None
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace") or None


def describe(pid: int) -> str:
    """Return the program of the process `pid`; where that is a command of ours, of what started it."""
    program = program_name(pid)
    if not program or program.startswith(_LAUNCHERS):
        above = parent(pid)
        program = (above is not None and program_name(above)) or program
    return program or "an unknown program"


def parent(pid: int) -> int | None:
    """Return the process that started it; None where that is over, or not to be read."""
    above = _field(pid, _STAT_PARENT)
    return above if above is not None and above > 1 else None


def terminal(pid: int) -> Terminal | None:
    """Return the controlling terminal; None where there is none, or it cannot be read."""
    device, session = _field(pid, _STAT_TTY), _field(pid, _STAT_SESSION)
    if not device or session is None:
        return None
    is_foreground = _field(pid, _STAT_GROUP) == _field(pid, _STAT_FOREGROUND)
    return Terminal(os.major(device), os.minor(device), session, is_foreground)


def _field(pid: int, number: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2].split()
        return int(fields[number])
    except (OSError, ValueError, IndexError):
        return None


def program_name(pid: int) -> str:
    """Return the name of its file, or the kernel's name where only root may see it (sudo, ourselves)."""
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
