"""A test that hangs fails alone, with its stacks; the other tests run, and nothing is left."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from support.tiny_suite import PYTEST, Run, suite
from support.x11 import wait_until

_HANGING = """
import gevent, os, pytest, signal, subprocess, time
from gevent.monkey import get_original

def test_spins():
    while True:
        pass

def test_blocks_in_another_greenlet():
    def busy():  # no other greenlet runs, as in a loop, but no processor either
        get_original("time", "sleep")(60)
    gevent.spawn(busy).join()

def test_swallows_the_first_failure():
    try:
        time.sleep(60)
    except BaseException:
        time.sleep(60)

@pytest.fixture
def slow_end():
    yield
    time.sleep(60)

def test_hangs_in_teardown_after_a_failure(slow_end):
    assert False, "the failure itself"

def test_is_well():
    pass
"""
_DYING = """
import ctypes, os, pytest, signal, subprocess

def test_holds_the_interpreter():
    mutex = ctypes.create_string_buffer(64)  # zeros are an open one
    for _ in range(2):  # locked twice, it waits in C for ever, and no signal ends that
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)

def test_is_killed():
    os.kill(os.getpid(), signal.SIGKILL)

def test_is_stopped():
    os.kill(os.getpid(), signal.SIGSTOP)

@pytest.mark.parametrize("number", range(3))
def test_is_skipped(number):
    pytest.skip("needs the tool")

def test_leaves_a_process():
    subprocess.Popen(["sleep", "1006"], start_new_session=True)

def test_is_well():
    pass
"""


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return what one run over both files prints."""
    folder = tmp_path_factory.mktemp("suite")
    suite(folder, 2, hanging__test_hanging=_HANGING, dying__test_dying=_DYING)
    run = Run(folder, *PYTEST, "-n", "2", "--durations=10", options=["--stopped", "0.5"])
    output = run.end()
    assert run.status == 1, output
    return output


def test_the_closing_line_is_the_last_and_counts_all(output: str) -> None:
    last = output.splitlines()[-1].strip("= ")
    assert last.startswith("7 failed, 3 passed, 3 skipped, 2 errors in ")


@pytest.mark.parametrize("name", ["spins", "blocks_in_another_greenlet", "swallows_the_first_failure"])
def test_a_test_that_hangs_fails_in_time(output: str, name: str) -> None:
    assert f"FAILED hanging/test_hanging.py::test_{name} - Failed: the test took longer than 2 s" in output


def test_a_teardown_that_hangs_fails_in_time(output: str) -> None:
    name = "hanging/test_hanging.py::test_hangs_in_teardown_after_a_failure"
    assert f"FAILED {name} - AssertionError: the failure itself" in output
    assert f"ERROR {name} - Failed: the test took longer than 2 s" in output


def test_all_greenlets_are_shown(output: str) -> None:
    assert "in busy" in output
    assert "in test_blocks_in_another_greenlet" in output


@pytest.mark.parametrize("name", ["holds_the_interpreter", "is_killed", "is_stopped"])
def test_a_worker_that_dies_takes_one_test_with_it(output: str, name: str) -> None:
    assert output.count(f"crashed while running 'dying/test_dying.py::test_{name}'") >= 1
    assert output.count(f"FAILED dying/test_dying.py::test_{name} - ") == 1


def test_the_threads_of_a_stuck_interpreter_are_shown(output: str) -> None:
    assert "Timeout (0:00:04)!" in output
    assert "in test_holds_the_interpreter" in output


def test_what_a_test_left_is_an_error_with_its_name(output: str) -> None:
    line = next(line for line in output.splitlines() if line.startswith("ERROR left behind: process"))
    assert "sleep 1006 (started in dying/test_dying.py::test_leaves_a_process (call))" in line


def test_each_group_has_a_line_and_each_reason_a_count(output: str) -> None:
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert any(line.startswith("hanging 5 failed, 1 passed ") for line in lines)
    assert any(line.startswith("dying 3 failed, 2 passed, 3 skipped ") for line in lines)
    assert lines[lines.index("3 needs the tool") - 1].strip("= ") == "skipped, by reason"


def test_the_first_failure_is_printed_when_it_happens(output: str) -> None:
    first, second = [at for at in range(len(output)) if output.startswith("FAILED ", at)][:2]
    assert second < output.index("= ERRORS =")
    assert "the test took longer than 2 s" in output[first:second] or "crashed while" in output[first:second]


_SCREEN = """
import os, pathlib, pytest, subprocess, sys, time
if "{phase}" == "collection":
    pathlib.Path("reached").touch()
    time.sleep(60)
sys.path.insert(0, os.environ["PYTHONPATH"])
from support.x11 import RecordingXterm, XServer

@pytest.fixture
def screen():
    with XServer() as server:
        yield server
        if "{phase}" == "teardown":
            pathlib.Path("reached").touch()
            time.sleep(60)

def test_on_a_screen(screen):
    subprocess.Popen(["sleep", "1007"], start_new_session=True)
    if "{phase}" == "test":
        with RecordingXterm(screen):
            pathlib.Path("reached").touch()
            time.sleep(60)
"""


@pytest.mark.parametrize(
    ("phase", "how"),
    [
        ("collection", "SIGINT"),
        ("test", "SIGINT"),
        ("teardown", "SIGTERM"),
        ("teardown", "SIGINT"),
        ("test", "SIGKILL"),
    ],
)
def test_a_run_can_be_ended_in_any_phase(tmp_path: Path, phase: str, how: str) -> None:
    """Ctrl-C and SIGTERM reach `tests/run`; SIGKILL pytest itself."""
    suite(tmp_path, test_screen=_SCREEN.replace("{phase}", phase))
    run = Run(tmp_path, *PYTEST, "-n", "1")
    try:
        wait_until((tmp_path / "reached").exists, phase, 30)
        began = time.monotonic()
        pid = run.front.pid if how != "SIGKILL" else run.pids("-m pytest --dist")[-1]
        os.kill(pid, signal.Signals[how])
        output = run.end(10)
        assert time.monotonic() - began < 5
        assert run.status == 128 + signal.Signals[how], output
        assert "killing what remains" in output
    finally:
        run.kill()
