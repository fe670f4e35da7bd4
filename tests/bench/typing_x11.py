"""Typing on X11: from the accepted message to the last character that the window sees, beside xdotool.

Both type the same text into the same terminal, in turns. The terminal's program writes down
when each piece came, by the clock of the machine. `xdotool type --delay 1` is counted from its start.
"""

from __future__ import annotations

import random
import statistics
import string
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
from desktopbench import RecordingXterm, XServer, anywhere, display_of, wait_until
from figures import Figure, figure

from novakey.config import Settings
from novakey.desktop.choose import Chooser
from novakey.messages.deliver import Courier
from novakey.secret import Secret
from novakey.wire.reply import Outcome

ROUNDS = 15
LENGTHS = (16, 94, 250)
LIMIT = 1 / 8

_READER = """
import os, sys, termios, time, tty
tty.setraw(0)
out = open(sys.argv[1], "ab", buffering=0)
open(sys.argv[1] + ".ready", "w").close()
while data := os.read(0, 4096):
    out.write(b"%d %s\\n" % (time.monotonic_ns(), data.hex().encode()))
"""


class TimingXterm(RecordingXterm):
    """A terminal whose program writes down when what came."""

    def _argv(self, folder: Path, output: Path) -> list[str]:
        script = folder / "timing.py"
        script.write_text(_READER)
        return ["xterm", "-u8", "-T", self.title, "-e", sys.executable, str(script), str(output)]

    def last(self, text: str) -> int | None:
        """When all of the text had come (nanoseconds); None before."""
        lines = [line.split() for line in self._output.read_text().splitlines()]
        came = b"".join(bytes.fromhex(line[1]) for line in lines if len(line) == 2)
        return int(lines[-1][0]) if came.decode("utf-8", "replace") == text else None


def milliseconds(window: TimingXterm, text: str, type_it: Callable[[], object]) -> float:
    """How long from now until the window has all of the text."""
    window.clear()
    gevent.sleep(0.4)  # as between arming and sending
    start = time.monotonic_ns()
    type_it()
    wait_until(lambda: window.last(text) is not None, "the text")
    end = window.last(text)
    assert end is not None
    return (end - start) / 1e6


def typing(full: bool) -> Iterator[Figure]:
    """Three lengths, ours and xdotool's, and the ratio of the medians."""
    with XServer() as server, display_of(server), TimingXterm(server) as window:
        courier = Courier(Settings(), Chooser("x11"))
        for length in LENGTHS:
            ours, theirs = [], []
            for _ in range(ROUNDS * (3 if full else 1)):
                text = "".join(random.choices(string.ascii_letters + string.digits + "!#%&*+", k=length))
                courier.prepare()

                def deliver(text: str = text) -> None:
                    assert courier.deliver(Secret(text.encode()), anywhere)[0] is Outcome.TYPED

                def xdotool(text: str = text) -> None:
                    argv = ["xdotool", "type", "--delay", "1", "--file", "-"]
                    subprocess.run(argv, input=text.encode(), env=server.env, check=True)

                ours.append(milliseconds(window, text, deliver))
                theirs.append(milliseconds(window, text, xdotool))
            yield figure("typing", f"{length} characters", "ms", ours)
            yield figure("typing", f"{length} characters, xdotool --delay 1", "ms", theirs)
            ratio = statistics.median(ours) / statistics.median(theirs)
            yield figure("typing", f"{length} characters, ours / xdotool's", "x", [ratio], LIMIT)
