"""A terminal or a pipe that nothing reads: the daemon goes on, drops lines, and says how many."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest
from support.daemon import Daemon, say

from novakey.control import client
from novakey.system.paths import Paths
from novakey.wire.message import MessageType

PROMPT_S = 2.0
LINES = 450  # more than the backlog holds


class Paused(Daemon):
    """A daemon that prints to a descriptor; its log is read from the file."""

    def log(self) -> str:
        """Return what it has logged."""
        file = self.folder / "logs" / "novakey.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def start(self, descriptor: int) -> None:
        """Start it with this output, and wait until it listens."""
        self.process = subprocess.Popen(
            [*self._launch, *self._data_dir],
            env={**self.env, "TERM": "xterm"},
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
        )
        self.wait_for_log("listening on", 30)
        self.host, self.port = "127.0.0.1", int(self.log().split(" port ")[1].split(",")[0])


def promptly(began: float) -> bool:
    return time.monotonic() - began < PROMPT_S


def read_on(descriptor: int, until: bytes) -> bytes:
    """Return what comes out again, up to some text."""
    text = b""
    while until not in text:
        ready, _, _ = select.select([descriptor], [], [], 10)
        assert ready, text[-500:]
        text += os.read(descriptor, 65536)
    return text


@pytest.mark.parametrize("kind", ["terminal", "stopped terminal", "pipe"])
def test_a_reader_that_pauses_stops_neither_phones_nor_the_owner_nor_the_end(
    tmp_path: Path, kind: str
) -> None:
    reader, writer = os.pipe() if kind == "pipe" else pty.openpty()
    if kind == "pipe":
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    else:
        fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 120, 0, 0))
    daemon = Paused(tmp_path / "data", max_requests_per_min=6000)
    try:
        daemon.start(writer)
        if kind == "stopped terminal":
            os.write(reader, b"\x13")  # Ctrl-S
        phone = daemon.pair()
        began = time.monotonic()
        for number in range(LINES):
            # Two lines that differ are both written, so neither is held back as a repetition.
            assert say(phone, MessageType.ARM, b'{"ms":%d}' % (1000 + number)).outcome.success
        assert time.monotonic() - began < 60
        began = time.monotonic()
        paths = Paths.under(daemon.folder)
        assert client.ask(paths, "disarm")["disarmed"] == [phone.device_id]
        assert client.ask(paths, "status")["devices"] == 1
        assert promptly(began)
        if kind == "stopped terminal":
            os.write(reader, b"\x11")  # Ctrl-Q
        if kind != "terminal":  # the first lines are there, and the number of those that are not
            text = b""
            while b"lines were dropped" not in text:
                say(phone, MessageType.DISARM)
                text += read_on(reader, b"\n")
        began = time.monotonic()
        assert daemon.stop() == 0
        assert promptly(began)
    finally:
        daemon.kill()
        os.close(reader)
        os.close(writer)
