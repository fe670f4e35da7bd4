"""What this process gives away about itself."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

# Zero would be enough for a core file. A handler that gets the core through a pipe is
# started all the same, except with the limit of one byte (core(5), do_coredump in Linux).
_NO_CORE = 1
_KEPT_FILES = 64  # for the store, the logs, the display, the owner's socket and helper programs
_FEW = 4  # connections: with fewer nothing can be served at all


def room_for_connections() -> int:
    """How many connections the limit on open files leaves room for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else max(_FEW, soft - _KEPT_FILES)


def leave_no_core() -> None:
    """A crash writes no memory anywhere: it holds keys and perhaps a secret.

    The process stays dumpable: a desktop portal looks at `/proc/PID/root` of whoever asks, and turns
    away those whose it may not see.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (_NO_CORE, _NO_CORE))
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/coredump_filter").write_text("0")  # no kind of memory, should one be written yet
