"""Who can reach the owner's socket: its rights, what lies in its place, what it takes from a peer."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support import needs
from support.daemon import ROOT, Daemon, read_all, run

from novakey.control import client, listener
from novakey.control.server import MAX_CONNECTIONS, MAX_LIVE
from novakey.errors import NovaKeyError
from novakey.system.paths import Paths
from novakey.wire.control import MAX_REQUEST, Done, Event

STATUS = b'{"v":2,"op":"status","args":{}}\n'

PYTHON = "/usr/bin/python3"  # Debian's: the tests' own may lie where only its owner can go

# What a stranger's program does: connect, ask, and print what came. Only the standard library, any Python.
STRANGER = """
import socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.settimeout(20)
try:
    sock.connect(sys.argv[1])
    sock.sendall(b'{"v":2,"op":"status","args":{}}\\n')
    print("answered", sock.recv(4096))
except OSError as error:
    print(type(error).__name__)
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("socket") / "d") as daemon:
        yield daemon


def path_of(folder: Path) -> Path:
    return folder / "control.sock"


def connected(folder: Path) -> socket.socket:
    sock = listener.connect(folder, 10)
    assert sock is not None
    sock.settimeout(20)
    return sock


def answer(folder: Path, data: bytes) -> bytes:
    with connected(folder) as sock:
        with contextlib.suppress(OSError):  # it may hang up before all of it is sent
            sock.sendall(data)
        return read_all(sock)


# ---- rights ----


@pytest.fixture
def open_place() -> Iterator[Path]:
    """Return a folder that everybody can enter, so that only what is in it protects it."""
    place = Path(tempfile.mkdtemp(prefix="novakey-open-", dir=needs.open_place()))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


@pytest.fixture
def stranger() -> Iterator[str]:
    """Return a second user of this machine."""
    needs.root("makes a second user")
    name = f"novakey-{os.getpid()}"
    subprocess.run(["useradd", "--no-create-home", "--shell", "/bin/sh", name], check=True)
    yield name
    subprocess.run(["userdel", name], check=True)


