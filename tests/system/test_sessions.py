"""Whole sessions, started as their display managers start them: the daemon is back in the next one.

XFCE, openbox, i3 and sway, each by the `Exec` of its file in `/usr/share`, as an ordinary user with an empty
home and a bus of its own. In the first session the person runs `setup` and pairs. Then it ends. In the second
one no terminal is opened, and the phone types.
"""

from __future__ import annotations

import configparser
import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from support import installed, needs
from support.daemon import ROOT, arm_and_approve, say
from support.wayland import QUIET, ordinary_user
from support.x11 import XServer, end, wait_until

from novakey import phone
from novakey.errors import NovaKeyError
from novakey.system.folder_lock import FolderLock
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

TEXT = "no terminal was opened"
pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


class Kind(NamedTuple):
    """A session: its file of `/usr/share`, the process that opens terminals, and its configuration."""

    file: str
    manager: str
    needs: tuple[str, ...] = ()
    config: str = ""
    shipped: str = ""


KINDS = {
    "xfce": Kind("xsessions/xfce.desktop", "xfwm4", ("startxfce4", "xfwm4")),
    "openbox": Kind("xsessions/openbox.desktop", "openbox", ("openbox-session",)),
    "i3": Kind("xsessions/i3.desktop", "i3", ("i3",), ".config/i3/config", "/etc/i3/config"),
    "sway": Kind(
        "wayland-sessions/sway.desktop", "sway", ("sway", "foot"), ".config/sway/config", "/etc/sway/config"
    ),
}


