"""A real daemon process on loopback, in a folder of its own, for tests."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from novakey import phone
from novakey.phone import Profile
from novakey.secret import Secret
from novakey.wire.message import MessageType
from novakey.wire.reply import Reply

ROOT = Path(__file__).parents[2]
START_S = 30

_LISTENING = re.compile(r"listening on (\S+) port (\d+)")


def clean_environment() -> dict[str, str]:
    """Return an environment without a display, a session or settings of the person who runs the tests."""
    kept = ("PATH", "HOME", "LANG", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    # A library that finds a display but no bus starts one; an address that leads nowhere stops it.
    return {**env, "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent"}


def wrong_clock(faketime: str) -> dict[str, str]:
    """Return the environment of a process whose wall clock is wrong, as faketime(1) writes it.

    The monotonic clock stays right: no machine has a wrong one, and no wait ends while it stands still.
    The command `faketime` would stay before the process and take our signals for it.
    """
    library = next(Path("/usr/lib").rglob("libfaketime.so.1"))
    return {"LD_PRELOAD": str(library), "FAKETIME": faketime, "DONT_FAKE_MONOTONIC": "1"}


def command(*words: str | Path) -> list[str]:
    """Return the launch script as a person starts it, in the interpreter of the tests."""
    return [sys.executable, str(ROOT / "novakey.py"), *map(str, words)]


def run(
    *words: str | Path, env: dict[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    environment = {**clean_environment(), **(env or {})}
    options = {"capture_output": True, "text": True, "timeout": 60, "check": False, **options}
    return subprocess.run(command(*words), env=environment, **options)


class Daemon:
    """The daemon as a child process; a context manager that ends it by its pid.

    Settings are keys of the configuration, written to `novakey.json`
    in its folder. `launch` is another way to start it than the launch script;
    without `data_dir` it uses the folders of the user that `env` makes it.
    """

    def __init__(
        self,
        folder: Path,
        env: dict[str, str] | None = None,
        arguments: Sequence[str] = (),
        launch: Sequence[str] = (),
        start_s: float = START_S,
        data_dir: bool = True,
        **settings: Any,
    ) -> None:
        self.folder = folder
        self.folder.mkdir(mode=0o700, exist_ok=True)
        settings = {"listen_addr": "127.0.0.1:0", "desktop_backend": "none", **settings}
        (folder / "novakey.json").write_text(json.dumps(settings))
        self._launch = list(launch or command())
        self._data_dir = ["--data-dir", str(folder)] if data_dir else []
        self._start_s = start_s
        self.arguments = arguments
        self.env = {**clean_environment(), **(env or {})}
        self.output = folder.parent / f"{folder.name}.out"
        self.pass_fds: tuple[int, ...] = ()
        self.process: subprocess.Popen[bytes]
        self.host, self.port = "", 0

    def __enter__(self) -> Daemon:
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [*self._launch, *self._data_dir, *self.arguments],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=self.pass_fds,
            )
        deadline = time.monotonic() + self._start_s
        while not (found := _LISTENING.search(self.log())):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the daemon did not start ({self.process.returncode}): {self.log()}")
            time.sleep(0.005)
        self.host, self.port = found[1], int(found[2])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.stop()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop, and wait; its exit code."""
        self.process.send_signal(number)
        try:
            return self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=15)

    def log(self) -> str:
        """Return what it has printed."""
        return self.output.read_text(errors="replace")

    def wait_for_log(self, text: str, seconds: float = 10) -> None:
        """Wait until it has printed `text`."""
        deadline = time.monotonic() + seconds
        while text not in self.log():
            assert time.monotonic() < deadline, f"{text!r} did not come in: {self.log()}"
            time.sleep(0.005)

    def picture(self) -> Path:
        """Return the picture of the QR, once it is there: a daemon listens before it draws."""
        picture = self.folder / "novakey-pair.png"
        deadline = time.monotonic() + 10
        while not picture.exists():
            assert time.monotonic() < deadline, f"no QR came: {self.log()}"
            time.sleep(0.005)
        return picture

    def uri(self) -> str:
        """Return the text of the QR in its picture."""
        return phone.read_picture(self.picture())

    def pair(self, device_id: str = "phone-1") -> Profile:
        """Pair a phone by the QR."""
        return phone.pair_with(self.uri(), device_id)

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        """Return a connection to it from a loopback address."""
        return socket.create_connection((self.host, self.port), timeout=20, source_address=(source, 0))

    def at(self, profile: Profile) -> Profile:
        """Return the profile with this daemon's port: a restarted one has another."""
        return Profile(self.host, self.port, profile.device_id, profile.device_key, profile.public)


def say(profile: Profile, kind: MessageType, payload: bytes = b"", **options: Any) -> Reply:
    """Send one message as the phone."""
    return phone.send(profile, kind, Secret(payload), **options)


def arm_and_approve(profile: Profile) -> None:
    """Open both gates."""
    for kind in (MessageType.ARM, MessageType.APPROVE):
        assert say(profile, kind).outcome.success


def ask(sock: socket.socket, data: bytes, finish: bool = False) -> bytes:
    """Send bytes and read everything until the daemon closes."""
    with sock:
        sock.sendall(data)
        if finish:
            sock.shutdown(socket.SHUT_WR)
        return read_all(sock)


def read_all(sock: socket.socket, cap: int = 1 << 20) -> bytes:
    """Everything until the end of the stream or a reset."""
    received = b""
    try:
        while len(received) < cap and (piece := sock.recv(4096)):
            received += piece
    except ConnectionResetError:
        pass
    return received


def random_key() -> Secret:
    """Return a device key."""
    return Secret(secrets.token_bytes(32))
