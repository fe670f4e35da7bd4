"""Wait until keys that lag behind the modifiers have reached the window.

In GNOME 42 to 44 each key goes from the shell to IBus, to its engine, and the same way back. No event tells when
it is back. So the shell is asked, then the engine, then the shell again: each handles what it gets in order, and
answers when it has handled the keys before the question. A step may take several turns of the shell.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress

import gevent
from jeepney import DBusAddress

from novakey.session.dbus import Bus, BusError
from novakey.session.input_method import ibus_address

TURNS = 3
STEP_S = 0.002
BLIND_S = 0.01  # where the engine cannot be asked
BLIND_ROUND_TRIPS = 3  # and at least so many times what the questions took: longer on a busy machine

_CALL_S = 1.0
# The engine of every plain keyboard under GNOME. Its factory has no properties, and so little to do.
_ENGINE = "org.freedesktop.IBus.Simple"
_FACTORY = DBusAddress("/org/freedesktop/IBus/Factory", _ENGINE, "org.freedesktop.DBus.Properties")


class Lag:
    """The way of the keys through the input method. `round_trip` asks the desktop something."""

    def __init__(
        self, round_trip: Callable[[], None], sleep: Callable[[float], object] = gevent.sleep
    ) -> None:
        self._round_trip = round_trip
        self._sleep = sleep
        self._ibus: Bus | None = None
        address = ibus_address(os.environ)
        if address is not None:
            with suppress(BusError):
                self._ibus = Bus(address=address)

    def wait(self) -> None:
        """Return when the keys so far have most probably reached the window. Raises `BusError`."""
        asked = time.monotonic()
        self._turns()
        self._sleep(STEP_S)
        if self._engine_answers():
            self._turns()
            self._sleep(STEP_S)
        else:
            self._sleep(max(BLIND_S, BLIND_ROUND_TRIPS * (time.monotonic() - asked)))

    def close(self) -> None:
        """Close the connection to IBus."""
        ibus, self._ibus = self._ibus, None
        if ibus is not None:
            ibus.close()

    def _turns(self) -> None:
        for _ in range(TURNS):
            self._round_trip()

    def _engine_answers(self) -> bool:
        if self._ibus is None:
            return False
        try:
            self._ibus.call(_FACTORY, "GetAll", "s", ("org.freedesktop.IBus.Factory",), _CALL_S, start=False)
        except BusError:
            self.close()
            return False
        return True