class Place:
    """The ordinary user: a home, a copy of the program that this user can read, and what was started."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        self.kind = kind
        self.home, self.runtime = folder / "home", folder / "run"
        for made in (self.home, self.runtime):
            made.mkdir(mode=0o700)
            self.rights = ordinary_user(made)
        (folder / "app").mkdir()
        self.script = installed.copy_to(folder / "app")
        shutil.copytree(ROOT / "conf", folder / "app/conf")
        self.data = self.home / ".local/share/novakey"
        self.env = {
            "HOME": str(self.home),
            "USER": "person",
            "SHELL": "/bin/sh",
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(self.runtime),
            "NOVAKEY_LISTEN_ADDR": free_address(),
            "NOVAKEY_TWO_MAN_ENABLED": "false",
        }

    def words(self) -> list[str]:
        """Return what a display manager runs: the `Exec` of the session's file, in a bus of its own."""
        file = configparser.ConfigParser(interpolation=None, strict=False)
        file.read(Path("/usr/share") / self.kind.file)
        return ["dbus-run-session", "--", *shlex.split(file["Desktop Entry"]["Exec"])]

    def run(self, *words: str, env: dict[str, str]) -> str:
        argv = [installed.python(), str(self.script), *words]
        piped = {**QUIET, **self.rights, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        done = subprocess.run(argv, env=env, cwd=self.home, text=True, timeout=60, check=False, **piped)
        assert done.returncode == 0, done.stdout
        return str(done.stdout)

    def start(self, *words: str, env: dict[str, str]) -> subprocess.Popen[bytes]:
        argv = [installed.python(), str(self.script), *words]
        return subprocess.Popen(argv, env=env, cwd=self.home, **{**QUIET, **self.rights})

    def window(self, env: dict[str, str]) -> Path:
        """Open a window with the focus that writes what it is typed to the file that is returned."""
        output = self.runtime / "typed"
        script = f"stty raw -echo; touch {output}; exec dd bs=1 of={output} conv=notrunc"
        terminal = ["foot"] if "SWAYSOCK" in env else ["xterm", "-e"]
        self.opened = subprocess.Popen(
            [*terminal, "sh", "-c", script], env=env, cwd=self.home, **{**QUIET, **self.rights}
        )
        wait_until(output.exists, "the window")
        time.sleep(1)  # until the window manager has given it the focus
        return output

    def processes(self) -> Iterator[int]:
        """Give what this person has running."""
        home = f"HOME={self.home}".encode()
        for file in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if home in file.read_bytes().split(b"\0"):
                    yield int(file.parent.name)

    def holder(self) -> int | None:
        """Return the process of the daemon, if one runs."""
        return FolderLock.holder(self.data)


def free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def add_line(place: Place, said: list[str]) -> None:
    """Do what `setup` says: add its line to the window manager's configuration, if it names one."""
    if not place.kind.config:
        assert any(line.startswith("it starts with your next session: ") for line in said), said
        return
    at = next(at for at, line in enumerate(said) if line.endswith(f"add this line to ~/{place.kind.config}:"))
    file = place.home / place.kind.config
    text = Path(place.kind.shipped).read_text() + said[at + 1].strip() + "\n"
    make = ["sh", "-c", 'mkdir -p "$(dirname "$1")"; cat >"$1"', "sh", str(file)]
    subprocess.run(make, input=text, text=True, check=True, **place.rights)


def answers(profile: phone.Profile) -> bool:
    try:
        return say(profile, MessageType.ARM).outcome is Outcome.OK
    except (OSError, NovaKeyError):
        return False


def children(pid: int) -> Iterator[int]:
    """Give the process and those below it."""
    yield pid
    with contextlib.suppress(OSError):  # it has just ended
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in task.read_text().split():
                yield from children(int(child))


def name_of(pid: int) -> str:
    """Return the name of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def environment(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with, as a terminal that it opens has it."""
    file = Path(f"/proc/{pid}/environ")
    pairs = wait_until(file.read_bytes, "its start").decode().rstrip("\0").split("\0")
    return dict(pair.split("=", 1) for pair in pairs)


@contextmanager
def session(place: Place, display: str) -> Iterator[dict[str, str]]:
    """Run the session until the block ends; give the environment of a terminal in it."""
    headless = {"WLR_BACKENDS": "headless", "WLR_LIBINPUT_NO_DEVICES": "1", "WLR_RENDERER": "pixman"}
    env = {**place.env, **({"DISPLAY": display} if display else headless)}
    leader = subprocess.Popen(place.words(), env=env, cwd=place.home, **{**QUIET, **place.rights})

    def manager() -> int | None:
        return next((pid for pid in children(leader.pid) if name_of(pid) == place.kind.manager), None)

    try:
        inherits = environment(wait_until(manager, f"the start of {place.kind.manager}", 30))
        for variable, pattern in SOCKETS.get(place.kind.manager, {}).items():
            found = wait_until(lambda of=pattern: list(place.runtime.glob(of)), pattern)
            inherits[variable] = str(found[0]) if variable != "WAYLAND_DISPLAY" else found[0].name
        yield inherits
    finally:
        end(leader)
        # What a session leaves behind is the system's to end. The daemon is not: it is looked at.
        for pid in set(place.processes()) - {place.holder()}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        for pattern in ("sway-ipc.*", "wayland-*", "i3/*"):
            for left in place.runtime.glob(pattern):
                left.unlink()


SOCKETS = {
    "i3": {"I3SOCK": "i3/ipc-socket.*"},
    "sway": {"SWAYSOCK": "sway-ipc.*.sock", "WAYLAND_DISPLAY": "wayland-?"},
}


@pytest.mark.parametrize("name", KINDS)
def test_the_second_session_types_without_a_terminal(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    kind = KINDS[name]
    needs.programs("dbus-run-session", *kind.needs)
    with tempfile.TemporaryDirectory(prefix="novakey-session-", dir=needs.open_place()) as folder:
        Path(folder).chmod(0o755)
        place = Place(Path(folder), kind)
        began = time.monotonic()
        try:
            served = second_session(place)
        finally:
            for pid in place.processes():
                os.kill(pid, signal.SIGTERM)
        took = time.monotonic() - began
        with capsys.disabled():
            print(f"\n{name}: served {served:.1f} s after the second start; {took:.0f} s in all")


@contextmanager
def seat(place: Place) -> Iterator[dict[str, str]]:
    """Run a session on a display of its own, as a display manager does; both end with the block."""
    if not place.kind.file.startswith("xsessions"):
        with session(place, "") as env:
            yield env
        return
    with XServer(manager=False) as screen, session(place, screen.display) as env:
        yield env


def second_session(place: Place) -> float:
    """Set up and pair in a first session, type in a second one; seconds from its start until it served."""
    picture = place.data / "novakey-pair.png"
    with seat(place) as env:
        said = place.run("setup", "--yes", "--listen", "here", env=env).splitlines()
        add_line(place, said)
        daemon = place.start("serve", env=env)  # as the last line of `setup` says
        wait_until(picture.exists, "the QR", 30)
        profile = phone.pair_with(phone.read_picture(picture), "pocket")
        wait_until(lambda: not picture.exists(), "the end of the window")
    end(daemon)
    wait_until(lambda: place.holder() is None, "the end of the daemon of the first session")
    began = time.monotonic()
    with seat(place) as env:
        wait_until(place.holder, "the daemon of the second session", 30)
        wait_until(lambda: answers(profile), "the phone's answer")
        served = time.monotonic() - began
        typed = place.window(env)
        arm_and_approve(profile)
        reply = say(profile, MessageType.INJECT, TEXT.encode())
        assert reply.outcome is Outcome.TYPED, reply
        wait_until(lambda: typed.read_text() == TEXT, "the text in the window")
        again = place.holder()
    wait_until(lambda: place.holder() != again, "the end of the daemon with its session", 20)
    return served
