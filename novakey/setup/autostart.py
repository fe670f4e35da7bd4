"""Starting with a session that starts no user services: an autostart entry, or a line for its configuration.

XFCE, openbox, MATE and LXQt start what lies in `autostart/` (Desktop Application
Autostart Specification). sway and i3 start only what their configuration names. None of these ends what it
started, and a daemon that outlives its session keeps that session's bus: so it ends
by itself.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from novakey.devices.sealing.passphrase_source import VARIABLE as PASSPHRASE_FILE
from novakey.errors import SetupError
from novakey.setup import service

FILE = "novakey.desktop"
# The configuration of window managers without autostart entries, by the variable that they set.
_OWN_FILES = {"SWAYSOCK": "~/.config/sway/config", "I3SOCK": "~/.config/i3/config"}


def needed() -> bool:
    """Return whether this is a graphical session, and one that starts no user services."""
    has_display = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return has_display and service.systemctl("is-active", service.TARGET) is not None


def line(arguments: Sequence[str]) -> tuple[str, str] | None:
    """Return this window manager's configuration and the line to add; None where entries are started."""
    for variable, file in _OWN_FILES.items():
        if os.environ.get(variable):
            return file, f"exec {shlex.join(_words(arguments))}"
    return None


def path() -> Path:
    """Return the place of the entry."""
    return service.config_home() / "autostart" / FILE


def text(arguments: Sequence[str]) -> str:
    """Return the entry; `arguments` are what this installation is started with."""
    command = " ".join(map(_quoted, _words(arguments)))
    return (
        f"{service.MARK}\n[Desktop Entry]\nType=Application\nName=NovaKey\n"
        f"Comment=A phone as a secure keyboard\nExec={command}\nTerminal=false\nNoDisplay=true\n"
    )


def _words(arguments: Sequence[str]) -> list[str]:
    named = os.environ.get(PASSPHRASE_FILE)
    before = ["env", f"{PASSPHRASE_FILE}={Path(named).absolute()}"] if named else []
    return [*before, *service.program(), *arguments, "serve", "--with-session"]


def _quoted(word: str) -> str:
    """Quote a word for `Exec` (Desktop Entry Specification), and then as a value of the file."""
    if service.UNSAFE.search(word):
        raise SetupError(f"a session cannot run {word!r}", "move NovaKey to a folder with an ordinary name")
    quoted = re.sub(r'(["`$\\])', r"\\\1", word).replace("%", "%%")
    return '"' + quoted.replace("\\", "\\\\") + '"'
