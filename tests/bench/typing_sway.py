"""Typing under sway, beside wtype with the same delay between keys as xdotool has."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from figures import Figure
from support.wayland import RecordingFoot, Sway, session_of
from timing import READER, compared

from novakey.config.settings import Settings
from novakey.desktop.select import Chooser
from novakey.messages.output import Output


class TimingFoot(RecordingFoot):
    """A terminal whose program writes down when what came."""

    def _argv(self, folder: Path, output: Path) -> list[str]:
        script = folder / "timing.py"
        script.write_text(READER)
        return ["foot", "-T", self.title, sys.executable, str(script), str(output)]


def sway(full: bool) -> Iterator[Figure]:
    """Into a foot, in a headless sway of an ordinary user."""
    with Sway() as server, session_of(server.session), TimingFoot(server) as window:
        output = Output(Settings(), Chooser("wlroots"))
        yield from compared("sway", output, window, ("wtype", "-d", "1", "-"), full)
