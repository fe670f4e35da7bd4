"""A session that starts no user services has the daemon at its next start, without a terminal."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import needs
from support.daemon import arm_and_approve, clean_environment, command, run, say
from support.installed import SYSTEM_PYTHON
from support.x11 import RecordingXterm, XServer, end, wait_until

from novakey import phone
from novakey.setup import autostart
from novakey.system.folder_lock import FolderLock
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

ENTRY = ".config/autostart/novakey.desktop"
DATA = ".local/share/novakey"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home-of-Ä"  # the script of openbox takes no space in it
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture(scope="module")
def screen() -> Iterator[XServer]:
    with XServer(manager=False) as server:
        yield server


def setup(home: Path, *words: str, **env: str) -> str:
    env = {**clean_environment(), "HOME": str(home), **env}
    argv = command("setup", "--yes", *words)
    done = subprocess.run(
        argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def openbox_session(home: Path, screen: XServer, address: str) -> Iterator[int]:
    """Run a session of openbox as a display manager starts it; give the daemon's process."""
    needs.programs("openbox-session")
    env = {**clean_environment(), "HOME": str(home), "DISPLAY": screen.display}
    env["PATH"] = "/usr/bin:/bin"  # its script asks for the `python3` that has Debian's packages
    env |= {"NOVAKEY_LISTEN_ADDR": address, "NOVAKEY_TWO_MAN_ENABLED": "false"}
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    session = subprocess.Popen(["openbox-session"], env=env, **quiet)
    pid = None
    try:
        wait_until(lambda: FolderLock.holder(home / DATA), "the daemon of the session", 30)
        pid = FolderLock.holder(home / DATA)
        assert pid is not None
        yield pid
    finally:
        end(session)
        if pid is not None:
            os.kill(pid, 15)
            wait_until(lambda: FolderLock.holder(home / DATA) is None, "its end")


def free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def test_the_second_session_of_openbox_types_without_a_terminal(home: Path, screen: XServer) -> None:
    assert f"it starts with your next session: {home / ENTRY}" in setup(home, DISPLAY=screen.display)
    assert not (home / ".config/systemd").exists()
    address = free_address()
    picture = home / DATA / "novakey-pair.png"
    with openbox_session(home, screen, address):
        wait_until(picture.exists, "its QR")
        profile = phone.pair_with(phone.read_picture(picture), "pocket")
    with openbox_session(home, screen, address), RecordingXterm(screen) as window:
        wait_until(lambda: say(profile, MessageType.ARM).outcome is Outcome.OK, "the phone's answer")
        arm_and_approve(profile)
        assert say(profile, MessageType.INJECT, b"no terminal was opened").outcome is Outcome.TYPED
        assert window.wait_for("no terminal was opened") == "no terminal was opened"
        looked = run("doctor", "--json", env={"HOME": str(home), "DISPLAY": screen.display})
        assert f"{ENTRY} starts it with the session" in looked.stdout
    assert "the session starts it no more" in setup(home, "--uninstall", DISPLAY=screen.display)
    assert not (home / ENTRY).exists()


@pytest.mark.parametrize(
    ("variable", "file"),
    [("SWAYSOCK", "~/.config/sway/config"), ("I3SOCK", "~/.config/i3/config")],
)
def test_where_no_entry_would_be_started_the_line_is_named(home: Path, variable: str, file: str) -> None:
    said = setup(home, DISPLAY=":99", **{variable: "/run/socket"}).splitlines()
    at = said.index(f"this session starts what its configuration names; add this line to {file}:")
    words = shlex.split(said[at + 1])
    assert words[0] == "exec" and words[1:] == [*command(), "serve", "--with-session"]
    assert not (home / ENTRY).exists()


def test_a_desktop_reads_every_argument_as_it_is(tmp_path: Path) -> None:
    """GLib reads the entry, as most desktops do."""
    argument = str(tmp_path / 'a b$c%d`e"f\\g')
    file = tmp_path / "novakey.desktop"
    file.write_text(autostart.text(["--data-dir", argument]))
    script = (
        "import sys, gi\nfrom gi.repository import Gio, GLib\n"
        "info = Gio.DesktopAppInfo.new_from_filename(sys.argv[1])\n"
        "print(*GLib.shell_parse_argv(info.get_commandline())[1], sep='\\n')"
    )
    argv = [SYSTEM_PYTHON, "-c", script, str(file)]
    read = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [word.replace("%%", "%") for word in read[-4:-1]] == ["--data-dir", argument, "serve"]
