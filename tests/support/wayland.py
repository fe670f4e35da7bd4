"""A real headless sway, and windows in it that write down what they are typed.

sway refuses to run as root, so then it runs as user 65534; its socket lies in a folder of that user's.
Everything started here is stopped by its process id; every wait has an end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from support import needs
from support.x11 import _READER, START_S, Recorder, RecordingGtkEntry, end, wait_until

from novakey.desktop.wayland import protocol
from novakey.desktop.wayland.session import connect, within
from novakey.desktop.wayland.virtual_keyboard import VirtualKeyboard

UNPRIVILEGED = 65534
QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

_CONFIG = """
output HEADLESS-1 resolution 1024x768
default_border none
focus_follows_mouse no
xwayland {xwayland}
"""


def ordinary_user(folder: Path) -> dict[str, Any]:
    """Options for a child that must not be root, after giving it the folder."""
    if os.geteuid() != 0:
        return {}
    os.chown(folder, UNPRIVILEGED, UNPRIVILEGED)
    return {"user": UNPRIVILEGED, "group": UNPRIVILEGED, "extra_groups": []}


@contextmanager
def ordinary() -> Iterator[None]:
    """Be the ordinary user: IBus lets in only its own. Without root nothing changes."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(UNPRIVILEGED, UNPRIVILEGED, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


class Compositor:
    """A compositor in a folder of its own. `env` is the environment for its clients."""

    start_s: float = START_S

    def __init__(self) -> None:
        self._children: list[subprocess.Popen[Any]] = []

    def __enter__(self) -> Compositor:
        place = needs.open_place() if os.geteuid() == 0 else None
        self._folder = tempfile.TemporaryDirectory(prefix="novakey-wayland-", dir=place)
        self.folder = Path(self._folder.name)
        self.folder.chmod(0o700)
        self._as = ordinary_user(self.folder)
        bare = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "XAUTHORITY")}
        self.env = {
            **bare,
            "XDG_RUNTIME_DIR": str(self.folder),
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent",
            "GDK_BACKEND": "wayland",
            "GTK_IM_MODULE": "gtk-im-context-simple",
            "NO_AT_BRIDGE": "1",
        }
        try:
            self._start()
            wait_until(self._sockets, "the compositor", self.start_s)
            self.env["WAYLAND_DISPLAY"] = self._sockets()[0]
            self._ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._children):
            end(child)
        self._folder.cleanup()

    def _start(self) -> None:
        raise NotImplementedError

    def _ready(self) -> None:
        return

    def _sockets(self) -> list[str]:
        return [path.name for path in self.folder.glob("wayland-*") if path.is_socket()]

    def spawn(self, *argv: str, **options: Any) -> subprocess.Popen[Any]:
        """Start a part of the session as the ordinary user; it ends with the session."""
        child = subprocess.Popen(argv, env=self.env, cwd=self.folder, **{**QUIET, **self._as, **options})
        self._children.append(child)
        return child

    def run(self, *argv: str, check: bool = True, **options: Any) -> str:
        """Run a program as a client; its output."""
        options = {"capture_output": True, "text": True, "timeout": 20, **options}
        return str(subprocess.run(argv, env=self.env, check=check, **options).stdout)

    @property
    def session(self) -> dict[str, str]:
        """The variables by which a client finds it."""
        return {name: self.env[name] for name in ("XDG_RUNTIME_DIR", "WAYLAND_DISPLAY")}


class Person:
    """A person's keyboard in the seat, for as long as this lives."""

    def __init__(self, server: Compositor) -> None:
        with session_of(server.session), within(START_S):
            self._connection = connect()
            self._keyboard = VirtualKeyboard(self._connection)

    def hold(self, modifiers: int, locked: int = 0) -> None:
        """Hold modifiers down and lock others, by the bits of the real modifiers."""
        self._connection.request(
            self._keyboard._keyboard, protocol.VIRTUAL_KEYBOARD_MODIFIERS, modifiers, 0, locked, 0
        )
        self._connection.roundtrip()

    def tap(self, character: str) -> None:
        """Press and release a key, which makes this the keyboard that was used last."""
        stroke = self._keyboard.keymap.stroke(character)
        for state in (1, 0):
            self._connection.request(
                self._keyboard._keyboard, protocol.VIRTUAL_KEYBOARD_KEY, 1, stroke.code, state
            )
        self._connection.roundtrip()

    def close(self) -> None:
        """Unplug it."""
        self._connection.close()


