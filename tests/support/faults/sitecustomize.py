"""Faults at the calls that make files durable. Python imports this when its folder is on PYTHONPATH.

$FAULT_PLAN names a file that says `kind n`: at the n-th call of `os.fsync`,
`os.replace`, `os.link` or `os.unlink` since it says so, the process kills itself
before the call (`kill`), or the call fails with the error of that name
(`ENOSPC`). Without the file nothing happens.

While it says `hold`, each `os.fsync` waits: the disk is slow. It holds up its
thread and not only a greenlet, as a real one does.
"""

import errno
import os
import signal
from time import sleep  # before gevent replaces it

_PLAN = os.environ["FAULT_PLAN"]
_seen = [None, 0]


def _due():
    """Return the kind of the fault, if it is this call's turn."""
    try:
        with open(_PLAN) as file:
            plan = file.read().split()
    except OSError:
        return None
    if plan != _seen[0]:
        _seen[:] = plan, 0
    _seen[1] += 1
    if len(plan) != 2 or _seen[1] != int(plan[1]):
        return None
    with open(_PLAN + ".hit", "w"):  # tells the test that there was such a call
        return plan[0]


def _held():
    try:
        with open(_PLAN) as file:
            return file.read() == "hold"
    except OSError:
        return False


def _faulty(real):
    def call(*words, **options):
        while real is _fsync and _held():
            with open(_PLAN + ".held", "w"):
                sleep(0.005)
        kind = _due()
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind and kind.startswith("E"):
            number = getattr(errno, kind)
            raise OSError(number, os.strerror(number))
        return real(*words, **options)

    return call


_fsync = os.fsync
for _name in ("fsync", "replace", "link", "unlink"):
    setattr(os, _name, _faulty(getattr(os, _name)))
