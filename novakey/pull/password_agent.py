"""A password agent for systemd (systemd's "Password Agents" interface).

A program that needs a password puts a file `ask.XXXX` into a folder:

    [Ask]
    PID=…  Socket=/path  NotAfter=<CLOCK_MONOTONIC in microseconds>  Message=…  Echo=…  Id=…

An agent sends one datagram to `Socket`: `+` and the password, or `-`. The file
goes away when it is answered or no longer needed.
"""

from __future__ import annotations

import configparser
import contextlib
import logging
import os
import socket
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gevent
from gevent import Greenlet

from novakey.control.client import NoDaemonError
from novakey.errors import NovaKeyError
from novakey.log.format import one_line
from novakey.pull import SecretSource, WaitedTooLong
from novakey.secret import Secret
from novakey.system import procfs
from novakey.system.files import make_folders

log = logging.getLogger(__name__)

SYSTEM = Path("/run/systemd/ask-password")
MAX_FILE = 4096
MAX_MESSAGE = 300
MAX_PID = (1 << 31) - 1  # pid_t
_POLL_S = 0.5
_AGAIN_S = 2.0
ASK_S = 600.0  # a question without an end is asked again and again


def folders(env: dict[str, str], euid: int) -> list[Path]:
    """Where questions are put: the user's own folder and, as root, the system's."""
    found = [Path(env["XDG_RUNTIME_DIR"]) / "systemd/ask-password"] if env.get("XDG_RUNTIME_DIR") else []
    return [*found, SYSTEM] if euid == 0 else found


@dataclass(frozen=True)
class PasswordQuery:
    """One `ask.` file. `not_after` is in seconds of the monotonic clock, 0 for no end."""

    path: Path
    pid: int
    socket: str
    message: str
    not_after: float


def read(path: Path) -> PasswordQuery | None:
    """Return the question in a file; None where it is none (half-written, foreign, a link)."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with open(handle, encoding="utf-8", errors="replace") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, os.geteuid()):
            return None
        text = file.read(MAX_FILE)
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text)
        ask = parser["Ask"]
        pid, not_after = int(ask.get("PID", "0")), int(ask.get("NotAfter", "0")) / 1e6
    except (configparser.Error, KeyError, ValueError, OverflowError):
        return None
    address = ask.get("Socket", "")
    if not address.startswith("/") or pid > MAX_PID:
        return None
    message = one_line(ask.get("Message", "password"))[:MAX_MESSAGE]
    return PasswordQuery(path, pid, address, message, not_after)


class PasswordAgent:
    """Answers the questions in one folder. Several wait side by side: the daemon has a queue for them."""

    def __init__(
        self, folder: Path, ask: SecretSource, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._ask = ask
        self._monotonic = monotonic
        self._seen: dict[Path, Greenlet] = {}

    def run(self) -> None:
        """Wait for questions until the greenlet is killed.

        A look each half second: a watcher of the folder's times, which count seconds on some
        file systems, would miss a question that comes in the second in which another one went.
        """
        make_folders(self._folder, 0o755 if self._folder == SYSTEM else 0o700)
        try:
            while True:
                self.look()
                gevent.sleep(_POLL_S)
        finally:
            gevent.killall(list(self._seen.values()))

    def look(self) -> None:
        """Begin with each question that is new, and leave those that are over."""
        found = set(self._folder.glob("ask.*"))
        for path in self._seen.keys() - found:
            self._seen.pop(path).kill(block=False)  # answered by somebody else, or not needed any more
        for path in sorted(found - self._seen.keys(), key=_written):
            question = read(path)
            if question is not None:
                self._seen[path] = gevent.spawn(self._answer, question)

    def _answer(self, question: PasswordQuery) -> None:
        waiting = gevent.spawn(self._secret, question)
        try:
            while not waiting.ready() and not self._is_over(question):
                gevent.wait([waiting], timeout=_POLL_S)
        finally:
            waiting.kill()
        secret = waiting.value
        if not isinstance(secret, Secret):
            return
        try:
            if not self._is_over(question):
                _reply(question.socket, secret)
        finally:
            secret.wipe()

    def _secret(self, question: PasswordQuery) -> Secret | None:
        """None where no phone sent one: others may still answer, and the question has its own end."""
        who = procfs.describe(question.pid) if question.pid else "a service"
        prompt = f"{question.message} (for {who}, process {question.pid})"
        while True:
            left = question.not_after - self._monotonic() if question.not_after else ASK_S
            try:
                return self._ask(prompt, left)
            except (NoDaemonError, WaitedTooLong) as error:
                told = error.problem
            except NovaKeyError as error:
                log.warning("no password for %s: %s", question.message, error.problem)
                return None
            log.warning("no password for %s yet: %s", question.message, told)
            gevent.sleep(
                _AGAIN_S
            )  # the daemon may come back; whether the question is over is looked at above

    def _is_over(self, question: PasswordQuery) -> bool:
        if question.not_after and self._monotonic() >= question.not_after:
            return True
        return not question.path.exists() or not _alive(question.pid)


def _written(path: Path) -> tuple[int, Path]:
    """By this they are asked in the order in which they came; their names are random."""
    try:
        return path.stat(follow_symlinks=False).st_mtime_ns, path
    except OSError:
        return 0, path  # it has gone, and cannot be read either


def _alive(pid: int) -> bool:
    if pid <= 0:
        return True  # not told
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _reply(address: str, secret: Secret) -> None:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        with secret.view() as view:
            sock.sendmsg([b"+", view])
