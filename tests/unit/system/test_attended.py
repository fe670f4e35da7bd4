"""Whose terminal a person has before them: tmux with and without a client, background jobs, real windows."""

from __future__ import annotations

import os
import pty
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.x11 import wait_until

from novakey.system import attended

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


class Tmux:
    """A server with one pane; `pid` is the process in it. A client is attached by a terminal of ours."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._socket = folder, str(folder / f"t{secrets.token_hex(4)}")
        self._client: subprocess.Popen[bytes] | None = None
        self.run("-f", "/dev/null", "new-session", "-d", "-s", "one", "sleep 600")
        self.pid = int(self.run("list-panes", "-s", "-F", "#{pane_pid}").split()[0])

    def run(self, *words: str) -> str:
        command = ["tmux", "-S", self._socket, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def attach(self) -> None:
        master, slave = pty.openpty()
        self._master = master
        command = ["tmux", "-S", self._socket, "attach", "-t", "one"]
        env = {**os.environ, "TERM": "xterm"}
        self._client = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=env)
        os.close(slave)
        wait_until(lambda: self.run("list-clients").strip() != "", "the client", 20)

    def close(self) -> None:
        with suppress(subprocess.CalledProcessError):  # it ends with its last pane
            self.run("kill-server")
        if self._client is not None:
            self._client.wait(20)
            os.close(self._master)


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    made = Tmux(tmp_path)
    yield made
    made.close()


@needs_tmux
def test_a_job_in_a_detached_tmux_is_not_seen_until_somebody_attaches(tmux: Tmux) -> None:
    assert not attended.is_seen(tmux.pid)
    tmux.attach()
    assert attended.is_seen(tmux.pid)
    tmux.run("new-window", "-t", "one", "sleep 600")
    assert not attended.is_seen(tmux.pid), "another window of the session is on the screen"
    tmux.run("detach-client", "-s", "one")
    wait_until(lambda: tmux.run("list-clients").strip() == "", "the end of the client", 20)
    tmux.run("select-window", "-t", "one:0")
    assert not attended.is_seen(tmux.pid)


@needs_tmux
def test_a_job_in_the_background_is_not_seen_also_where_somebody_is_attached(
    tmux: Tmux, tmp_path: Path
) -> None:
    told = tmp_path / "pid"
    tmux.run(
        "respawn-pane",
        "-k",
        "-t",
        "one",
        f"set -m; sleep 600 & echo $! >{told}.new; mv {told}.new {told}; wait",
    )
    tmux.attach()
    wait_until(told.exists, "the job", 20)
    job = int(told.read_text())
    try:
        assert not attended.is_seen(job)
    finally:
        os.kill(job, 9)  # it outlives its terminal


def test_a_process_without_a_terminal_or_on_an_unknown_one_is_not_seen() -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        try:
            assert not attended.is_seen(process.pid)
        finally:
            process.kill()
    assert not attended.is_seen(1 << 22)
    pid, master = pty.fork()
    if pid == 0:
        os.execvp("sleep", ["sleep", "600"])
    try:
        assert not attended.is_seen(pid), "this program, which is no terminal, holds the other end"
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(master)


def test_a_job_in_the_window_of_a_terminal_program_is_seen(tmp_path: Path) -> None:
    """A copy of script(1) by the name of one stands for it here."""
    terminal = tmp_path / "xterm"
    shutil.copy(shutil.which("script") or pytest.skip("script is not installed"), terminal)
    told = tmp_path / "pid"
    command = [
        str(terminal),
        "-qc",
        f"echo $$ >{told}.new; mv {told}.new {told}; exec sleep 600",
        "/dev/null",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(told.exists, "the job", 20)
            assert attended.is_seen(int(told.read_text()))
        finally:
            process.kill()
