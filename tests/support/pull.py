"""A daemon with a paired phone, and real programs that ask it for secrets.

The phone does what one in the field does at a tap: arm, approve, send. Everything started here is
stopped by its process id; every wait has an end.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from support import needs
from support.daemon import ROOT, Daemon, clean_environment, command, say
from support.phone_app import Screen, with_app
from support.x11 import end, wait_until

from novakey.control import client
from novakey.errors import NovaKeyError
from novakey.phone import Profile
from novakey.pull.password_agent import SYSTEM
from novakey.system.paths import Paths
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome, Reply

NAMES = ("novakey-askpass", "novakey-pinentry", "novakey-browser")
SSH = ("ssh", "-F", "none", "-o", "PreferredAuthentications=password", "-o", "ConnectTimeout=30")
COMMAND_S = 60  # the machine may be busy with other tests
SETTLE_S = 2
_OWN_QUESTIONS = f'mount --bind "$0" {SYSTEM} && exec "$@"'


def random_secret() -> str:
    """One that no program takes for anything else, and that can be searched for."""
    return secrets.token_hex(12)


class Child:
    """A program of the test, its output in files, ended by its id."""

    def __init__(self, folder: Path, argv: Sequence[str], env: dict[str, str], **options: Any) -> None:
        self._output, self._errors = (folder / f"{name}-{secrets.token_hex(4)}" for name in ("out", "err"))
        options = {"stdin": subprocess.DEVNULL, "cwd": folder, **options}
        with open(self._output, "wb") as output, open(self._errors, "wb") as errors:
            self.process = subprocess.Popen(argv, env=env, **{"stdout": output, "stderr": errors, **options})

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(COMMAND_S)

    def output(self) -> bytes:
        return self._output.read_bytes()

    def said(self) -> str:
        """Its standard error."""
        return self._errors.read_text(errors="replace")


class Terminal:
    """A pseudo-terminal that becomes the controlling one of a child started with `words` before it."""

    words = ("setsid", "--ctty", "--wait")

    def __init__(self) -> None:
        self._master, self.slave = os.openpty()
        os.set_blocking(self._master, False)
        self._seen = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._master)
        os.close(self.slave)

    def text(self) -> str:
        """All that was shown."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._master, 4096):
                self._seen += data.decode()
        return self._seen

    def wait_for(self, text: str) -> None:
        """Wait until it shows `text`."""
        self.wait_until(lambda shown: text in shown, f"{text!r}")

    def wait_until(self, is_so: Callable[[str], bool], what: str = "the prompt") -> None:
        """Wait until what it has shown is such."""
        wait_until(lambda: is_so(self.text()), f"{what} on the terminal", COMMAND_S)

    def type(self, line: str) -> None:
        """Type a line and the Enter key."""
        os.write(self._master, line.encode() + b"\n")


