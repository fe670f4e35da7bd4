"""A run ends with a look for processes, displays and buses of its tests; each that is left is an error."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import Any

import pytest
from support import reaper


def pytest_configure(config: pytest.Config) -> None:
    """Look only in the command of `support.reaper` itself, which sees all tests: not in a worker."""
    if os.environ.get("TESTS_REAPER") == str(os.getppid()):
        config.pluginmanager.register(Leftovers(config, os.getppid()), "leftovers")


class Leftovers:
    """What is under the reaper after the last test, but for pytest itself and what it was started by."""

    def __init__(self, config: pytest.Config, top: int) -> None:
        self._config = config
        self._top = top
        self._displays = reaper.Displays()
        self._before = set(reaper.descendants(top))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Name what is left and end it; the workers have ended by now."""
        if session.exitstatus == pytest.ExitCode.INTERRUPTED:
            return
        names = self._names()
        out: Any = self._config.pluginmanager.getplugin("terminalreporter")
        for name in names:
            report = pytest.TestReport(name, ("", None, ""), {}, "failed", "end it in the test", "teardown")
            out._add_stats("error", [report])
        if names and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _names(self) -> list[str]:
        deadline = time.monotonic() + reaper.LINGER_S
        while (left := reaper.descendants(self._top, self._before)) and time.monotonic() < deadline:
            time.sleep(0.05)
        # A server that is killed here leaves its display, so the displays are looked at first.
        names = [reaper.describe(pid) for pid in left]
        names += [f"display or bus {path}" for path in self._displays.remove(reaper.LINGER_S)]
        for pid in left:
            with suppress(OSError):  # it has ended, or is another user's: the reaper says so
                os.kill(pid, signal.SIGKILL)
        while left and reaper.descendants(self._top, self._before) and time.monotonic() < deadline + 1:
            time.sleep(0.05)
        self._displays.remove(reaper.IN_A_HURRY_S)
        return [f"left behind: {name}" for name in names]
