"""What every test stands on: cooperative I/O, an environment of its own, and no silent skips in CI.

The plugins in `support` limit each test, print the progress, and find what is left behind.
"""

# Before any other import, as novakey.py does it.
from gevent import monkey

monkey.patch_all()

import atexit  # noqa: E402
import os  # noqa: E402
import shutil  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from typing import Any  # noqa: E402

import pytest  # noqa: E402
from support import spawn  # noqa: E402

spawn.without_fork()

pytest_plugins = ["support.hanging", "support.workers", "support.progress", "support.leftovers"]

_HOME = tempfile.mkdtemp(prefix="novakey-tests-home-")
_OWNER = os.getpid()


def _remove_home() -> None:
    if os.getpid() == _OWNER:  # not in a child that was forked
        shutil.rmtree(_HOME, ignore_errors=True)


def _own_environment() -> None:
    """Set a home of its own and no session: no test touches a person's files, screen or keyring."""
    session = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "JOURNAL_STREAM", "NOTIFY_SOCKET")
    for name in list(os.environ):
        if name.startswith(("NOVAKEY_", "XDG_")) or name in session:
            del os.environ[name]
    os.environ |= {"HOME": _HOME, "DBUS_SESSION_BUS_ADDRESS": "disabled:", "LC_ALL": "C.UTF-8"}


_own_environment()
atexit.register(_remove_home)

IN_CI = os.environ.get("CI") == "true"


def _forbid_skip(report: Any) -> None:
    """In CI everything is there, so a skip is a missing tool: a failure."""
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI=true forbids: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    report = yield
    _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    report = yield
    _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Any:
    """Send the reports of a worker as UTF-8, because tests log text that is none."""
    return _sendable((yield))


def _sendable(data: Any) -> Any:
    match data:
        case str():
            return data.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {key: _sendable(value) for key, value in data.items()}
        case list() | tuple():
            return type(data)(_sendable(value) for value in data)
        case _:
            return data


@pytest.fixture(autouse=True)
def _tests_stay_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a command of this process from closing it up for good: later tests look at crashes."""
    from novakey.system import process

    monkeypatch.setattr(process, "harden", lambda: None)