class Scene:
    """A context manager: the daemon, the phone, a folder with the commands by their names.

    With `app`, the double of the app answers in place of the reference phone.
    """

    def __init__(self, env: dict[str, str] | None = None, app: bool = False, **settings: Any) -> None:
        self.app = app
        # gpg-agent's sockets have short addresses.
        self.folder = Path(tempfile.mkdtemp(prefix="nk-", dir=needs.open_place()))
        self.folder.chmod(0o755)
        self.home = self.folder / "home"
        self.home.mkdir(mode=0o700)
        (self.folder / "bin").mkdir()
        for name in NAMES:
            (self.folder / "bin" / name).symlink_to(ROOT / "novakey.py")
        self.daemon = Daemon(
            self.folder / "d", env=env, **{"ask_confirm": False, "notify": False, **settings}
        )
        self.env = {
            **clean_environment(),
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            # The links' python3 is the one that runs the tests.
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin",
            "NOVAKEY_NO_BOOTSTRAP": "1",
            "NOVAKEY_DATA_DIR": str(self.daemon.folder),
            **(env or {}),
        }
        self._children: list[subprocess.Popen[Any]] = []
        self._seen = 0

    def __enter__(self) -> Scene:
        self.daemon.__enter__()
        self.phone = self.daemon.pair()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._children):
            end(child)
        self.daemon.__exit__(kind, error, trace)
        shutil.rmtree(self.folder, ignore_errors=True)

    def settle(self) -> None:
        """Clear away what a test has left, as one that failed does: to be called between tests."""
        while self._children:
            end(self._children.pop())
        marker = Paths.under(
            self.daemon.folder
        ).request_marker  # there while a request waits, or one is just lost
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not marker.exists(), "the last request's end", SETTLE_S)
        if marker.exists():
            self.restart()

    def restart(self) -> None:
        """Return a new daemon with the same phone, for which there never was a request."""
        if self.daemon.process.poll() is None:
            self.daemon.stop()
        Paths.under(self.daemon.folder).request_marker.unlink(missing_ok=True)
        self._seen = 0
        self.daemon.__enter__()

    def link(self, name: str) -> str:
        """One of the commands by its own name."""
        return str(self.folder / "bin" / name)

    @property
    def ssh(self) -> dict[str, str]:
        """What makes ssh and ssh-add ask through us."""
        return {"SSH_ASKPASS": self.link("novakey-askpass"), "SSH_ASKPASS_REQUIRE": "force"}

    def start(self, *argv: str, env: dict[str, str] | None = None, **options: Any) -> Child:
        """Return a program that will ask."""
        child = Child(self.folder, argv, {**self.env, **(env or {})}, **options)
        self._children.append(child.process)
        return child

    def novakey(self, *words: str, **options: Any) -> Child:
        """One of our commands."""
        return self.start(*command(*words), **options)

    def among_own_questions(self, *argv: str) -> Child:
        """Return a program to which systemd's folder of questions is this scene's.

        There is one folder for the whole machine: an agent would answer what other tests ask, and they this.
        """
        needs.programs("unshare", "systemd-ask-password")
        needs.root("the system's questions are root's")
        needs.mounts("has a folder of questions of its own")
        SYSTEM.mkdir(parents=True, exist_ok=True)
        questions = self.folder / "questions"
        questions.mkdir(exist_ok=True)
        return self.start("unshare", "--mount", "sh", "-c", _OWN_QUESTIONS, str(questions), *argv)

    def run(self, *argv: str, env: dict[str, str] | None = None, **options: Any) -> str:
        """Return a program that asks no person, to its end; its output."""
        options = {"capture_output": True, "text": True, "timeout": COMMAND_S, "check": True, **options}
        done = subprocess.run(argv, env={**self.env, **(env or {})}, cwd=self.folder, **options)
        return str(done.stdout)

    # ---- the phone ----

    def asks(self) -> list[dict[str, Any]]:
        """Return the requests that wait, as `status` has them."""
        with contextlib.suppress(NovaKeyError):
            return list(client.ask(Paths.under(self.daemon.folder), "status")["asks"])
        return []

    def asked(self, *children: Child) -> dict[str, Any]:
        """Wait for a request that is new since the last call; what it says."""

        def new() -> list[dict[str, Any]]:
            for child in children:
                assert child.process.poll() is None, f"it ended unasked: {child.said()} {child.output()!r}"
            return [row for row in self.asks() if row["number"] > self._seen]

        wait_until(new, "a request", COMMAND_S)
        row = new()[0]
        self._seen = row["number"]
        return row

    def tap(self, text: str, profile: Profile | None = None) -> Reply:
        """Return what one tap on the phone sends; the last reply."""
        profile = self.daemon.at(profile or self.phone)
        say(profile, MessageType.ARM)
        say(profile, MessageType.APPROVE)
        return say(profile, MessageType.INJECT, text.encode())

    def answer(self, child: Child, text: str) -> dict[str, Any]:
        """Wait until the program asks, and answer it; what it asked."""
        row = self.asked(child)
        given = f"given to request {row['number']}"
        if self.app:
            phone = with_app(self.daemon.at(self.phone))
            assert phone.arm().ok
            assert phone.send(text) == Screen("Sent to desk", ok=True, details=given)
            return row
        reply = self.tap(text)
        assert (reply.outcome, reply.msg) == (Outcome.OK, given)
        return row


@contextlib.contextmanager
def ordinary_user(password: str, name: str = "") -> Iterator[str]:
    """Return a user of the machine, made for the test; the password goes in through a pipe."""
    needs.root("makes a user")
    name = name or f"nk{os.getpid()}"
    subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", name], check=True)
    try:
        subprocess.run(["chpasswd"], input=f"{name}:{password}\n", text=True, check=True)
        yield name
    finally:
        subprocess.run(["userdel", "--force", "--remove", name], check=True, capture_output=True)


def found_in(folder: Path, secret: str) -> list[str]:
    """Return the files under `folder` that hold a secret."""
    return [
        str(path)
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and secret.encode() in path.read_bytes()
    ]


@contextlib.contextmanager
def sshd(scene: Scene, tmp_path: Path) -> Iterator[int]:
    """Return a real sshd that takes passwords, on a port that the system gave; gives the port."""
    needs.programs("sshd", "ssh")
    host_key = tmp_path / "host"
    scene.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host_key))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    options = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f'HostKey "{host_key}"',
        "PidFile none",
        "UsePAM no",
    ]
    options += ["PasswordAuthentication yes", "KbdInteractiveAuthentication no", "PrintMotd no", "UseDNS no"]
    settings = tmp_path / "sshd_config"
    settings.write_text("\n".join(options) + "\n")
    with open(tmp_path / "sshd.log", "wb") as log:
        server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", str(settings)], stdout=log, stderr=log)
    try:
        wait_until(lambda: "listening on" in (tmp_path / "sshd.log").read_text(), "sshd")
        yield port
    finally:
        end(server)


@contextlib.contextmanager
def git_server(scene: Scene, password: str) -> Iterator[str]:
    """`r.git` with one file, over HTTP for the user anna with a password; gives the address."""
    work, bare = scene.folder / "work", scene.folder / "all/r.git"
    scene.run("git", "init", "-q", "-b", "main", str(work))
    (work / "file").write_text("content\n")
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    scene.run("git", "-C", str(work), "add", "file")
    scene.run("git", "-C", str(work), *who, "commit", "-q", "-m", "one")
    scene.run("git", "clone", "-q", "--bare", str(work), str(bare))
    argv = [sys.executable, str(Path(__file__).with_name("git_http.py")), str(bare.parent)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdin is not None and server.stdout is not None
            server.stdin.write(f"anna:{password}\n")
            server.stdin.flush()
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            end(server)
