"""Who another process is, as the system tells it (proc(5)). What a process says of itself is not asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_STAT_TTY = 4  # tty_nr, counted behind the name in /proc/PID/stat
_STAT_PARENT = 1
_LAUNCHERS = ("python", "novakey")
_MAX_DEPTH = 8


@dataclass(frozen=True)
class Who:
    """A process: its program's name, and whether it has a controlling terminal."""

    program: str
    on_terminal: bool


def describe(pid: int) -> Who:
    """The process `pid`, or the first above it that is no launcher of ours: whoever wants the secret."""
    on_terminal = _field(pid, _STAT_TTY) not in (None, 0)
    program, parent = _program(pid), pid
    for _ in range(_MAX_DEPTH):
        if program and not program.startswith(_LAUNCHERS):
            break
        above = _field(parent, _STAT_PARENT)
        if above is None or above <= 1:
            break
        parent, program = above, _program(above) or program
    return Who(program or "an unknown program", on_terminal)


def _field(pid: int, number: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2].split()
        return int(fields[number])
    except (OSError, ValueError, IndexError):
        return None


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name.removesuffix(" (deleted)")
    except OSError:
        return ""
