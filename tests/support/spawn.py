"""Start the processes of the tests without a copy of the worker's memory.

gevent's `Popen` forks. A worker of the tests has some 150 MiB, and a fork of it costs 12 ms of CPU, for each
of the thousands of programs of a run. The standard library starts them by vfork(2), in 0.7 ms.
"""

from __future__ import annotations

import importlib.util
import os
from types import SimpleNamespace
from typing import Any

from gevent import monkey, subprocess
from gevent.os import fork_and_watch

_forking = subprocess.Popen._execute_child


def without_fork() -> None:
    """Let `Popen` start programs by vfork(2) from here on, and wait for them as gevent does."""
    subprocess.Popen._execute_child = _execute_child


def _unpatched() -> Any:
    """Return a copy of the standard module as it was before gevent changed it."""
    spec = importlib.util.find_spec("subprocess")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # gevent closes a descriptor when its loop runs next; until then a pipe has no end.
    originals = {name: monkey.get_original("os", name) for name in ("close", "waitpid")}
    vars(module)["os"] = SimpleNamespace(**{**vars(os), **originals})
    return module


_Standard = _unpatched().Popen


def _execute_child(self: Any, args: Any, executable: Any, preexec_fn: Any, *rest: Any) -> None:
    """Do the work of gevent's method of this name, whose parameters these are."""
    if preexec_fn is not None:
        return _forking(self, args, executable, preexec_fn, *rest)
    close_fds, pass_fds, cwd, env, _universal_newlines, *others, process_group = rest
    others.append(-1 if process_group is None else process_group)  # as the standard constructor says it
    self._loop.install_sigchld()
    starter = _Standard.__new__(_Standard)
    vars(starter).update(vars(self))
    try:
        starter._execute_child(args, executable, None, close_fds, pass_fds, cwd, env, *others)
        self.pid = starter.pid
    finally:
        self._child_created = starter._child_created
        self._closed_child_pipe_fds = True
        starter.returncode = 0  # it waits for nothing: gevent does
    # The process runs already. The loop cannot miss its end, because it has not run since.
    fork_and_watch(self._on_child, self._loop, True, lambda: self.pid)
    return None
