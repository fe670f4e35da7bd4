"""The daemon end to end under the restrictions of its systemd unit, where no systemd runs.

bubblewrap gives the unit's file system and namespaces, and a filter made by
libseccomp from the unit's own lines gives its system calls. What the unit says
is read from the unit; a line that this file does not know fails.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import installed, needs
from support.daemon import ROOT, Daemon, arm_and_approve, say
from support.x11 import RecordingXterm, XServer, differs

from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

UNIT = (ROOT / "conf" / "novakey.service").read_text()

# Without a counterpart here: how it is started and watched, bounds on resources, rights that an
# unprivileged process does not have anyway, and what hides other users' processes.
ELSEWHERE = {
    *("Description", "PartOf", "After", "Type", "ExecStart", "Restart", "RestartSec", "WantedBy"),
    *("RestartPreventExitStatus", "TimeoutStopSec", "WatchdogSec", "TasksMax", "MemoryMax", "LimitNOFILE"),
    *("LimitCORE", "ProtectProc", "ProtectClock", "ProtectHostname", "RemoveIPC", "KeyringMode", "UMask"),
    *("DevicePolicy", "ProtectKernelModules", "ProtectKernelLogs", "RestrictRealtime", "LockPersonality"),
    *("RestrictSUIDSGID", "ProcSubset", "Documentation", "StartLimitBurst", "StartLimitIntervalSec"),
}
# Given below.
HERE = {
    *("ProtectSystem", "ProtectHome", "ReadWritePaths", "PrivateTmp", "BindReadOnlyPaths", "PrivateDevices"),
    *("PrivateUsers", "ProtectKernelTunables", "ProtectControlGroups", "NoNewPrivileges"),
    *("CapabilityBoundingSet", "AmbientCapabilities", "SystemCallFilter", "SystemCallArchitectures"),
    *("SystemCallErrorNumber", "RestrictAddressFamilies", "RestrictNamespaces", "MemoryDenyWriteExecute"),
}

# systemd's own seccomp-util.c is the model: what memory and namespace rules forbid by argument.
_FILTER = """
import errno, seccomp, socket, sys
from seccomp import ALLOW, EQ, ERRNO, MASKED_EQ, Arg, SyscallFilter
families, names = [line.split() for line in sys.stdin.read().splitlines()]
filter = SyscallFilter(ERRNO(errno.EPERM))
by_argument = {"socket", "mmap", "mprotect", "pkey_mprotect", "clone", "clone3", "unshare", "setns"}
for name in set(names) - by_argument:
    try:
        filter.add_rule(ALLOW, name)
    except Exception:
        pass  # of another architecture
for family in families:
    filter.add_rule(ALLOW, "socket", Arg(0, EQ, getattr(socket, family, 16)))
for writable_or_executable in (0, 2, 4):  # never both
    filter.add_rule(ALLOW, "mmap", Arg(2, MASKED_EQ, 6, writable_or_executable))
filter.add_rule(ALLOW, "mprotect", Arg(2, MASKED_EQ, 4, 0))
for name in ("clone", "unshare"):
    filter.add_rule(ALLOW, name, Arg(0, MASKED_EQ, 0x7E020080, 0))  # CLONE_NEW*
filter.add_rule(ERRNO(errno.ENOSYS), "clone3")
filter.export_bpf(sys.stdout.buffer)
"""


def values(name: str) -> list[str]:
    return [word for line in re.findall(rf"(?m)^{name}=(.*)$", UNIT) for word in line.split()]


def system_calls() -> set[str]:
    """Return the names that the unit's filter lets through."""
    allowed = expanded("@default")
    for line in re.findall("(?m)^SystemCallFilter=(.*)$", UNIT):
        members = set().union(*(expanded(word) for word in line.lstrip("~").split()))
        allowed = allowed - members if line.startswith("~") else allowed | members
    return allowed


def expanded(word: str) -> set[str]:
    if not word.startswith("@"):
        return {word}
    said = subprocess.check_output(["systemd-analyze", "syscall-filter", "--no-pager", word], text=True)
    lines = [line.strip() for line in said.splitlines()[1:]]
    return set().union(*(expanded(line) for line in lines if line and not line.startswith("#")))


@pytest.fixture(scope="module")
def bpf() -> bytes:
    """Return the unit's filter, compiled."""
    needs.programs("bwrap", "systemd-analyze", "/usr/bin/python3")
    needs.user_namespaces("the unit's restrictions by bubblewrap")
    asked = " ".join(values("RestrictAddressFamilies")) + "\n" + " ".join(sorted(system_calls())) + "\n"
    made = subprocess.run(
        ["/usr/bin/python3", "-c", _FILTER], input=asked.encode(), capture_output=True, check=False
    )
    if b"No module named 'seccomp'" in made.stderr:
        pytest.skip("not installed: python3-seccomp")
    assert made.returncode == 0, made.stderr
    return made.stdout


@pytest.fixture(scope="module")
def program() -> Iterator[Path]:
    """Return the launch script of a copy: the tree may lie where a process without rights cannot enter."""
    with tempfile.TemporaryDirectory(prefix="novakey-program-", dir=needs.open_place()) as folder:
        yield installed.copy_to(Path(folder))


