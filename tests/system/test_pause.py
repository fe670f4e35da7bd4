"""The owner pauses all deliveries: real daemon, real phone, the real commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.daemon import Daemon, arm_and_approve, run, say

from novakey.messages.rules import PAUSED
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

INJECT = MessageType.INJECT


def test_a_paused_daemon_takes_no_secret_until_it_is_resumed(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        here = ("--data-dir", daemon.folder)
        phone = daemon.pair("pocket")
        arm_and_approve(phone)
        done = run(*here, "pause")
        assert (done.returncode, done.stdout) == (
            0,
            "paused: no phone's secret is taken until: novakey.py resume\n",
        )
        assert json.loads(run(*here, "status", "--json").stdout)["armed"] == [], "it closes what was open"
        assert "paused:   no phone's secret is taken until: novakey.py resume" in run(*here, "status").stdout
        arm_and_approve(phone)
        reply = say(phone, INJECT, b"secret")
        assert (reply.outcome, reply.msg) == (Outcome.BAD_REQUEST, PAUSED)
        assert json.loads(run(*here, "pause", "--json").stdout) == {"paused": True}, "twice is once"
        assert run(*here, "resume").stdout == "resumed\n"
        assert json.loads(run(*here, "status", "--json").stdout)["paused"] is False
        # It goes through every gate now, to a display that is not there.
        assert say(phone, INJECT, b"other").outcome is Outcome.INTERNAL_ERROR
        rows = [json.loads(line) for line in run(*here, "audit", "--json").stdout.splitlines()]
        assert [row["event"] for row in rows if "event" in row] == ["paired", "paused", "resumed"]


def test_a_restart_ends_a_pause(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        assert run("--data-dir", daemon.folder, "pause").returncode == 0
    with Daemon(tmp_path / "d") as daemon:
        assert json.loads(run("--data-dir", daemon.folder, "status", "--json").stdout)["paused"] is False


@pytest.mark.parametrize("op", ["pause", "resume"])
def test_without_a_daemon_it_says_so(tmp_path: Path, op: str) -> None:
    done = run("--data-dir", tmp_path / "d", op)
    assert done.returncode == 1 and done.stdout == ""
    assert "no daemon" in done.stderr
