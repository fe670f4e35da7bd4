"""A real X server with a window manager, and windows that write down what they are typed.

Everything started here is stopped by its process id; every wait has an end.
"""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import gevent
import gevent.event
from gevent.monkey import get_original

T = TypeVar("T")

START_S = 15
ARRIVE_S = 20  # the machine may be busy

# openbox grabs each of its shortcuts again when the keyboard map changes; after a hundred
# deliveries without a pause it would be half a minute behind.
_NO_SHORTCUTS = """<openbox_config xmlns="http://openbox.org/3.4/rc">
<keyboard></keyboard></openbox_config>"""

# It also reads the file of the Compose key again each time, which takes more than all of the rest.
_NO_COMPOSE = {"XCOMPOSEFILE": os.devnull}

_READER = """
import os, sys, termios, tty
tty.setraw(0)
out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
os.write(out, b"")
open(sys.argv[1] + ".ready", "w").close()
while data := os.read(0, 4096):
    os.write(out, data)
"""

_ENTRY = """
import os, sys, gi
gi.require_version("Gtk", "3.0")
from gi.repository import Gtk, GLib
path, title = sys.argv[1:3]
window, entry = Gtk.Window(title=title), Gtk.Entry()

waiting = []

def changed(*_):  # many keys at once are written once
    if not waiting:
        waiting.append(GLib.idle_add(write))

def write():
    waiting.clear()
    with open(path + ".new", "w", encoding="utf-8", newline="") as file:
        file.write(entry.get_text())
    os.replace(path + ".new", path)
    return False

def clear(*_):  # a new test
    number = os.read(0, 4096).split()[-1].decode()
    entry.set_text("")
    write()
    open(path + "." + number, "w").close()
    return True

entry.connect("changed", changed)
window.add(entry)
window.connect("destroy", Gtk.main_quit)
window.show_all()
write()
GLib.io_add_watch(0, GLib.IO_IN, clear)
open(path + ".ready", "w").close()
Gtk.main()
"""


def listens(path: Path) -> bool:
    """Whether somebody listens on this socket. Its file is there before that, from bind(2) to listen(2)."""
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(str(path))
        except OSError:
            return False
    return True


def wait_until(done: Callable[[], T], what: str, seconds: float = START_S) -> T:
    """Poll until `done()` is true; what it then was."""
    deadline = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.005)
    return found


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail when this takes longer than a timer of the same loop, which a busy machine delays as well."""
    over = gevent.spawn_later(seconds, int)
    try:
        yield
        assert not over.ready(), f"it took longer than {seconds} s"
    finally:
        over.kill()


def end(process: subprocess.Popen[Any]) -> None:
    """Stop a child by its id, also one that is stopped."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


KEPT_WAITING = 20
"""A thread's turns, 20 ms each, that may pass without one of another greenlet."""


@contextmanager
def others_run() -> Iterator[None]:
    """Fail unless other greenlets run while this waits.

    A thread tells how much time this process had: on a busy machine neither gets all of its turns.
    """
    sleep = get_original("time", "sleep")
    turns = 0
    waited = [0]
    done = gevent.event.Event()

    def thread() -> None:
        nonlocal turns
        while not done.is_set():
            sleep(0.02)
            turns += 1

    def greenlet() -> None:
        before = turns
        while not done.is_set():
            gevent.sleep(0.01)
            waited.append(turns - before)
            before = turns

    other = gevent.spawn(greenlet)
    gevent.sleep(0)
    gevent.get_hub().threadpool.spawn(thread)
    try:
        yield
        gevent.sleep(0.02)
        assert max(waited) <= KEPT_WAITING, f"it kept all others waiting for {max(waited)} turns of a thread"
    finally:
        done.set()
        other.join()


