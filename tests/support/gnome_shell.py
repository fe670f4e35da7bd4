"""A real headless GNOME Shell with its own IBus, on message buses of its own, and windows in it.

The shell wants logind on the system bus. There is none in a test, so python3-dbusmock stands in for it.
The shell's `Eval`, which its unsafe mode allows, sets what a person sets in the settings.
"""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from jeepney import DBusAddress
from support import needs
from support.mutter import Mutter, MutterFoot, MutterGtkEntry, bus_config
from support.wayland import session_of
from support.x11 import START_S, listens, wait_until

from novakey.desktop.remote import shell
from novakey.session.dbus import Bus, BusError

_SHELL = DBusAddress("/org/gnome/Shell", shell.NAME, shell.NAME)
_MOCK = ("/usr/bin/python3", "-m", "dbusmock", "--system", "--template", "logind")
_SETTINGS = """[org/gnome/desktop/input-sources]
sources=[{sources}]
[org/gnome/shell]
welcome-dialog-last-shown-version='999'
[org/gnome/desktop/interface]
enable-animations=false
toolkit-accessibility={accessible}
"""


class GnomeShell(Mutter):
    """GNOME Shell with one screen. `sources` are its input sources, the first in effect."""

    start_s = 120.0

    def __init__(self, *sources: tuple[str, str], locale: str = "C.UTF-8", keyboard: bool = True) -> None:
        super().__init__(keyboard)
        self._sources = sources or (("xkb", "us"),)
        self._locale = locale

    def _start(self) -> None:
        needs.programs("gnome-shell", "ibus-daemon", "dbus-daemon")
        self.env |= {
            "LC_ALL": self._locale,
            "GSETTINGS_BACKEND": "keyfile",
            "XDG_CURRENT_DESKTOP": "GNOME",
            "XDG_SESSION_TYPE": "wayland",
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "XDG_DATA_HOME": str(self.folder / "data"),
            "GNOME_SHELL_SESSION_MODE": "user",
        }
        # GTK asks the compositor's input method, as it does under GNOME.
        for name in ("GTK_IM_MODULE", "NO_AT_BRIDGE"):
            self.env.pop(name, None)
        settings = self.folder / "config" / "glib-2.0" / "settings" / "keyfile"
        settings.parent.mkdir(parents=True)
        sources = ", ".join(str(source) for source in self._sources)
        settings.write_text(_SETTINGS.format(sources=sources, accessible="false"))
        self._give_all()
        for which in ("SYSTEM", "SESSION"):
            socket = self.folder / f"{which.lower()}-bus"
            config = self.folder / f"{which.lower()}.conf"
            config.write_text(bus_config(socket, services=which == "SESSION"))
            self.env[f"DBUS_{which}_BUS_ADDRESS"] = f"unix:path={socket}"
            self.spawn("dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile")
            wait_until(lambda socket=socket: listens(socket), f"the {which.lower()} bus")
        self.spawn(*_MOCK)
        argv = ("gnome-shell", "--headless", "--wayland", "--no-x11", "--virtual-monitor", "1024x768")
        self.process = self.spawn(*argv, "--unsafe-mode")

    def __exit__(self, *exc: Any) -> None:
        try:
            super().__exit__(*exc)
        finally:
            self._end_rest()

    def _end_rest(self) -> None:
        """End what the shell and its bus have started: IBus, portals and a keyring outlive them."""
        mine = f"XDG_RUNTIME_DIR={self.folder}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mine in (process / "environ").read_bytes().split(b"\0") and process.stat().st_uid:
                    os.kill(int(process.name), signal.SIGKILL)

    def _give_all(self) -> None:
        """Make the ordinary user the owner of what was written for it."""
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.rglob("*")):
                shutil.chown(path, self._as["user"], self._as["group"])

    def _ready(self) -> None:
        with session_of(self.session):
            wait_until(
                lambda: self._evaluates("Main.layoutManager._startingUp === false"), "the shell", self.start_s
            )
            self.eval("Main.overview.hide()")
            wait_until(lambda: self._evaluates("!Main.overview.visible"), "a closed overview", self.start_s)
            wait_until(
                lambda: self._evaluates("imports.misc.ibusManager.getIBusManager()._ready"), "IBus", 60
            )
        super()._ready()

    @property
    def session(self) -> dict[str, str]:
        """See `Compositor.session`; with the variables by which its settings and its IBus are found."""
        names = ("GSETTINGS_BACKEND", "XDG_CONFIG_HOME")
        return {**super().session, **{name: self.env[name] for name in names}}

    def eval(self, code: str) -> str:
        """Run JavaScript in the shell; its result as JSON."""
        with session_of(self.session), Bus() as bus:
            worked, result = bus.call(_SHELL, "Eval", "s", (code,), START_S)
        if not worked:
            raise AssertionError(f"the shell did not run it: {result[:200]}")
        return str(result)

    def _evaluates(self, code: str) -> bool:
        try:
            return self.eval(code) == "true"
        except (BusError, AssertionError):
            return False

    def choose_source(self, index: int) -> None:
        """Switch to another of the input sources, as by the shell's menu, and wait until it is in effect."""
        manager = "imports.ui.status.keyboard.getInputSourceManager()"
        self.eval(f"{manager}.inputSources[{index}].activate(true)")
        wait_until(lambda: self._evaluates(f"{manager}.currentSource.index === {index}"), "the input source")


class ShellFoot(MutterFoot):
    """See `RecordingFoot`."""


class ShellGtkEntry(MutterGtkEntry):
    """See `SwayGtkEntry`."""


class ShellPasswordEntry(MutterGtkEntry):
    """The same as a password's field."""

    title = "recording-password"
    script = MutterGtkEntry.script.replace(
        "Gtk.Entry()", "Gtk.Entry(visibility=False, input_purpose=Gtk.InputPurpose.PASSWORD)"
    )
