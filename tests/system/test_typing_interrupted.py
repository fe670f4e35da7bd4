"""The daemon is killed, stopped, or left alone by its display in the middle of typing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from support import needs
from support.daemon import Daemon, arm_and_approve, say
from support.random_text import CJK
from support.x11 import Recorder, RecordingXterm, XServer, differs, wait_until

from novakey.errors import NovaKeyError
from novakey.phone import Profile
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome, Reply

INJECT = MessageType.INJECT


@pytest.fixture(scope="module")
def server() -> Iterator[XServer]:
    with XServer() as running:
        yield running


@pytest.fixture
def terminal(server: XServer) -> Iterator[Recorder]:
    with RecordingXterm(server) as recorder:
        yield recorder


def on_display(server: XServer, folder: Path, **settings: Any) -> Daemon:
    env = {"DISPLAY": server.display}
    limits = {"max_requests_per_min": 100_000, "max_inject_len": 1200, "max_payload_len": 8192}
    settings = {**limits, "delivery_timeout_s": 15, **settings}
    return Daemon(folder, env=env, desktop_backend="x11", **settings)


def long_text(length: int = 1000) -> str:
    """So many different characters that they go out in dozens of steps."""
    return "".join(map(chr, random.sample(CJK, length)))


def send(phone: Profile, text: str) -> gevent.Greenlet:
    arm_and_approve(phone)

    def deliver() -> Reply | None:
        try:
            return say(phone, INJECT, text.encode())
        except NovaKeyError:
            return None  # the daemon died

    return gevent.spawn(deliver)


def marked(server: XServer) -> bool:
    """Whether a delivery runs, or was killed."""
    return (
        "no such atom" not in (words := server.run("xprop", "-root", "_NOVAKEY_DELIVERY", check=False))
        and "=" in words
    )


def kill_in_the_middle(server: XServer, terminal: Recorder, folder: Path, rounds: int) -> int:
    """Kill the daemon at random moments of typing, start it again; how often it left something changed."""
    server.run("xdotool", "key", "Caps_Lock")
    before, left_changed = server.keymap(), 0
    assert "Caps Lock:   on" in before
    phone = None
    try:
        for _ in range(rounds):
            terminal.clear()
            with on_display(server, folder) as daemon:
                phone = daemon.pair() if phone is None else daemon.at(phone)
                sending = send(phone, long_text())
                wait_until(lambda: len(terminal.text()) > 3, "typing")
                gevent.sleep(random.random() * 0.3)
                daemon.kill()
                sending.join(20)
            left_changed += marked(server)
            with on_display(server, folder):
                wait_until(lambda: not marked(server), "putting it right", 10)
            assert server.keymap() == before
    finally:
        server.run("xdotool", "key", "Caps_Lock")
    return left_changed


def test_after_a_kill_in_the_middle_the_next_start_puts_keyboard_and_locks_right(
    server: XServer, terminal: Recorder, tmp_path: Path
) -> None:
    assert kill_in_the_middle(server, terminal, tmp_path / "d", rounds=2) > 0


@pytest.mark.long
def test_fifty_kills_in_the_middle(server: XServer, terminal: Recorder, tmp_path: Path) -> None:
    left_changed = kill_in_the_middle(server, terminal, tmp_path / "d", rounds=50)
    print(f"\n{left_changed} of 50 had left something changed")


def stop_in_the_middle(server: XServer, terminal: Recorder, folder: Path) -> float:
    """Stop the daemon while it types; how long typing went on."""
    before, text = server.keymap(), long_text()
    terminal.clear()
    with on_display(server, folder) as daemon:
        sending = send(daemon.pair(), text)
        wait_until(lambda: len(terminal.text()) > 3, "typing")
        daemon.process.send_signal(signal.SIGTERM)
        start = time.monotonic()
        reply = sending.get(timeout=10)
        took = time.monotonic() - start
        assert daemon.process.wait(15) == 0
    assert reply is not None
    assert reply.outcome is Outcome.INTERNAL_ERROR
    assert "the daemon is stopping" in reply.msg
    server.run("xdotool", "type", "z")  # comes after all that was typed
    came = wait_until(lambda: got if (got := terminal.text()).endswith("z") else "", "the last key")[:-1]
    assert len(came) < len(text), "it went on typing"
    assert differs(came, text[: len(came)]) is None
    assert server.keymap() == before
    return took


def test_sigterm_stops_typing_and_puts_everything_back(
    server: XServer, terminal: Recorder, tmp_path: Path
) -> None:
    stop_in_the_middle(server, terminal, tmp_path / "d")


def test_a_server_that_is_busy_when_the_daemon_stops_gets_its_keyboard_back(
    server: XServer, terminal: Recorder, tmp_path: Path
) -> None:
    before = server.keymap()
    with on_display(server, tmp_path / "d") as daemon:
        sending = send(daemon.pair(), long_text())
        wait_until(lambda: len(terminal.text()) > 3, "typing")
        os.kill(server.process.pid, signal.SIGSTOP)
        going_on = gevent.spawn_later(0.6, os.kill, server.process.pid, signal.SIGCONT)
        daemon.process.send_signal(signal.SIGTERM)
        going_on.get()
        reply = sending.get(timeout=10)
        assert daemon.process.wait(15) == 0
    assert reply is not None
    assert "the daemon is stopping" in reply.msg
    assert not marked(server)
    assert server.keymap() == before


@pytest.mark.long
def test_fifty_stops_in_the_middle(server: XServer, terminal: Recorder, tmp_path: Path) -> None:
    took = sorted(stop_in_the_middle(server, terminal, tmp_path / f"d{number}") for number in range(50))
    print(f"\ntyping went on for {took[25]:.2f} s (median), {took[-1]:.2f} s (most)")
    assert took[25] < 0.5


def test_a_display_that_hangs_ends_at_its_deadline_while_others_are_served(
    server: XServer, terminal: Recorder, tmp_path: Path
) -> None:
    with on_display(server, tmp_path / "d", delivery_timeout_s=2) as daemon:
        phone = daemon.pair()
        assert say(phone, MessageType.ARM).outcome.success
        before = server.keymap()
        for pause in (None, 0.1):  # before it, and in the middle
            terminal.clear()
            if pause is None:
                os.kill(server.process.pid, signal.SIGSTOP)
            start = time.monotonic()
            sending = send(phone, long_text())
            if pause is not None:
                wait_until(lambda: len(terminal.text()) > 3, "typing")
                os.kill(server.process.pid, signal.SIGSTOP)
            try:
                served = []
                while not sending.ready():
                    asked = time.monotonic()
                    assert say(phone, MessageType.ARM).outcome.success
                    served.append(time.monotonic() - asked)
                    gevent.sleep(0.1)
                took = time.monotonic() - start
            finally:
                os.kill(server.process.pid, signal.SIGCONT)
            reply = sending.get()
            assert reply is not None
            assert reply.outcome is Outcome.INTERNAL_ERROR
            assert took < 3.5
            assert len(served) > 2
            assert max(served) < 2
            arm_and_approve(phone)
            assert say(phone, INJECT, f"back after {pause}".encode()).outcome is Outcome.TYPED
            assert server.keymap() == before


def test_no_program_is_started_for_a_delivery(server: XServer, terminal: Recorder, tmp_path: Path) -> None:
    settings = {"allow_clipboard_on_inject_failure": True}
    with on_display(server, tmp_path / "d", **settings) as daemon:
        needs.tracing("watches for started programs")
        needs.sight_of(daemon.process.pid, "traces an undumpable process")
        phone = daemon.pair()
        arm_and_approve(phone)
        say(phone, INJECT, b"warm")
        log = tmp_path / "calls"
        argv = [
            "strace",
            "-f",
            "-qq",
            "-e",
            "trace=execve,execveat",
            "-o",
            str(log),
            "-p",
            str(daemon.process.pid),
        ]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as tracer:
            wait_until(lambda: traced(daemon.process.pid), "tracing")
            for text in ("typed é字", "and again"):
                arm_and_approve(phone)
                assert say(phone, INJECT, text.encode()).outcome is Outcome.TYPED
            terminal.server.run("xdotool", "windowunmap", "--sync", terminal.window)
            arm_and_approve(phone)
            assert say(phone, INJECT, b"copied").outcome is Outcome.COPIED
            tracer.send_signal(signal.SIGINT)
            tracer.wait(10)
        assert log.read_text() == ""


def traced(pid: int) -> bool:
    """Whether somebody traces a process."""
    return "TracerPid:\t0" not in Path(f"/proc/{pid}/status").read_text()