class XServer:
    """Xvfb on a free display, with openbox. `env` is the environment for children."""

    def __init__(self, manager: bool = True) -> None:
        self._with_manager = manager
        self._children: list[subprocess.Popen[Any]] = []

    def __enter__(self) -> XServer:
        self._folder = tempfile.TemporaryDirectory(prefix="novakey-display-")
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.display = self._start()
        bare = {k: v for k, v in os.environ.items() if k not in ("WAYLAND_DISPLAY", "XAUTHORITY")}
        self.env = {
            **bare,
            "DISPLAY": self.display,
            "LC_ALL": "C.UTF-8",
            "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent",
            "GDK_BACKEND": "x11",
            "GTK_IM_MODULE": "gtk-im-context-simple",
            "NO_AT_BRIDGE": "1",
        }
        if self._with_manager:
            settings = Path(self._folder.name, "openbox.xml")
            settings.write_text(_NO_SHORTCUTS)
            argv = ["openbox", "--config-file", str(settings)]
            self._children.append(subprocess.Popen(argv, env={**self.env, **_NO_COMPOSE}, **quiet))
            wait_until(
                lambda: "window id" in self.run("xprop", "-root", "_NET_SUPPORTING_WM_CHECK"), "openbox"
            )
        return self

    def _start(self) -> str:
        """Start Xvfb on a free number, and wait until it serves.

        Left to choose, servers take the lowest free number; one that ends removes its socket by name,
        and another that has just taken the same number loses its own. So the number is a random one.
        """
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        for _ in range(5):
            display = f":{random.randint(1000, 59000)}"
            reading, writing = os.pipe()
            argv = ["Xvfb", display, "-displayfd", str(writing), "-screen", "0", "1024x768x24"]
            argv += ["-nolisten", "tcp", "-noreset"]
            self.process = subprocess.Popen(argv, pass_fds=[writing], **quiet)
            os.close(writing)
            with open(reading, "rb") as pipe:
                if pipe.readline():
                    self._children.append(self.process)
                    return display
            end(self.process)
        raise AssertionError("Xvfb did not start")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._children):
            end(child)
        self._folder.cleanup()

    def run(self, *argv: str, check: bool = True, **options: Any) -> str:
        """Run a program on this display; its output."""
        options = {"capture_output": True, "text": True, "timeout": 20, **options}
        done = subprocess.run(argv, env=self.env, check=check, **options)
        return str(done.stdout)

    def layout(self, name: str, option: str = "") -> None:
        """Set the keyboard layout, with no other option than the given one."""
        self.run("setxkbmap", "-option", "")
        self.run("setxkbmap", name, *(["-option", option] if option else []))

    def keymap(self) -> str:
        """Return the whole keyboard: the core map, the XKB map, modifiers and lock lights.

        A key that types nothing has no group, or an empty one, as I248 has in xkeyboard-config 2.48. A client
        cannot set an empty group with ChangeKeyboardMapping, so the two count as the same.
        """
        xkb = self.run("xkbcomp", "-w0", self.display, "-")
        xkb = re.sub(r"\n *key <\w+> \{\s*\[\s*NoSymbol \] \};", "", xkb)
        return "\n".join([self.run("xmodmap", "-pke"), self.run("xmodmap", "-pm"), xkb, self.locks()])

    def locks(self) -> str:
        """Return the lock lights, which follow the lock state."""
        return "\n".join(line for line in self.run("xset", "q").splitlines() if " Lock:" in line)

    def focus(self, window: str) -> None:
        """Give a window the focus, and wait until it has it."""
        self.run("xdotool", "windowactivate", "--sync", window)
        wait_until(lambda: self.run("xdotool", "getwindowfocus", check=False).strip() == window, "focus")


