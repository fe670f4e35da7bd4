"""What a run prints: a line for each group, the first failure at once, the skips counted by reason.

A group is a folder of tests, and its line comes when its last test has ended. With -v or -q pytest prints
what it always does.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Only the process that reports has a terminal."""
    reporter: Any = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput"):
        return
    config.pluginmanager.register(Skips(reporter), "skips")
    if reporter.verbosity == 0:
        config.pluginmanager.register(Groups(reporter), "groups")


class Groups:
    """The lines of progress, in place of a letter for each test."""

    def __init__(self, reporter: Any) -> None:
        self._out = reporter
        self._out.showfspath = False
        self._out._show_progress_info = False
        self._left: Counter[str] = Counter()
        self._outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._seconds: Counter[str] = Counter()
        self._failed = False

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the tests of each group, of a run in one process."""
        self._expect([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Count the tests of each group; every worker collects the same."""
        if not self._left:
            self._expect(ids)

    def _expect(self, ids: list[str]) -> None:
        self._left = Counter(map(_group, ids))

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, str] | None:
        """Count as pytest does, without its letter."""
        if report.when != "call" and report.passed:
            return ("", "", "")
        if hasattr(report, "wasxfail"):
            return None
        category = "error" if report.failed and report.when in ("setup", "teardown") else report.outcome
        return (category, "", category.upper())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note an outcome, and print the first failure."""
        group = _group(report.nodeid)
        self._seconds[group] += report.duration
        if report.when == "call" or not report.passed:
            self._outcomes[group][report.outcome] += 1
        if report.failed:
            self._out.ensure_newline()
            self._out.line(f"FAILED {report.nodeid}", red=True)
            if not self._failed:
                report.toterminal(self._out._tw)
                for title, text in report.sections:
                    self._out.section(title, "-")
                    self._out.line(text)
            self._failed = True
            self._out.flush()
        if report.when not in ("setup", "call", "teardown"):  # xdist's report of a worker that died
            self.pytest_runtest_logfinish(report.nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Print the line of a group after its last test."""
        group = _group(nodeid)
        self._left[group] -= 1
        if self._left[group] == 0:
            self._print(group)

    def _print(self, group: str) -> None:
        outcomes = self._outcomes[group]
        words = [f"{outcomes[name]} {name}" for name in ("failed", "passed", "skipped") if outcomes[name]]
        self._out.ensure_newline()
        colour = {"red" if outcomes["failed"] else "green": True}
        self._out.line(f"{group:<20} {', '.join(words):<32} {self._seconds[group]:7.1f} s", **colour)
        self._out.flush()


class Skips:
    """The skipped tests at the end, counted by reason."""

    def __init__(self, reporter: Any) -> None:
        self._out = reporter

    def pytest_terminal_summary(self) -> None:
        """Print how many tests were skipped for each reason."""
        reasons = Counter(_reason(report) for report in self._out.stats.get("skipped", []))
        if not reasons:
            return
        self._out.section("skipped, by reason")
        for reason, number in reasons.most_common():
            self._out.line(f"{number:4} {reason}")


def _group(nodeid: str) -> str:
    return nodeid.partition("::")[0].rpartition("/")[0] or "."


def _reason(report: Any) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return str(text).removeprefix("Skipped: ")
