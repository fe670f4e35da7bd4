"""The limit of each test: pytest-timeout's settings, with a timer that works where gevent runs the tests.

There are three fences. The handler of SIGALRM runs between two bytecodes of the main thread, in any
greenlet. It prints all greenlets and threads, ends a greenlet that spins, and raises in the main greenlet,
where the test is. It does so again until the test has ended. The second fence is for a test that holds the
interpreter: a thread of faulthandler, which needs no interpreter, prints the threads and ends the process.
xdist then names the test and starts another worker. The third, for a process that was stopped, is
`support.reaper`.
"""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import sys
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent.util import format_run_info

LONG_S = 4 * 3600.0  # a campaign, whose size the caller chooses
_AGAIN = 0.25  # of the limit, between the tries of the first fence
_MORE = 2.0  # times the limit, until the second fence


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give campaigns a limit of their own."""
    for item in items:
        if item.get_closest_marker("long") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LONG_S))


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool:
    """Start both fences, for the setup, the test and its teardown together."""
    main = gevent.getcurrent()
    signal.signal(signal.SIGALRM, lambda *_: _interrupt(main, settings.timeout))
    signal.setitimer(signal.ITIMER_REAL, settings.timeout, settings.timeout * _AGAIN)
    stderr = item.config.stash[_STDERR]
    faulthandler.dump_traceback_later(settings.timeout * _MORE, exit=True, file=stderr)
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_cancel_timer(item: pytest.Item) -> bool:
    """Keep the timer after a failure, since the teardown may hang too; a debugger has no limit."""
    if item.config.getoption("usepdb"):
        _disarm()
    return True


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Stop both fences when the test has ended."""
    try:
        return (yield)
    finally:
        _disarm()


def _disarm() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    faulthandler.cancel_dump_traceback_later()


_running = False  # code of the test or its fixtures; a failure raised in pytest's own would end the worker


@pytest.hookimpl(wrapper=True, trylast=True)
def _in_the_test() -> Iterator[None]:
    global _running
    _running = True
    try:
        return (yield)
    finally:
        _running = False


pytest_runtest_setup = pytest_runtest_call = pytest_runtest_teardown = _in_the_test


def _interrupt(main: gevent.Greenlet, seconds: float) -> None:
    """Fail the test that is running in the main greenlet."""
    if not _running:
        return
    print(_stacks(), file=sys.stderr)
    text = f"the test took longer than {seconds:g} s; stderr has all greenlets and threads"
    failure = pytest.fail.Exception(text)
    current, hub = gevent.getcurrent(), gevent.get_hub()
    if current is main:
        raise failure
    hub.loop.run_callback(lambda: main.throw(failure) if _running else None)
    if current is not hub:
        raise gevent.GreenletExit


def _stacks() -> str:
    """All threads and greenlets, without the frames of pytest itself, which every stack has."""
    frames = re.split(r"(?m)^(?=.*File \")", "".join(f"{line.rstrip()}\n" for line in format_run_info()))
    return "".join(frame for frame in frames if not _PYTEST.match(frame))


_PYTEST = re.compile(r'.*File "(<string>|<frozen runpy>|.*/site-packages/(_?pytest|pluggy|execnet|xdist)/)')
_STDERR = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep the real stderr: a test's is captured, and lost when its process ends."""
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        config.stash[_STDERR] = os.dup(2)
