"""A real notification service, whose buttons are pressed by a program."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import gevent
from support.dbus import MessageBus

from novakey.session.dbus import Bus
from novakey.session.notifications import Notifier

SOON_S = 15

# dunst shows the actions in a menu program; this one picks the line with the wanted word.
_RC = "[global]\ndmenu = {menu}\nmouse_left_click = do_action\nnotification_limit = 20\nhistory_length = 50\n"
_MENU = '#!/bin/sh\ngrep -m1 "$(cat "{wanted}")"\n'


class Dunst:
    """dunst on a bus whose `env` has the display; it ends with the bus."""

    def __init__(self, bus: MessageBus, folder: Path) -> None:
        self.bus = bus
        menu, self._wanted = folder / "menu", folder / "wanted"
        menu.write_text(_MENU.format(wanted=self._wanted))
        menu.chmod(0o755)
        self._config = folder / "dunstrc"
        self._config.write_text(_RC.format(menu=menu))
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process: subprocess.Popen[bytes] = self.bus.start(["dunst", "-conf", str(self._config)])
        notifier = Notifier(lambda: Bus(address=self.bus.address))
        deadline = time.monotonic() + SOON_S
        try:
            while notifier.unavailable() is not None:
                assert time.monotonic() < deadline, "dunst did not start"
                gevent.sleep(0.05)
        finally:
            notifier.close()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def ctl(self, *words: str) -> str:
        """Return what dunstctl says."""
        done = subprocess.run(["dunstctl", *words], env=self.bus.env, capture_output=True, text=True)
        return done.stdout

    def shown(self) -> int:
        """How many notifications are on the screen."""
        return int(self.ctl("count", "displayed").strip() or 0)

    def wait_until_shown(self, count: int = 1) -> None:
        """Wait until so many are on the screen."""
        deadline = time.monotonic() + SOON_S
        while self.shown() != count:
            assert time.monotonic() < deadline, f"{self.shown()} are shown, not {count}"
            gevent.sleep(0.05)

    def press(self, label: str) -> None:
        """Press the button with this label on the notification that is shown."""
        self._wanted.write_text(label)
        self.wait_until_shown()
        self.ctl("action")

    def history(self) -> list[dict[str, Any]]:
        """Those that are not on the screen any more, as dunst keeps them."""
        return list(json.loads(self.ctl("history"))["data"][0])

    def told(self) -> list[tuple[str, str]]:
        """Summary and body of all that it showed, the oldest first; takes them off the screen."""
        self.ctl("close-all")
        rows = [(row["summary"]["data"], row["body"]["data"]) for row in self.history()]
        return rows[::-1]
