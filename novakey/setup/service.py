"""The user unit: `conf/novakey.service` made for this installation, and systemd told of it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import novakey
from novakey.devices.sealing.passphrase_source import VARIABLE as PASSPHRASE_FILE
from novakey.errors import SetupError
from novakey.setup.configuration import shipped
from novakey.system import process
from novakey.system.paths import Paths

UNIT = "novakey.service"
MARK = "# Written by novakey.py setup for this installation."
_ANSWER_S = 20.0
TARGET = "graphical-session.target"
_STARTS_IT = re.compile(r"(?mi)^ExecStart=.*novakey")
_IN_FOLDER = re.compile(r"(?m)^WorkingDirectory=")
UNSAFE = re.compile(r"[\x00-\x1f\x7f]")


def config_home() -> Path:
    """Return the folder of the user's configuration (XDG Base Directory Specification)."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    return Path(home) if home.startswith("/") else Path.home() / ".config"


def folder() -> Path:
    """Where systemd looks for the user's own units (systemd.unit(5))."""
    return config_home() / "systemd" / "user"


def text(paths: Paths, arguments: Sequence[str]) -> str:
    """Return the unit's content; `arguments` are what this installation is started with."""
    words = [*program(), *arguments]
    unit = shipped(UNIT).read_text()
    unit = re.sub("(?m)^ExecStart=.*$", lambda _: "ExecStart=" + " ".join(map(quoted, words)), unit)
    passphrase = os.environ.get(PASSPHRASE_FILE)
    if passphrase:
        variable = quoted(f"{PASSPHRASE_FILE}={Path(passphrase).absolute()}", command=False)
        unit = re.sub("(?m)^ExecStart=.*$", lambda line: f"{line[0]}\nEnvironment={variable}", unit)
    writable = " ".join(quoted(f"-{path}", command=False) for path in own_folders(paths))
    unit = re.sub("(?m)^ReadWritePaths=-%t$", lambda line: f"{line[0]}\nReadWritePaths={writable}", unit)
    head, _, rest = unit.partition("\n\n[Unit]")
    title = head.splitlines()[0]
    return f"{title}\n#\n{MARK}\n# To change it: systemctl --user edit novakey\n\n[Unit]{rest}"


def own_folders(paths: Paths) -> list[Path]:
    """Return the folders that the daemon writes to. Its sandbox keeps it from making them itself."""
    return list(dict.fromkeys((paths.config, paths.data, paths.log)))


def of_other_daemon() -> Path | None:
    """Return the existing daemon's unit, which has the name of ours; None where there is none.

    That daemon finds its files in the folder that it is started in, so its unit names one. Ours does not.
    """
    unit = folder() / UNIT
    if not unit.is_file():
        said = _systemctl("show", "--property=FragmentPath", "--value", UNIT)
        unit = Path("" if isinstance(said, str) else said.stdout.strip())
    try:
        found = unit.read_text() if unit.is_file() else ""
    except (OSError, UnicodeError):
        return None
    theirs = MARK not in found and _STARTS_IT.search(found) and _IN_FOLDER.search(found)
    return unit if theirs else None


def quoted(word: str, command: bool = True) -> str:
    """Quote a word for a unit file, so that no character breaks out of it (systemd.syntax(7))."""
    if UNSAFE.search(word):
        raise SetupError(f"systemd cannot run {word!r}", "move NovaKey to a folder with an ordinary name")
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return '"' + (word.replace("$", "$$") if command else word) + '"'


def systemctl(*words: str) -> str | None:
    """Have the user's service manager do it; None when it did, else one line that says why not."""
    done = _systemctl(*words)
    if isinstance(done, str):
        return done
    if done.returncode == 0:
        return None
    said = done.stderr.strip().splitlines()
    return f"systemd says: {said[0]}" if said else "systemd refused"


def process_id() -> int | None:
    """Return the process that the service manager runs as our unit, or None."""
    done = _systemctl("show", "--property=MainPID", "--value", UNIT)
    said = "" if isinstance(done, str) else done.stdout.strip()
    return int(said) if said.isdecimal() and int(said) else None


def _systemctl(*words: str) -> subprocess.CompletedProcess[str] | str:
    env = process.environment("HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "XDG_CONFIG_HOME")
    argv = ["systemctl", "--user", "--quiet", *words]
    try:
        return subprocess.run(  # noqa: S603
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_ANSWER_S,
            check=False,
        )
    except OSError:
        return "there is no systemd here"
    except subprocess.TimeoutExpired:
        return "systemd does not answer"


def wanted_by(unit: Path) -> Path:
    """Return the link that makes the session start the unit."""
    return unit.parent / f"{TARGET}.wants" / unit.name


def unlink(unit: Path) -> None:
    """Take the link away where systemd does not answer."""
    link = wanted_by(unit)
    if link.is_symlink():
        link.unlink()
    with contextlib.suppress(OSError):  # others may be in it
        link.parent.rmdir()


def program() -> list[str]:
    """How this very program is started again: by the launch script, or as an installed module."""
    script = Path(novakey.__file__).parents[1] / "novakey.py"
    return [sys.executable, str(script)] if script.is_file() else [sys.executable, "-m", "novakey"]