def as_stranger(name: str, path: Path) -> str:
    done = subprocess.run(
        ["runuser", "-u", name, "--", PYTHON, "-c", STRANGER, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
        check=True,
    )
    return done.stdout.strip()


def test_another_user_is_kept_out_by_each_of_three_fences_alone(open_place: Path, stranger: str) -> None:
    before = os.umask(0)  # the widest there is, which the daemon inherits
    try:
        daemon = Daemon(open_place / "d")
        with daemon:
            os.umask(before)
            path = path_of(daemon.folder)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(daemon.folder.stat().st_mode) == 0o700
            assert as_stranger(stranger, path) == "PermissionError"
            daemon.folder.chmod(0o755)  # the first fence is gone
            assert as_stranger(stranger, path) == "PermissionError"
            path.chmod(0o666)  # and the second
            # Hung up on, without a word; the kernel may say so in one way or another.
            assert as_stranger(stranger, path) in ("answered b''", "ConnectionResetError", "BrokenPipeError")
            daemon.wait_for_log("a process of another user was hung up on")
            daemon.folder.chmod(0o700)
            assert client.ask(Paths.under(daemon.folder), "status")["devices"] == 0
    finally:
        os.umask(before)


def test_a_folder_of_another_user_is_not_used(open_place: Path, stranger: str) -> None:
    """Not as such, and not by a planted link: its owner could put another socket there."""
    theirs, ours = open_place / "theirs", open_place / "runtime"
    theirs.mkdir(mode=0o700)
    shutil.chown(theirs, stranger)
    ours.mkdir(mode=0o700)
    (ours / "novakey").symlink_to(theirs)
    env = {"XDG_RUNTIME_DIR": str(ours), "HOME": str(open_place), "NOVAKEY_LISTEN_ADDR": "127.0.0.1:0"}
    done = run("serve", env=env)
    assert done.returncode == 3 and "is a link, and links are not followed here" in done.stderr
    assert list(theirs.iterdir()) == []
    (ours / "novakey").unlink()
    theirs.rename(ours / "novakey")
    done = run("serve", env=env)
    assert done.returncode == 3 and "belongs to another user" in done.stderr


def test_a_daemon_of_another_user_is_not_commanded(open_place: Path, stranger: str) -> None:
    """Somebody else's program behind our socket's name would be told what we want."""
    script = open_place / "fake.py"
    script.write_text(
        "import os, socket, sys\n"
        "sock = socket.socket(socket.AF_UNIX); sock.bind(sys.argv[1]); sock.listen()\n"
        "print('ready', flush=True); sys.stdin.read()\n"
    )
    place = open_place / "place"
    place.mkdir()
    shutil.chown(place, stranger)
    fake = subprocess.Popen(
        ["runuser", "-u", stranger, "--", PYTHON, str(script), str(path_of(place))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd="/",
    )
    try:
        assert fake.stdout is not None and fake.stdout.readline() == b"ready\n"
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(path_of(place)))
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        assert int.from_bytes(credentials[4:8], sys.byteorder) == pwd.getpwnam(stranger).pw_uid
        assert not listener.is_owner(sock)
        sock.close()
    finally:
        fake.communicate(timeout=20)


def test_a_planted_link_or_file_is_refused_and_not_touched(tmp_path: Path) -> None:
    for number, kind in enumerate(("link", "dangling", "file")):
        folder, target = tmp_path / f"d{number}", tmp_path / f"target{number}"
        folder.mkdir(mode=0o700)
        path = path_of(folder)
        if kind == "file":
            path.write_text("x")
        else:
            path.symlink_to(target)
        if kind == "link":
            target.write_text("x")
        done = run("--data-dir", folder, env={"NOVAKEY_LISTEN_ADDR": "127.0.0.1:0"})
        assert done.returncode == 3, done.stderr
        assert "only our own socket is replaced" in done.stderr and f"rm {path}" in done.stderr
        assert path.is_symlink() or path.read_text() == "x"
        assert target.exists() == (kind == "link")


def test_a_socket_left_by_a_dead_daemon_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    with Daemon(folder) as daemon:
        daemon.kill()
        assert path_of(folder).is_socket()
    with pytest.raises(client.NoDaemonError, match="no daemon runs"):
        client.ask(Paths.under(folder), "status")
    with Daemon(folder) as daemon:
        inode = path_of(folder).stat().st_ino
        assert run("--data-dir", folder).returncode == 1
        assert path_of(folder).stat().st_ino == inode
        assert client.ask(Paths.under(folder), "status")["pid"] == daemon.process.pid
    assert not path_of(folder).exists()


def test_a_path_longer_than_a_sockets_address_works(tmp_path: Path) -> None:
    folder = tmp_path / ("long-" * 30) / "d"
    folder.parent.mkdir()
    with Daemon(folder) as daemon:
        assert len(os.fsencode(path_of(folder))) > 150
        assert client.ask(Paths.under(folder), "status")["pid"] == daemon.process.pid


def test_a_path_too_long_for_a_system_without_proc_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_PROC", tmp_path / "no-proc")
    folder = tmp_path / ("long-" * 30)
    with pytest.raises(
        NovaKeyError, match="too long for a socket: at most 103 bytes\nuse a shorter --data-dir"
    ):
        listener.listen(folder)
    short = Path(tempfile.mkdtemp(prefix="nk-"))
    with listener.listen(short), connected(short):
        assert path_of(short).is_socket()
    shutil.rmtree(short)


def test_the_socket_is_in_the_runtime_folder_and_that_folder_is_one_daemons(tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    env = {
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(runtime),
        "NOVAKEY_LISTEN_ADDR": "127.0.0.1:0",
        "NOVAKEY_DESKTOP_BACKEND": "none",
    }
    daemon = subprocess.Popen(
        [sys.executable, str(Path(__file__).parents[3] / "novakey.py")],
        env={"PATH": os.environ["PATH"], **env},
        stderr=subprocess.PIPE,
    )
    try:
        deadline = time.monotonic() + 30
        while (done := run("status", "--json", env=env)).returncode != 0:
            assert time.monotonic() < deadline, done.stdout
        assert json.loads(done.stdout)["pid"] == daemon.pid
        assert path_of(runtime / "novakey").is_socket()
        second = run("serve", env={**env, "XDG_DATA_HOME": str(tmp_path / "elsewhere")})
        assert second.returncode == 1 and "another daemon already uses" in second.stderr
        assert second.stderr.endswith("--data-dir, and another listen_addr\n")
    finally:
        daemon.terminate()
        daemon.communicate(timeout=20)


# ---- what it takes ----


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\n", "not a JSON object"),
        (b'{"v":2,"op":"shutdown","args":{}}\n', "there is no such operation"),
        (b'{"v":2,"op":"arm","args":{"ms":"1"}}\n', "arm takes no such argument, or not of this type"),
        (b'{"v":9,"op":"status","args":{}}\n', "the daemon is of another version"),
    ],
)
def test_what_is_not_a_request_is_refused_with_a_sentence(shared: Daemon, data: bytes, problem: str) -> None:
    assert json.loads(answer(shared.folder, data))["refused"]["problem"] == problem


def test_a_request_that_is_too_long_is_hung_up_on(shared: Daemon) -> None:
    assert answer(shared.folder, b"x" * (MAX_REQUEST + 1)) == b""


def test_one_request_a_connection(shared: Daemon) -> None:
    lines = answer(shared.folder, STATUS + STATUS).splitlines()
    assert len(lines) == 1 and b'"ok"' in lines[0]