class Home:
    """A user's home, and the words that start a program in it under the unit's restrictions."""

    def __init__(self, folder: Path, program: Path, bpf: int) -> None:
        self.folder = folder
        self.program = program
        self.runtime = folder / "run"
        self.bpf = bpf
        self.env = {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "PYTHONPATH": str(program.parent),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def under(self, *arguments: str) -> list[str]:
        """Return the words that start Python with the arguments as the unit does."""
        python = installed.python()
        words = ["bwrap", "--ro-bind", "/", "/"]  # ProtectSystem=strict and ProtectHome=read-only
        words += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--ro-bind", "/sys", "/sys"]
        words += ["--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/var/tmp", "--cap-drop", "ALL"]
        # /tmp is private, and what these tests stand on may be in it; so that is bound again, as strict.
        for path in (Path(python).parents[1], self.program.parent, self.folder):
            words += ["--ro-bind", str(path), str(path)]
        for path in self.paths("BindReadOnlyPaths"):
            words += ["--ro-bind", path, path]
        for path in self.paths("ReadWritePaths"):
            words += ["--bind", path, path]
        words += ["--unshare-user", "--die-with-parent", "--seccomp", str(self.bpf), "--", python, *arguments]
        return words

    def paths(self, name: str) -> list[str]:
        """Return the unit's paths; `-` leaves out one that is not there."""
        whole = [
            word.replace("%h", str(self.folder)).replace("%t", str(self.runtime)) for word in values(name)
        ]
        assert all(word.startswith("-") for word in whole)
        return [word[1:] for word in whole if Path(word[1:]).exists()]

    def python(self, code: str) -> subprocess.CompletedProcess[str]:
        os.lseek(self.bpf, 0, os.SEEK_SET)
        argv = self.under("-c", code)
        options = {"capture_output": True, "text": True, "timeout": 60, "check": False}
        return subprocess.run(
            argv, pass_fds=[self.bpf], env={"PATH": os.environ["PATH"], **self.env}, **options
        )


@pytest.fixture
def home(bpf: bytes, program: Path) -> Iterator[Home]:
    """Return a home in which the unit was installed as its head says."""
    with (
        tempfile.TemporaryDirectory(prefix="novakey-home-", dir=needs.open_place()) as folder,
        tempfile.TemporaryFile() as compiled,
    ):
        compiled.write(bpf)
        compiled.flush()
        made = Home(Path(folder, "home"), program, compiled.fileno())
        for line in re.findall(r"(?m)^#   mkdir -p -m 700 (.*)$", UNIT):
            for word in line.split():
                Path(word.replace("~", str(made.folder))).mkdir(mode=0o700, parents=True)
        made.runtime.mkdir(mode=0o700)
        yield made


@contextmanager
def serving(home: Home, display: str) -> Iterator[Daemon]:
    """Return the daemon as the unit starts it: the user's own folders, no `--data-dir`."""
    config = home.folder / ".config/novakey/novakey.yaml"
    config.write_text("listen_addr: 127.0.0.1:0\ndesktop_backend: x11\n")
    os.lseek(home.bpf, 0, os.SEEK_SET)
    started = home.under(str(home.program))
    env = {**home.env, "DISPLAY": display}
    daemon = Daemon(home.folder / ".local/share/novakey", env=env, launch=[*started, "serve"], data_dir=False)
    daemon.pass_fds = (home.bpf,)
    with daemon:
        yield daemon


def test_every_restriction_of_the_unit_is_known_here() -> None:
    names = set(re.findall(r"(?m)^([A-Za-z]+)=", UNIT))
    assert names - ELSEWHERE - HERE == set()
    assert values("ProtectSystem") == ["strict"] and values("ProtectHome") == ["read-only"]


def test_it_pairs_answers_every_type_and_types_into_a_window(home: Home) -> None:
    with XServer() as server, RecordingXterm(server) as window:
        with serving(home, server.display) as daemon:
            profile = daemon.pair()
            arm_and_approve(profile)
            assert say(profile, MessageType.INJECT, b"typed in here").outcome is Outcome.TYPED
            assert differs(window.wait_for("typed in here"), "typed in here") is None
            assert say(profile, MessageType.DISARM).outcome is Outcome.OK
            status = Path(f"/proc/{daemon.process.pid}/status").read_text()
        with serving(home, server.display) as daemon:
            assert say(daemon.at(profile), MessageType.ARM).outcome is Outcome.OK
    assert "Seccomp:" in status
    assert (home.folder / ".local/share/novakey/devices.json").exists()
    assert (home.folder / ".config/novakey/sealing.key").exists()


@pytest.mark.parametrize(
    ("code", "refusal"),
    [
        ("open('/etc/novakey-was-here', 'w')", "Read-only file system"),
        ("import os; open(os.environ['HOME'] + '/.bashrc', 'w')", "Read-only file system"),
        ("open('/proc/sys/kernel/hostname', 'w')", "Read-only file system"),
        ("import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)", "Operation not permitted"),
        (
            "import socket; socket.socket(31, socket.SOCK_STREAM, 3)",
            "Operation not permitted",
        ),
        ("import mmap; mmap.mmap(-1, 4096, prot=7)", "Operation not permitted"),
        (
            "import os, ctypes; ctypes.CDLL(None, use_errno=True).unshare(0x10000000) and"
            " exec('raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))')",
            "Operation not permitted",
        ),
        ("import os; os.chroot('/tmp')", "Operation not permitted"),
    ],
)
def test_the_restrictions_hold(home: Home, code: str, refusal: str) -> None:
    done = home.python(code)
    assert done.returncode == 1 and refusal in done.stderr, done.stderr
    assert home.python("print('runs')").stdout == "runs\n"
