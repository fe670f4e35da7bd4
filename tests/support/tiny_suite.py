"""A small folder of tests under the plugins of ours, run as `tests/run` runs the real one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import tomllib
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from support.x11 import wait_until

TESTS = Path(__file__).resolve().parent.parent
REAPER = TESTS / "support/reaper.py"
_OUTER = ("TESTS_REAPER", "PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST", "PYTEST_ADDOPTS")

_CONFTEST = """
from gevent import monkey
monkey.patch_all()
pytest_plugins = ["support.hanging", "support.workers", "support.progress", "support.leftovers"]
"""


class Run:
    """A command under the reaper. All that comes of it has a mark in its environment."""

    def __init__(self, folder: Path, *argv: str, options: Sequence[str] = ()) -> None:
        self._mark = f"TINY_SUITE={uuid.uuid4()}"
        env = {name: word for name, word in os.environ.items() if name not in _OUTER}
        env |= {
            "PYTHONPATH": str(TESTS),
            "COLUMNS": "200",
            "TINY_SUITE": self._mark.partition("=")[2],
        }
        words = [sys.executable, str(REAPER), *options, "--", *argv]
        pipe = subprocess.PIPE
        self.front = subprocess.Popen(
            words,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self, within_s: float = 100) -> str:
        """Wait for its end, see that no process is left, and give the output."""
        try:
            output, _ = self.front.communicate(timeout=within_s)
            wait_until(lambda: not self.pids(), "the end of its processes", max(1.0, within_s / 2))
        finally:
            self.kill()
        return output

    def kill(self) -> None:
        """Kill what is left, also when a test of the reaper fails."""
        for pid in self.pids():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    @property
    def status(self) -> int:
        """The exit status, after `end`."""
        return self.front.returncode

    def pids(self, part: str = "") -> list[int]:
        """Return the processes of this run with `part` in their command lines."""
        found = []
        for folder in Path("/proc").iterdir():
            with suppress(OSError):
                if not folder.name.isdigit() or self._mark.encode() not in (folder / "environ").read_bytes():
                    continue
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if words and part in words:
                    found.append(int(folder.name))
        return sorted(found)

    def reaper(self) -> int:
        """Return the pid of the reaper itself."""
        return self.pids("reaper.py --control")[-1]


def suite(folder: Path, limit_s: float = 60, **files: str) -> None:
    """Write a suite: its settings, and files of tests by name, with __ for a slash."""
    (folder / "conftest.py").write_text(_CONFTEST)
    project = tomllib.loads((TESTS.parent / "pyproject.toml").read_text())
    warnings = "\n  ".join(project["tool"]["pytest"]["ini_options"]["filterwarnings"])
    settings = f"[pytest]\naddopts = -rfExX -p no:cacheprovider -p no:hypothesispytest\ntimeout = {limit_s}\n"
    (folder / "pytest.ini").write_text(f"{settings}filterwarnings =\n  {warnings}\n")
    for name, source in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(source))


PYTEST = (sys.executable, "-m", "pytest", "--dist", "loadfile")