def test_followers_are_bounded_and_leave_room_for_questions(shared: Daemon) -> None:
    paths = Paths.under(shared.folder)
    with contextlib.ExitStack() as following:
        for _ in range(MAX_LIVE):
            asked = following.enter_context(client.request(paths, "log", lines=1, follow=True))
            assert isinstance(asked.next(10), Event)
        one_too_many = following.enter_context(client.request(paths, "log", lines=1))
        with pytest.raises(NovaKeyError, match="too many are following already"):
            one_too_many.next(10)
        assert client.ask(paths, "status")["pid"] == shared.process.pid
    # Each that hung up has given its place back, although nothing was logged that could have told.
    deadline = time.monotonic() + 10
    while True:
        with client.request(paths, "log", lines=1) as asked, contextlib.suppress(NovaKeyError):
            assert isinstance(asked.next(10), Event)
            break
        assert time.monotonic() < deadline
    assert client.ask(paths, "status")["pid"] == shared.process.pid


def test_idle_connections_are_bounded_and_do_not_lock_the_owner_out(
    shared: Daemon,
) -> None:
    with contextlib.ExitStack() as open_ones:
        idle = [open_ones.enter_context(connected(shared.folder)) for _ in range(MAX_CONNECTIONS + 4)]
        idle[0].sendall(b'{"v":2')
        assert client.ask(Paths.under(shared.folder), "status")["pid"] == shared.process.pid
        assert read_all(idle[0]) == b""


def test_the_daemon_can_be_stopped_while_somebody_follows(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        paths = Paths.under(daemon.folder)
        with client.request(paths, "pair") as pairing, client.request(paths, "log", lines=0) as log:
            assert isinstance(pairing.next(10), Event)
            assert daemon.stop() == 0
            with pytest.raises(NovaKeyError, match="the daemon stopped"):
                pairing.next(10)
            with pytest.raises(client.NoDaemonError, match="the daemon stopped"):
                while not isinstance(log.next(10), Done):
                    pass


def test_the_page_names_every_member_of_the_status(shared: Daemon) -> None:
    page = (ROOT / "docs" / "control.md").read_text()
    (about,) = re.findall(r"^`status` answers .*?\n\n", page, re.MULTILINE | re.DOTALL)
    answered = client.ask(Paths.under(shared.folder), "status")
    assert {name for name in answered if f"`{name}`" not in about} == set()


# ---- many at once ----


def fill(daemon: Daemon, most: int) -> list[socket.socket]:
    """Open connections with a request each for a stopped daemon: `most`, or a full backlog."""
    waiting: list[socket.socket] = []
    with contextlib.suppress(BlockingIOError):
        while len(waiting) < most:
            sock = socket.socket(socket.AF_UNIX)
            sock.setblocking(False)
            waiting.append(sock)
            sock.connect(str(path_of(daemon.folder)))
            sock.sendall(STATUS)
    return waiting


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Daemon]:
    """Return a daemon that does not run at the moment, as one that is busy for long."""
    with Daemon(tmp_path / "d") as daemon:
        daemon.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, daemon.process.pid, os.WSTOPPED | os.WNOWAIT)
        yield daemon
        daemon.process.send_signal(signal.SIGCONT)


def test_a_hundred_commands_at_once_are_all_answered(stopped: Daemon) -> None:
    waiting = fill(stopped, 100)
    stopped.process.send_signal(signal.SIGCONT)
    for sock in waiting:
        with sock:
            sock.settimeout(20)
            assert b'"ok"' in read_all(sock)
    assert len(waiting) == 100


def test_a_command_that_meets_a_full_backlog_tries_again(
    stopped: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, sleep = fill(stopped, 10_000), time.sleep

    def moving_on(seconds: float) -> None:
        stopped.process.send_signal(signal.SIGCONT)
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", moving_on)
    assert client.ask(Paths.under(stopped.folder), "status")["pid"] == stopped.process.pid
    for sock in waiting:
        sock.close()


def test_a_daemon_that_is_too_busy_is_not_called_missing(stopped: Daemon) -> None:
    waiting = fill(stopped, 10_000)
    commands = (["arm"], ["status", "--json"], ["status"])
    with ThreadPoolExecutor() as side_by_side:
        arm, status, shown = side_by_side.map(
            lambda words: run("--data-dir", stopped.folder, *words, timeout=30), commands
        )
    assert arm.returncode == 1 and f"the daemon (process {stopped.process.pid}) is there, but" in arm.stderr
    assert (status.returncode, json.loads(status.stdout)["running"]) == (1, True)
    assert "too busy to answer: try again in a moment" in shown.stdout and "not running" not in shown.stdout
    for sock in waiting:
        sock.close()
