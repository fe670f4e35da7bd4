"""What the service manager and the daemon tell each other, and the definitions in conf/."""

from __future__ import annotations

import fcntl
import os
import plistlib
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.daemon import ROOT, Daemon, command, say

from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

CONF = ROOT / "conf"


def manager(path: Path) -> socket.socket:
    """Return a service manager's notification socket."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(path))
    sock.settimeout(30)
    return sock


def test_a_watched_daemon_says_again_and_again_that_its_loop_turns(tmp_path: Path) -> None:
    with manager(tmp_path / "notify") as told:
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        with Daemon(tmp_path / "d", env=env) as daemon:
            assert told.recv(100) == b"READY=1"
            began = time.monotonic()
            assert [told.recv(100) for _ in range(8)] == [b"WATCHDOG=1"] * 8
            # Some may have come before the first look, on a busy machine; they are 0.2 s apart.
            assert time.monotonic() - began > 0.7, "every half of the time allowed, not faster"
            assert daemon.stop() == 0
        rest = told.recv(100)
        while rest == b"WATCHDOG=1":
            rest = told.recv(100)
        assert rest == b"STOPPING=1"


@pytest.mark.parametrize(
    "more", [{}, {"WATCHDOG_USEC": "200000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "x"}]
)
def test_a_daemon_without_a_watchdog_says_nothing(tmp_path: Path, more: dict[str, str]) -> None:
    with manager(tmp_path / "notify") as told:
        with Daemon(tmp_path / "d", env={"NOTIFY_SOCKET": str(tmp_path / "notify"), **more}) as daemon:
            assert told.recv(100) == b"READY=1"
            time.sleep(0.5)
            assert daemon.stop() == 0
        assert told.recv(100) == b"STOPPING=1"


def handing_over(numbers: Sequence[int]) -> list[str]:
    """Return a launcher that hands over descriptors as sd_listen_fds(3) says: from 3 on."""
    moves = "".join(f"exec {3 + at}<&{number}; " for at, number in enumerate(numbers))
    script = f'{moves} LISTEN_PID=$$ LISTEN_FDS={len(numbers)} exec "$@"'
    return ["bash", "-c", script, "manager", *command()]


@contextmanager
def high(*socks: socket.socket) -> Iterator[tuple[int, ...]]:
    """Return copies of sockets, on numbers that are free."""
    numbers = tuple(fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD, 100) for sock in socks)
    try:
        yield numbers
    finally:
        for number in numbers:
            os.close(number)


@contextmanager
def activated(folder: Path, sock: socket.socket) -> Iterator[Daemon]:
    """Return a daemon that was started with a listening socket."""
    with high(sock) as numbers:
        daemon = Daemon(folder, launch=handing_over(numbers))
        daemon.pass_fds = numbers
        with daemon:
            yield daemon


def test_a_socket_of_the_managers_is_served_and_goes_before_listen_addr(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours, activated(tmp_path / "d", ours) as daemon:
        assert daemon.port == ours.getsockname()[1]
        profile = daemon.pair()
        assert say(profile, MessageType.ARM).outcome is Outcome.OK


def test_connections_wait_while_the_daemon_restarts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours:
        with activated(tmp_path / "d", ours) as daemon:
            profile = daemon.pair()
        early = socket.create_connection(ours.getsockname(), timeout=30)  # no daemon runs; it is not refused
        with early, activated(tmp_path / "d", ours):
            early.sendall(b"NOVAK/1 /msg\n\x00\x00")
            assert b"bad_request" in early.recv(1000)
            assert say(profile, MessageType.ARM).outcome is Outcome.OK


def test_what_is_no_single_listening_port_is_refused_with_the_cure(tmp_path: Path) -> None:
    def refused(*socks: socket.socket) -> str:
        with high(*socks) as numbers:
            argv = [*handing_over(numbers), "--data-dir", str(tmp_path / "d")]
            options = {"capture_output": True, "text": True, "timeout": 60, "check": False}
            done = subprocess.run(argv, pass_fds=numbers, **options)  # type: ignore[call-overload]
        assert done.returncode == 1
        return done.stderr

    with socket.socket() as quiet, socket.create_server(("127.0.0.1", 0)) as one:
        with socket.create_server(("127.0.0.1", 0)) as two:
            assert "hands over 2 sockets\nname one ListenStream= only" in refused(one, two)
        assert "does not listen on a TCP port" in refused(quiet)
    with socket.socket(socket.AF_UNIX) as local:
        local.bind(str(tmp_path / "local"))
        local.listen()
        assert "does not listen on a TCP port" in refused(local)


def test_systemd_itself_hands_over_a_socket_with_the_first_connection(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["systemd-socket-activate", f"--listen=127.0.0.1:{port}", "--setenv=PATH", "--setenv=HOME"]
    activator = subprocess.Popen(
        [*words, *command("--data-dir", tmp_path / "d")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                sock = socket.create_connection(("127.0.0.1", port), timeout=30)
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        with sock:
            sock.sendall(b"NOVAK/1 /msg\n\x00\x00")
            assert b"bad_request" in sock.recv(1000)
    finally:
        activator.terminate()
        assert activator.wait(20) == 0, "it became the daemon, which ends in order"


def test_the_launch_agent_has_the_form_that_launchd_reads() -> None:
    agent = plistlib.loads((CONF / "novakey.plist").read_bytes())
    assert agent["Label"] == "novakey" and agent["RunAtLoad"] is True
    assert agent["KeepAlive"] == {"SuccessfulExit": False} and agent["Umask"] == 0o077
    shell, option, line = agent["ProgramArguments"]
    assert (shell, option) == ("/bin/sh", "-c")
    assert subprocess.run([shell, "-n", option, line], check=False).returncode == 0


def test_the_scheduled_task_has_the_form_that_windows_reads() -> None:
    space = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
    task = ElementTree.parse(CONF / "novakey-task.xml").getroot()
    assert task.tag == f"{space}Task" and task.get("version") == "1.2"
    parts = {part.tag.removeprefix(space) for part in task}
    assert parts == {"RegistrationInfo", "Triggers", "Principals", "Settings", "Actions"}

    def text(path: str) -> str | None:
        return task.findtext("/".join(space + step for step in path.split("/")))

    assert task.find(f"{space}Triggers/{space}LogonTrigger") is not None
    assert text("Principals/Principal/LogonType") == "InteractiveToken"
    assert text("Principals/Principal/RunLevel") == "LeastPrivilege"
    assert text("Settings/ExecutionTimeLimit") == "PT0S"
    assert text("Settings/MultipleInstancesPolicy") == "IgnoreNew"
    assert text("Actions/Exec/Arguments") == "serve"
    principal = task.find(f"{space}Principals/{space}Principal")
    actions = task.find(f"{space}Actions")
    assert principal is not None and actions is not None
    assert principal.get("id") == actions.get("Context"), "the actions run as a principal that there is"
