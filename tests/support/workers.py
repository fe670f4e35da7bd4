"""xdist's workers beside gevent; and a worker that dies takes one test with it.

That test fails, and another worker runs the rest of its file. xdist's own scheduler gives the test that
killed a worker to the next worker too, until none may be started.
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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Schedule whole files, since the tests of one may share a server, a display or an installation."""
    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


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
