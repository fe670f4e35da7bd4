"""A real Secret Service for tests: gnome-keyring on a session bus and in a home of its own.

Run as a script it is a stand-in for the desktop's prompter, the program that
shows gnome-keyring's dialogs: `secretservice.py dismiss` closes each dialog at
once, as a person who clicks "Cancel"; `ignore` leaves each open for ever. That
half alone is ours; the service that asks, and its protocol, are the real ones.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

NEEDED = ("dbus-daemon", "gnome-keyring-daemon")
START_S = 10

_PROMPTER = "org.gnome.keyring.SystemPrompter"
# No <servicedir>: nothing is started behind the test's back, and only the test provides a prompter.
_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


def missing() -> str | None:
    """Return the first program that is not installed."""
    return next((program for program in NEEDED if shutil.which(program) is None), None)


class SecretService:
    """The bus and, from `unlock` or `locked`, the keyring; a context manager that ends both by pid."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="novakey-bus-"))  # short: a socket's path has 108 bytes
        self._socket = self._folder / "bus"
        self._children: list[subprocess.Popen[bytes]] = []
        self.keyring: subprocess.Popen[bytes] | None = None
        self.env = {
            "HOME": str(self._folder),
            "XDG_RUNTIME_DIR": str(self._folder),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self._socket}",
        }

    def __enter__(self) -> SecretService:
        """Start the bus alone."""
        config = self._folder / "bus.conf"
        config.write_text(_BUS.format(socket=self._socket))
        self._start("dbus-daemon", "--nofork", f"--config-file={config}")
        _wait(self._socket.exists, "the bus")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._children):
            _end(child)
        shutil.rmtree(self._folder, ignore_errors=True)

    def unlock(self) -> None:
        """gnome-keyring with its login collection made or unlocked."""
        self._start_keyring("--unlock", password=b"correct horse")

    def locked(self) -> None:
        """gnome-keyring with its login collection locked, if there is one."""
        self._start_keyring()

    def stop(self) -> None:
        """End the keyring; the bus and what is on disk stay."""
        assert self.keyring is not None
        _end(self.keyring)
        _wait(lambda: not self._owned("org.freedesktop.secrets"), "the keyring to leave the bus")

    def prompter(self, manner: Literal["dismiss", "ignore"]) -> None:
        """Somebody to show prompts to."""
        self._start(sys.executable, __file__, manner)
        _wait(lambda: self._owned(_PROMPTER), "the prompter")

    def signal(self, number: int) -> None:
        """Send the keyring a signal."""
        assert self.keyring is not None
        self.keyring.send_signal(number)

    def kill_while_asked(self) -> None:
        """Kill the stopped keyring as soon as somebody waits for its answer."""
        strangers = self._names()
        request: set[str] = set()
        while not request:  # a program that only looks around is gone again a moment later
            seen = self._names() - strangers
            time.sleep(0.3)
            request = seen & self._names()
        self.signal(signal.SIGKILL)

    def _names(self) -> set[str]:
        from jeepney import message_bus
        from jeepney.io.blocking import Proxy, open_dbus_connection

        with open_dbus_connection(self.env["DBUS_SESSION_BUS_ADDRESS"]) as connection:
            return set(Proxy(message_bus, connection).ListNames()[0]) - {connection.unique_name}

    def _start_keyring(self, *words: str, password: bytes = b"") -> None:
        command = ("gnome-keyring-daemon", "--foreground", "--components=secrets", *words)
        self.keyring = self._start(*command, stdin=subprocess.PIPE)
        assert self.keyring.stdin is not None
        self.keyring.stdin.write(password)
        self.keyring.stdin.close()
        _wait(lambda: self._owned("org.freedesktop.secrets"), "the keyring")

    def _start(self, *command: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **self.env}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        child = subprocess.Popen(command, env=env, stdin=stdin, **quiet)
        self._children.append(child)
        return child

    def _owned(self, name: str) -> bool:
        try:
            return name in self._names()
        except OSError:
            return False


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGCONT)
        child.kill()
    child.wait()


def _wait(ready: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + START_S
    while not ready():
        assert time.monotonic() < until, f"no sign of {what} in {START_S} s"
        time.sleep(0.02)


def _be_prompter(manner: str) -> None:
    """gcr's `org.gnome.keyring.internal.Prompter`: each call is answered, each dialog with "no"."""
    from jeepney import DBusAddress, HeaderFields, MessageType, message_bus, new_method_call
    from jeepney import new_method_return as returned
    from jeepney.io.blocking import Proxy, open_dbus_connection

    connection = open_dbus_connection()
    Proxy(message_bus, connection).RequestName(_PROMPTER)

    def call_back(sender: str, path: str, method: str, signature: str, *body: Any) -> None:
        interface = "org.gnome.keyring.internal.Prompter.Callback"
        address = DBusAddress(path, bus_name=sender, interface=interface)
        connection.send(new_method_call(address, method, signature, body))

    while True:
        message = connection.receive()
        fields = message.header.fields
        if message.header.message_type is not MessageType.method_call:
            continue
        connection.send(returned(message))
        sender, path = fields[HeaderFields.sender], message.body[0]
        match fields[HeaderFields.member]:
            case "BeginPrompting":
                call_back(sender, path, "PromptReady", "sa{sv}s", "", {}, "")
            case "PerformPrompt" if manner == "dismiss":
                call_back(sender, path, "PromptReady", "sa{sv}s", "no", {}, "")
            case "StopPrompting":
                call_back(sender, path, "PromptDone", "")


if __name__ == "__main__":
    _be_prompter(sys.argv[1])