class Sway(Compositor):
    """sway with one screen, and with a keyboard unless there is to be none but ours."""

    def __init__(self, keyboard: bool = True, xwayland: bool = False) -> None:
        super().__init__()
        self._xwayland = "enable" if xwayland else "disable"
        self._with_keyboard = keyboard
        self.person: Person | None = None

    def _start(self) -> None:
        config = self.folder / "config"
        config.write_text(_CONFIG.format(xwayland=self._xwayland))
        self.env |= {
            "WLR_BACKENDS": "headless",
            "WLR_LIBINPUT_NO_DEVICES": "1",
            "WLR_RENDERER": "pixman",
        }
        self.process = self.spawn("sway", "-c", str(config))

    def _ready(self) -> None:
        wait_until(lambda: list(self.folder.glob("sway-ipc.*.sock")), "sway's socket")
        self.env["SWAYSOCK"] = str(next(self.folder.glob("sway-ipc.*.sock")))
        wait_until(lambda: self.msg("-t", "get_outputs"), "sway's screen")
        if self._with_keyboard:
            self.person = Person(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.person is not None:
            self.person.close()
        super().__exit__(kind, error, trace)

    def msg(self, *words: str) -> Any:
        """Tell or ask sway something."""
        return json.loads(self.run("swaymsg", "-r", *words, check=False) or "null")

    def windows(self) -> list[dict[str, Any]]:
        """Every window, as sway describes it."""
        found, queue = [], [self.msg("-t", "get_tree")]
        while queue:
            node = queue.pop()
            queue += [*node["nodes"], *node["floating_nodes"]]
            if node.get("pid"):
                found.append(node)
        return found

    def focus(self, window: str) -> None:
        """Give a window the focus, and wait until it has it."""
        self.msg(f"[con_id={window}]", "focus")
        wait_until(lambda: any(str(w["id"]) == window and w["focused"] for w in self.windows()), "focus")


class SwayRecorder(Recorder):
    """A window under sway in which a program writes down what it is typed."""

    def _others(self) -> set[str]:
        return set()

    def _found(self) -> list[str]:
        return [str(w["id"]) for w in self.server.windows() if w["pid"] == self.process.pid]

    def _focus(self) -> None:
        self.server.focus(self.window)


class RecordingFoot(SwayRecorder):
    """A foot whose program logs the bytes that come from the terminal."""

    title = "recording-foot"

    def _argv(self, folder: Path, output: Path) -> list[str]:
        script = folder / "reader.py"
        script.write_text(_READER)
        return ["foot", "-T", self.title, sys.executable, str(script), str(output)]

    def clear(self) -> None:
        """See `Recorder.clear`."""
        os.truncate(self._output, 0)


class SwayGtkEntry(SwayRecorder, RecordingGtkEntry):
    """A GTK 3 entry whose text is written to a file whenever it changes."""


@contextmanager
def session_of(variables: dict[str, str]) -> Iterator[None]:
    """Variables of this process, for backends that run in it; others that lead to a screen are taken away."""
    names = ("XDG_RUNTIME_DIR", "WAYLAND_DISPLAY", "SWAYSOCK", "DISPLAY", "DBUS_SESSION_BUS_ADDRESS")
    before = {name: os.environ.pop(name) for name in (*names, *variables) if name in os.environ}
    os.environ.update({"DBUS_SESSION_BUS_ADDRESS": "disabled:", **variables})
    try:
        yield
    finally:
        for name in (*names, *variables):
            os.environ.pop(name, None)
        os.environ.update(before)
