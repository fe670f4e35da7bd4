"""A browser's end of the pipe: starts the real host for its extension, and speaks frames with it."""

from __future__ import annotations

import json
import os
import select
import struct
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.x11 import end

from novakey.pull.browser import CHROMIUM_ORIGIN, GECKO_ID

CHROMIUM = (CHROMIUM_ORIGIN,)
FIREFOX = ("/home/someone/.mozilla/native-messaging-hosts/org.novakey.browser.json", GECKO_ID)
WAIT_S = 30.0


def framed(data: bytes) -> bytes:
    """Return the bytes with their length before them."""
    return struct.pack("=I", len(data)) + data


class Host:
    """The host as a child of this process; a context manager that ends it by its id."""

    def __init__(self, program: Path, env: dict[str, str], arguments: Sequence[str] = CHROMIUM) -> None:
        self._command, self._env = [str(program), *arguments], env

    def __enter__(self) -> Host:
        self.process = subprocess.Popen(
            self._command,
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        return self

    def __exit__(self, *error: object) -> None:
        end(self.process)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def write(self, data: bytes) -> None:
        """Write bytes as they are."""
        assert self.process.stdin is not None
        while data:
            data = data[self.process.stdin.write(data) :]

    def say(self, kind: str, message_id: str = "1", **members: Any) -> None:
        """Send one message of the extension."""
        self.write(framed(json.dumps({"type": kind, "id": message_id, **members}).encode()))

    def ask(self, origin: str = "https://login.example.org", message_id: str = "1") -> None:
        """Ask for a secret and wait until the daemon has the request."""
        self.say("request", message_id, origin=origin)
        assert self.next() == {"type": "waiting", "id": message_id}

    def next(self, seconds: float = WAIT_S) -> dict[str, Any]:
        """Return the next message of the host."""
        header = self._read(4, time.monotonic() + seconds)
        assert len(header) == 4, f"the host ended: {self.error()}"
        (count,) = struct.unpack("=I", header)
        message: dict[str, Any] = json.loads(self._read(count, time.monotonic() + seconds))
        return message

    def hang_up(self) -> int:
        """Close the pipe as a browser does; the host's exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(WAIT_S)

    def rest(self) -> bytes:
        """Return what it still says until its end."""
        assert self.process.stdout is not None
        return self.process.stdout.read()

    def error(self) -> str:
        """Return its standard error, once it has ended."""
        assert self.process.stderr is not None
        self.process.wait(WAIT_S)
        return self.process.stderr.read().decode()

    def _read(self, count: int, until: float) -> bytes:
        assert self.process.stdout is not None
        got = b""
        while len(got) < count:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, until - time.monotonic()))
            assert ready, "the host says nothing"
            piece = os.read(self.process.stdout.fileno(), count - len(got))
            if not piece:
                break
            got += piece
        return got
