"""xdist's workers beside gevent; and a worker that dies takes one test with it.

That test fails, and another worker runs the rest of its file. xdist's own scheduler gives the test that
killed a worker to the next worker too, until none may be started.

The slowest files come first, so that no worker begins one when the others have nothing left.
"""

from __future__ import annotations

import os
from typing import Any

import gevent
import pytest

try:
    from xdist.scheduler import LoadFileScheduling
except ImportError:
    LoadFileScheduling = object

if "PYTEST_XDIST_WORKER" in os.environ:
    # A worker waits for its next test, which a real thread reads from a pipe. gevent does not know of that
    # thread, and would find that nothing is left that could ever wake the waiting one; a timer says there is.
    _AWAKE = gevent.get_hub().loop.timer(3600, 3600)
    _AWAKE.start(int)


# By `--durations=150` of a whole run. A file that is missing here is only less well placed.
_SLOWEST = (
    "system/test_launch.py",
    "packaging/test_wheel.py",
    "runner/test_reaper.py",
    "system/test_keyring_start.py",
    "runner/test_hanging.py",
    "unit/devices/sealing/test_keyring.py",
    "unit/pull/test_ends.py",
    "system/test_pairing_crash.py",
    "attacks/test_limits.py",
    "unit/desktop/remote/test_gnome.py",
    "unit/desktop/x11/test_campaign.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slowest files first, in every worker alike."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    file = item.nodeid.partition("::")[0]
    return next((at for at, slow in enumerate(_SLOWEST) if file.endswith(slow)), len(_SLOWEST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Schedule whole files, since the tests of one may share a server, a display or an installation."""
    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False  # it would put the files with the most tests first
    return Scheduling(config, log)


class Scheduling(LoadFileScheduling):
    """As xdist's, except for a worker that died."""

    def remove_node(self, node: Any) -> str | None:
        """Take back the worker's files without the test that it was running, which is returned."""
        files = self.assigned_work.pop(node)
        waiting = ((file, test) for file in files.values() for test, done in file.items() if not done)
        file, running = next(waiting, (None, None))
        if file is None:
            return None
        file[running] = True
        self.workqueue.update({name: tests for name, tests in files.items() if not all(tests.values())})
        for other in self.assigned_work:
            self._reschedule(other)
        return running
