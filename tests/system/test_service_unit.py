"""The systemd unit: valid, tight, and loose enough for what the daemon does."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support import needs
from support.daemon import ROOT, Daemon, arm_and_approve, command, say
from support.x11 import RecordingXterm, XServer

from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

UNIT = ROOT / "conf" / "novakey.service"
MOST_EXPOSURE = 3.0

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def analyze(*words: str | Path) -> str:
    done = subprocess.run(["systemd-analyze", *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Return the unit with a program that exists."""
    path = tmp_path / "novakey.service"
    path.write_text(re.sub("(?m)^ExecStart=.*$", "ExecStart=/usr/bin/true", UNIT.read_text()))
    return path


def test_it_is_valid_and_its_exposure_is_below_3(unit: Path) -> None:
    # Without the manager's folders a user unit cannot be verified as one; the syntax is the same.
    assert analyze("verify", unit) == ""
    said = analyze("security", "--offline=yes", "--no-pager", unit)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found is not None and float(found[1]) < MOST_EXPOSURE


def test_pairing_and_typing_make_only_system_calls_that_it_allows(tmp_path: Path) -> None:
    needs.tracing("records system calls")
    trace = tmp_path / "trace"
    with XServer() as screen, RecordingXterm(screen) as window:
        # -D: the daemon is our child, and the tracer its.
        traced = ["strace", "-D", "-f", "-qq", "-o", str(trace), *command()]
        env = {"DISPLAY": screen.env["DISPLAY"]}
        with Daemon(tmp_path / "d", env=env, desktop_backend="x11", launch=traced) as daemon:
            phone = daemon.pair()
            arm_and_approve(phone)
            assert say(phone, MessageType.INJECT, b"typed").outcome is Outcome.TYPED
            window.wait_for("typed")
    made = set(re.findall(r"(?m)^\d+ +([a-z0-9_]+)\(", trace.read_text(errors="replace")))
    assert {"accept4", "recvfrom", "prctl"} <= made
    assert made - allowed() == set()


def allowed() -> set[str]:
    """Return the names that the unit's filter lets through."""
    names: set[str] = set()
    for line in re.findall("(?m)^SystemCallFilter=(.*)$", UNIT.read_text()):
        words = line.lstrip("~").split()
        members = set().union(*(expand(word) for word in words))
        names = names - members if line.startswith("~") else names | members
    return names | expand("@default")


def expand(word: str) -> set[str]:
    if not word.startswith("@"):
        return {word}
    lines = [line.strip() for line in analyze("syscall-filter", "--no-pager", word).splitlines()[1:]]
    return set().union(*(expand(line) for line in lines if line and not line.startswith("#")))
