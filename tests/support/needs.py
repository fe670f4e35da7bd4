"""The needs of a test that not every place or person meets. A test without them is skipped, with the reason.

Each function tries the deed itself, because root in a container may lack what an
ordinary user elsewhere has.
"""

from __future__ import annotations

import functools
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from support import installed

_UNDUMPABLE = "reads /proc of an undumpable process"


def programs(*names: str) -> None:
    """Skip where the machine lacks one of the programs."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    missing = [name for name in names if shutil.which(name, path=path) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def root(deed: str) -> None:
    """Skip unless root runs the tests."""
    if os.geteuid() != 0:
        pytest.skip(f"needs root: {deed}")


def as_root(deed: str) -> list[str]:
    """Return the words before a command that make it root's."""
    if os.geteuid() == 0:
        return []
    if not _works("sudo", "-n", "true"):
        pytest.skip(f"needs root or sudo: {deed}")
    return ["sudo", "-n"]


def as_unprivileged(deed: str = "acts as another user") -> list[str]:
    """Return the words before a command that make it another user's."""
    words = [*as_root(deed), "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    if not _works(*words, "true"):
        pytest.skip(f"needs the right to change the user: {deed}")
    return words


def interpreter_for(as_user: Sequence[str]) -> None:
    """Skip where the tests run in a Python that this other user cannot run."""
    if not _works(*as_user, installed.python(), "-c", ""):
        pytest.skip(f"needs a Python that all users can run: {installed.python()} is not")


def mounts(deed: str) -> list[str]:
    """Return the words before a command that may mount."""
    words = as_root(deed)
    if not _works(*words, "unshare", "--mount", "true"):
        pytest.skip(f"needs the right to mount: {deed}")
    return words


def user_namespaces(deed: str) -> None:
    """Skip where this user may make no user namespace, or may mount nothing in it."""
    mounts = ("--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev")
    if not _works("bwrap", "--unshare-user", *mounts, "true"):
        pytest.skip(f"needs user namespaces: {deed}")


def sight_of(pid: int, deed: str = _UNDUMPABLE, part: str = "maps") -> None:
    """Skip unless we may read that part of the /proc of a process that is closed to its own user.

    Root without CAP_SYS_PTRACE can list `fd`, but read neither memory nor the link to the program.
    """
    try:
        os.close(os.open(f"/proc/{pid}/{part}", os.O_RDONLY))
    except PermissionError:
        pytest.skip(f"needs {'root' if os.geteuid() else 'CAP_SYS_PTRACE'}: {deed}")


def tracing(deed: str) -> None:
    """Skip where this user may not trace the processes that it starts."""
    programs("strace")
    if not _works("strace", "-qq", "-o", "/dev/null", "true"):
        pytest.skip(f"needs the right to trace: {deed}")


@functools.cache
def _works(*words: str) -> bool:
    """Return whether a command that changes nothing ends well."""
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def open_place() -> Path:
    """Return a folder for temporary ones that another user can enter, with any `TMPDIR`."""
    places = (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))
    usable = [place for place in places if os.access(place, os.W_OK) and _open_to_all(place)]
    if not usable:
        pytest.skip("needs a temporary folder that other users can enter")
    return usable[0]


def _open_to_all(folder: Path) -> bool:
    """Return whether every user may pass through the folder and those above it."""
    return all(path.stat().st_mode & stat.S_IXOTH for path in (folder, *folder.parents))
