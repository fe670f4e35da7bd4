"""What this process gives away about itself, and to its children. A leaf."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

# Zero would be enough for a core file. A handler that gets the core through a pipe is
# started all the same, except with the limit of one byte (core(5), do_coredump in Linux).
_NO_CORE = 1
_PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 3, 4  # prctl(2)
_KEPT_FILES = 64  # for the store, the logs, the display, the owner's socket and helper programs
_FEW = 4  # connections: with fewer nothing can be served at all


def harden() -> None:
    """Only root can look into this process, and a crash writes no memory anywhere.

    It holds keys and perhaps a secret. Other programs of the same user could
    otherwise attach to it or read `/proc/PID/mem`, and they are many.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    limit = _NO_CORE if most == resource.RLIM_INFINITY else min(_NO_CORE, most)  # sudo forbids even one byte
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/coredump_filter").write_text("0")  # no kind of memory, should one be written yet
    _set_dumpable(False)


_looking = 0


@contextlib.contextmanager
def open_to_portals() -> Iterator[None]:
    """Lets a desktop portal look at `/proc/PID/root`, as it does once for each new bus connection.

    It turns away each peer that it may not look at; after the first call on a connection it asks no more.
    """
    global _looking
    _looking += 1
    _set_dumpable(True)
    try:
        yield
    finally:
        _looking -= 1
        _set_dumpable(_looking > 0)


def environment(*names: str) -> dict[str, str]:
    """Return a helper program's part of our environment: path, language and these variables."""
    return {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", *names) if name in os.environ}


def fd_budget() -> int:
    """How many connections the limit on open files leaves room for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else max(_FEW, soft - _KEPT_FILES)


def is_dumpable() -> bool:
    """Whether other programs of this user may look into this process."""
    return not sys.platform.startswith("linux") or _prctl(_PR_GET_DUMPABLE, 0) != 0


def _set_dumpable(dumpable: bool) -> None:
    if sys.platform.startswith("linux"):
        _prctl(_PR_SET_DUMPABLE, int(dumpable))


def _prctl(option: int, value: int) -> int:
    return int(ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0))
