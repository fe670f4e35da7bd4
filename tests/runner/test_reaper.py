"""Nothing is left of a command, however it ends."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from support.tiny_suite import Run
from support.x11 import wait_until

# A child in its own session and a stopped one; the shell itself hears neither Ctrl-C nor SIGTERM.
_DEAF = """
trap '' INT TERM HUP
setsid sleep 1001 & sleep 1002 &
(setsid setsid sleep 1003 &)
while sleep 0.1; do :; done
"""


def shell(folder: Path, script: str, *options: str) -> Run:
    """Run a script; it stands in a file, so that no process is found by a word in it."""
    (folder / "script").write_text(script)
    return Run(folder, "sh", "script", options=options)


_KILLED_SERVER = """
Xvfb :NUMBER >/dev/null 2>&1 &
while ! [ -S /tmp/.X11-unix/XNUMBER ]; do sleep 0.05; done
kill -9 $!; wait
"""


@pytest.fixture(params=[(), ("--no-namespace",)], ids=["namespace", "subreaper"])
def options(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Both ways; an ordinary user has only the second."""
    assert isinstance(request.param, tuple)
    return request.param


@pytest.fixture
def deaf(tmp_path: Path, options: tuple[str, ...]) -> Iterator[Run]:
    run = shell(tmp_path, _DEAF, *options)
    for number in (1001, 1002, 1003):
        wait_until(partial(run.pids, f"sleep {number}"), "its children")
    os.kill(run.pids("sleep 1002")[0], signal.SIGSTOP)
    yield run
    run.kill()


@pytest.mark.parametrize(
    "victim",
    [
        lambda run: run.front.pid,
        lambda run: run.reaper(),
        lambda run: run.pids("sh script")[-1],
    ],
    ids=["front", "reaper", "command"],
)
def test_a_killed_process_takes_all_others_with_it(deaf: Run, victim: Callable[[Run], int]) -> None:
    os.kill(victim(deaf), signal.SIGKILL)
    deaf.end(5)
    assert deaf.status in (-signal.SIGKILL, 128 + signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_does_not_hear_it(deaf: Run, number: signal.Signals) -> None:
    began = time.monotonic()
    os.kill(deaf.front.pid, number)
    assert f"ended by {number.name}" in deaf.end(10)
    assert time.monotonic() - began < 5
    assert deaf.status == 128 + number


def test_a_second_ctrl_c_does_not_wait(deaf: Run) -> None:
    began = time.monotonic()
    os.kill(deaf.front.pid, signal.SIGINT)
    wait_until(lambda: deaf.front.send_signal(signal.SIGINT) or deaf.front.poll() is not None, "its end")
    deaf.end(5)
    assert time.monotonic() - began < 2.5


def test_a_run_has_a_limit(tmp_path: Path, options: tuple[str, ...]) -> None:
    run = shell(tmp_path, _DEAF, *options, "--limit", "0.5")
    assert "the run took too long" in run.end(10)
    assert run.status == 124


def test_what_a_good_command_left_behind_is_named(tmp_path: Path, options: tuple[str, ...]) -> None:
    run = shell(tmp_path, "PYTEST_CURRENT_TEST=test_x setsid sleep 1005 >/dev/null &", *options)
    output = run.end(20)
    assert "left behind: process" in output
    assert "sleep 1005 (started in test_x)" in output
    assert run.status == 1


def test_a_good_command_is_not_disturbed(tmp_path: Path, options: tuple[str, ...]) -> None:
    for status in (0, 3):
        run = shell(tmp_path, f"sleep 0.2 & echo said; exit {status}", *options)
        assert (run.end(20), run.status) == ("said\n", status)


def test_a_stopped_command_is_killed_and_named(tmp_path: Path, options: tuple[str, ...]) -> None:
    run = shell(tmp_path, "kill -STOP $$", *options, "--stopped", "0.2")
    assert "killing what was stopped for 0.2 s: process" in run.end(20)
    assert run.status == 128 + signal.SIGKILL


def test_the_display_of_a_killed_server_is_removed(tmp_path: Path, options: tuple[str, ...]) -> None:
    named = ""
    for _ in range(10):
        number = str(random.randint(60000, 65000))
        run = shell(tmp_path, _KILLED_SERVER.replace("NUMBER", number), *options)
        output = run.end(20)
        files = (Path(f"/tmp/.X{number}-lock"), Path(f"/tmp/.X11-unix/X{number}"))
        assert not [file for file in files if file.exists()]
        if all(f"left behind: display or bus {file}" in output for file in files):
            return
        named += output  # the reaper of another test, which ended just then, was first to remove them
    raise AssertionError(f"removed, but never named: {named}")


def test_a_server_of_another_run_that_is_about_to_serve_is_left_alone(tmp_path: Path) -> None:
    run = shell(tmp_path, "touch begun; while ! [ -e over ]; do sleep 0.05; done")
    wait_until((tmp_path / "begun").exists, "the command")
    number = random.randint(50000, 59000)
    lock, place = Path(f"/tmp/.X{number}-lock"), Path(f"/tmp/.X11-unix/X{number}")
    lock.touch()
    try:
        (tmp_path / "over").touch()
        time.sleep(0.5)  # the run is over, and its reaper has seen a lock without a server
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(place))
            server.listen()
            assert run.end(20) == "" and run.status == 0
            assert lock.exists() and place.exists()
    finally:
        lock.unlink(missing_ok=True)
        place.unlink(missing_ok=True)