class Recorder:
    """A window in which a program writes down what it is typed."""

    title = "recorder"

    def __init__(self, server: XServer, manager: bool = True) -> None:
        self.server = server
        self._with_manager = manager

    def _argv(self, folder: Path, output: Path) -> list[str]:
        raise NotImplementedError

    def __enter__(self) -> Recorder:
        self._folder = tempfile.TemporaryDirectory(prefix="novakey-window-")
        folder = Path(self._folder.name)
        self._output = folder / "typed"
        argv = self._argv(folder, self._output)
        quiet = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        others = self._others()
        self.process = subprocess.Popen(argv, env=self.server.env, **quiet)
        try:
            wait_until((folder / "typed.ready").exists, "a window")
            (self.window,) = wait_until(lambda: set(self._found()) - others, "its window")
            self._focus()
        except BaseException:
            end(self.process)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end(self.process)
        if self.process.stdin is not None:
            self.process.stdin.close()
        self._folder.cleanup()

    def _others(self) -> set[str]:
        """Return the windows that were there before, which `_found` would find too."""
        return set(self._found())

    def _found(self) -> list[str]:
        search = ("xdotool", "search", "--onlyvisible", "--name", f"^{self.title}$")
        return self.server.run(*search, check=False).split()

    def _focus(self) -> None:
        if self._with_manager:
            self.server.focus(self.window)
        else:
            self.server.run("xdotool", "windowfocus", "--sync", self.window)

    def text(self) -> str:
        """Return what has been typed since the last `clear`."""
        return self._output.read_bytes().decode("utf-8", "replace")

    def clear(self) -> None:
        """Start again with nothing."""
        raise NotImplementedError

    def only(self, text: str) -> bool:
        """Whether this comes and nothing before it: keys come in the order in which they were pressed."""
        return self.wait_for(text) == text

    def wait_for(self, expected: str | int, seconds: float = ARRIVE_S) -> str:
        """Wait for a text, or for a number of characters; what has come, whether it is that or not."""
        deadline = time.monotonic() + seconds
        while True:
            got = self.text()
            if (len(got) >= expected) if isinstance(expected, int) else (got == expected):
                return got
            if time.monotonic() > deadline:
                return got
            time.sleep(0.002)


class RecordingXterm(Recorder):
    """An xterm whose program logs the bytes that come from the terminal."""

    title = "recording-xterm"
    options: tuple[str, ...] = ()

    def _argv(self, folder: Path, output: Path) -> list[str]:
        script = folder / "reader.py"
        script.write_text(_READER)
        return [
            "xterm",
            "-u8",
            *self.options,
            "-T",
            self.title,
            "-e",
            sys.executable,
            str(script),
            str(output),
        ]

    def clear(self) -> None:
        """See `Recorder.clear`."""
        os.truncate(self._output, 0)


class RecordingGtkEntry(Recorder):
    """A GTK 3 entry whose text is written to a file whenever it changes."""

    title = "recording-entry"
    script = _ENTRY
    _cleared = 0

    def _argv(self, folder: Path, output: Path) -> list[str]:
        script = folder / "entry.py"
        script.write_text(self.script)
        return ["/usr/bin/python3", str(script), str(output), self.title]

    def clear(self) -> None:
        """See `Recorder.clear`. The program says that it has done it: an earlier write may still come."""
        self._cleared += 1
        assert self.process.stdin is not None
        self.process.stdin.write(b"%d\n" % self._cleared)
        self.process.stdin.flush()
        done = self._output.with_name(f"{self._output.name}.{self._cleared}")
        wait_until(done.exists, "an empty entry", ARRIVE_S)


def differs(got: str, expected: str) -> str | None:
    """Where two texts differ, without showing either; None when they are the same."""
    if got == expected:
        return None
    at = next((i for i, (a, b) in enumerate(zip(got, expected, strict=False)) if a != b), None)
    return f"{len(got)} characters came of {len(expected)}, first difference at {at}"


@contextmanager
def display_of(server: XServer | None) -> Iterator[None]:
    """`DISPLAY` of this process, for backends that run in it."""
    before = os.environ.get("DISPLAY")
    os.environ.pop("DISPLAY", None)
    if server is not None:
        os.environ["DISPLAY"] = server.display
    try:
        yield
    finally:
        os.environ.pop("DISPLAY", None)
        if before is not None:
            os.environ["DISPLAY"] = before
