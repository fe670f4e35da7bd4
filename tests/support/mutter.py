"""A real headless mutter (GNOME's compositor) on a message bus of its own, without the rest of GNOME."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from support.wayland import Compositor, RecordingFoot, SwayGtkEntry, session_of
from support.x11 import Recorder, listens, wait_until

from novakey.desktop.remote.backend import NO_KEY
from novakey.desktop.remote.gnome import MutterKeyboard
from novakey.session.dbus import BusError, SilentError

_X_KEY, _Z_KEY = 45, 44

# Root must reach the bus too: the tests may be root, and mutter never is.
_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>{services}
<policy context="default"><allow user="*"/><allow send_destination="*" eavesdrop="true"/>
<allow eavesdrop="true"/><allow own="*"/></policy></busconfig>"""


def bus_config(socket: Path, services: bool = False) -> str:
    """Return the configuration of a bus; with `services` it starts those that the machine has."""
    return _BUS.format(socket=socket, services="<standard_session_servicedirs/>" if services else "")


class Mutter(Compositor):
    """mutter with one screen, and with a keyboard unless there is to be none but ours."""

    def __init__(self, keyboard: bool = True) -> None:
        super().__init__()
        self.with_keyboard = keyboard
        self._person: MutterKeyboard | None = None

    def _start(self) -> None:
        config = self.folder / "bus.conf"
        config.write_text(bus_config(self.folder / "bus-socket"))
        self.env["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={self.folder}/bus-socket"
        self.spawn("dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile")
        wait_until(lambda: listens(self.folder / "bus-socket"), "the message bus")
        argv = ("mutter", "--headless", "--wayland", "--no-x11", "--virtual-monitor", "1024x768")
        self.process = self.spawn(*argv)

    def _ready(self) -> None:
        with session_of(self.session):
            wait_until(self._answers, "mutter's remote desktop", self.start_s)
            if self.with_keyboard:
                self._person = MutterKeyboard()
                for down in (True, False):
                    self._person.press(NO_KEY, down)

    def _answers(self) -> bool:
        from novakey.desktop.remote.gnome import MutterBackend

        try:
            return MutterBackend.unavailable() is None
        except (BusError, OSError):
            return False

    def __exit__(self, *exc: Any) -> None:
        if self._person is not None:
            self._person.stop()
        super().__exit__(*exc)

    @property
    def session(self) -> dict[str, str]:
        """See `Compositor.session`."""
        return {**super().session, "DBUS_SESSION_BUS_ADDRESS": self.env["DBUS_SESSION_BUS_ADDRESS"]}

    @property
    def person(self) -> MutterKeyboard:
        """The keyboard that is there all the time."""
        assert self._person is not None
        return self._person


class _MutterWindow(Recorder):
    """A new window gets the focus in mutter, and no program can give it to another or ask which has it."""

    server: Mutter

    def _others(self) -> set[str]:
        return set()

    def _found(self) -> list[str]:
        return ["the newest"]

    def _focus(self) -> None:
        if not self.server.with_keyboard:
            time.sleep(1)
            return
        wait_until(self._takes_keys, "the focus")
        self._press(_Z_KEY)  # comes after all that was pressed before
        wait_until(lambda: len({*self.text()}) == 2, "the last key")  # whatever the layout has on both
        self.clear()

    def _takes_keys(self) -> bool:
        self._press(_X_KEY)
        time.sleep(0.05)
        return bool(self.text())

    def _press(self, key: int) -> None:
        for down in (True, False):
            with suppress(SilentError):  # the call is carried out once the compositor comes to it
                self.server.person.press(key, down)


class MutterFoot(_MutterWindow, RecordingFoot):
    """See `RecordingFoot`."""


class MutterGtkEntry(_MutterWindow, SwayGtkEntry):
    """See `SwayGtkEntry`."""
