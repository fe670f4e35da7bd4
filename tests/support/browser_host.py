"""An instrument in the place of the native host: a test reads each message and chooses when to answer.

The browser starts a small script, which carries the messages to a socket of the test. The product's own host
has tests of its own.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

WAIT_S = 20

_SCRIPT = """#!{python} -ISu
import json, os, select, socket, struct
sock = socket.socket(socket.AF_UNIX)
sock.connect({path!r})
def exactly(count):
    data = b""
    while len(data) < count:
        more = os.read(0, count - len(data))
        if not more:
            raise SystemExit
        data += more
    return data
while True:
    for ready in select.select([0, sock], [], [])[0]:
        if ready == 0:
            sock.sendall(exactly(struct.unpack("=I", exactly(4))[0]) + b"\\n")
            continue
        line = b""
        while not line.endswith(b"\\n"):
            more = sock.recv(1)
            if not more:
                raise SystemExit
            line += more
        os.write(1, struct.pack("=I", len(line) - 1) + line[:-1])
"""


class Hosts:
    """The socket that each started host comes to."""

    def __enter__(self) -> Hosts:
        self._folder = tempfile.TemporaryDirectory(prefix="novakey-host-")
        folder = Path(self._folder.name)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / "socket"))
        self._listener.listen()
        self._listener.settimeout(WAIT_S)
        self.script = folder / "host"
        python = os.path.realpath(sys.executable)
        self.script.write_text(_SCRIPT.format(python=python, path=str(folder / "socket")))
        self.script.chmod(0o700)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self._folder.cleanup()

    def accept(self) -> Host:
        """Wait for the next request of the extension."""
        return Host(self._listener.accept()[0])

    def none_within(self, seconds: float) -> bool:
        """Return whether no host is started for so long."""
        self._listener.settimeout(seconds)
        try:
            self._listener.accept()[0].close()
            return False
        except TimeoutError:
            return True
        finally:
            self._listener.settimeout(WAIT_S)


class Host:
    """One started host: one request."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(WAIT_S)
        self._sock, self._lines = sock, sock.makefile("rb")
        self.request = self.read()
        self.id = self.request["id"]

    def read(self) -> dict[str, Any]:
        """Return the extension's next message; `{}` when it closed the pipe."""
        try:
            line = self._lines.readline()
        except ConnectionError:  # it was killed
            line = b""
        message: dict[str, Any] = json.loads(line or b"{}")
        return message

    def say(self, kind: str, **more: Any) -> None:
        """Send one message to the extension."""
        self._sock.sendall(json.dumps({"type": kind, "id": self.id, **more}).encode() + b"\n")

    def fill(self, secret: str) -> str:
        """Give the secret, and return what the page's script says became of it."""
        self.say("fill", secret=secret)
        return self.outcome()

    def outcome(self) -> str:
        """Wait for the outcome, answer it as the host does, and wait for the pipe's end."""
        message = self.read()
        assert message.get("type") == "outcome", message
        assert message["id"] == self.id
        self.say("ended", reason="done", message="")
        assert self.read() == {}
        self.close()
        return str(message["outcome"])

    def close(self) -> None:
        """End as a host that was killed."""
        self._lines.close()
        self._sock.close()
