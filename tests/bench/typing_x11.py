"""Typing on X11, beside xdotool with the least delay that it takes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from figures import Figure
from support.x11 import RecordingXterm, XServer, display_of
from timing import READER, compared

from novakey.config.settings import Settings
from novakey.desktop.select import Chooser
from novakey.messages.output import Output

LIMITS = (1 / 8, 1 / 4)


class TimingXterm(RecordingXterm):
    """A terminal whose program writes down when what came."""

    def _argv(self, folder: Path, output: Path) -> list[str]:
        script = folder / "timing.py"
        script.write_text(READER)
        return ["xterm", "-u8", "-T", self.title, "-e", sys.executable, str(script), str(output)]


def typing(full: bool) -> Iterator[Figure]:
    """Into an xterm."""
    with XServer() as server, display_of(server), TimingXterm(server) as window:
        output = Output(Settings(), Chooser("x11"))
        argv = ("xdotool", "type", "--delay", "1", "--file", "-")
        yield from compared("typing", output, window, argv, full, LIMITS)
