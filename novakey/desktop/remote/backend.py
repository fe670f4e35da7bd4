"""Desktops that press keys for us, on the keyboard map of the person (GNOME, the portal).

What can be found out beforehand is: the map, all of its layouts, and Caps Lock
where the desktop tells it. Only a text that comes out right under all of that is
typed. These desktops tell no program what has the focus, so it is not checked, and a
policy that needs it refuses.
"""

from __future__ import annotations

import contextlib
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import gevent
import gevent.event

from novakey.desktop.base import Backend, CannotType, Delivery, DesktopError, Focus
from novakey.desktop.keysyms import typed_characters
from novakey.desktop.remote.lag import Lag
from novakey.desktop.remote.seat import Seat
from novakey.desktop.remote.xkb import Layout, Press
from novakey.desktop.wayland import session
from novakey.desktop.wayland.session import within
from novakey.secret import Secret
from novakey.session.dbus import BusError

# A program learns of the seat's first keyboard when that comes, and has then to ask for it. No event tells
# when it has; until then it misses keys.
FIRST_KEYBOARD_S = 0.5
FETCH_S = 1.0  # how long a program has to fetch what it was told to paste
# A compositor hangs up on a program that leaves too many events unread: its socket takes some 270 of them
# one by one, libwayland another 4 KiB. So much goes out at once; then a program may be busy for half a
# second. (Without this, GTK programs under a loaded mutter were thrown out of their session.)
BURST_EVENTS = 200
EVENTS_PER_S = 300
NO_KEY = 240  # KEY_UNKNOWN, which no map gives a meaning
SETTLE_S = 0.02  # a program that watches the clipboard fetches at once; that is no paste


class Keyboard(Protocol):
    """A session in which keys can be pressed. Its methods raise `BusError`."""

    def press(self, code: int, down: bool) -> None:
        """Press or release a key by its evdev code; carried out when this returns."""

    def caps_lock(self) -> bool:
        """Whether Caps Lock is on; False where the desktop does not tell."""

    def aim(self) -> None:
        """Raise `DesktopError` where the desktop tells that keys would go to something that is no window."""

    def lags(self) -> bool:
        """Return whether a key may reach the window with the modifiers of a later key."""

    def find_group(self, layout: Layout) -> None:
        """Tell a map of several layouts which of them is in effect, where the desktop tells."""

    def confirm(self) -> None:
        """Return when the desktop has carried out every key so far; `BusError` when that cannot be shown."""

    def stop(self) -> None:
        """End the session, and with it its keyboard. Raises nothing."""


class Clipboard(Protocol):
    """The clipboard while it is ours. `fetched` is set whenever a program fetches the text."""

    fetched: gevent.event.Event

    def close(self) -> None:
        """Let go of it."""


class RemoteBackend(Backend):
    """A desktop that presses keys for us."""

    typed_msg = "sent to the desktop, which does not tell whether a window took it"

    def __init__(self) -> None:
        self._clipboard: Clipboard | None = None

    @abstractmethod
    def _start(self, deadline_s: float) -> Keyboard:
        """Start a session with a keyboard. Raises `BusError` or `DesktopError`."""

    @abstractmethod
    def _own(self, text: Secret, deadline_s: float) -> Clipboard:
        """Put the text on the clipboard. Raises `BusError` or `DesktopError`."""

    def focus(self, deadline_s: float) -> Focus | None:
        """See `Backend.focus`: these desktops tell it to no program."""
        return None

    def type_text(self, text: Secret, deadline_s: float, delivery: Delivery) -> None:
        """See `Backend.type_text`; the focus cannot be watched here."""
        delivery.check_target(None)
        with self._typist(deadline_s) as typist:
            typist.tap(typist.layout.plan(typed_characters(text), typist.caps_lock()))

    def paste(self, text: Secret, deadline_s: float, delivery: Delivery) -> bool:
        """See `Backend.paste`: Ctrl+V, as it is unknown whether a terminal has the focus."""
        delivery.check_target(None)
        until = time.monotonic() + deadline_s
        self.copy(text, deadline_s)
        assert self._clipboard is not None
        fetched = self._clipboard.fetched
        try:
            with self._typist(until - time.monotonic()) as typist:
                gevent.sleep(SETTLE_S)
                fetched.clear()
                typist.tap([typist.layout.shortcut("v")])
        except DesktopError:
            return False
        return bool(fetched.wait(min(FETCH_S, max(0.0, until - time.monotonic()))))

    def copy(self, text: Secret, deadline_s: float) -> None:
        """See `Backend.copy`."""
        self.close()
        with _faults(), within(deadline_s):
            self._clipboard = self._own(text, deadline_s)

    def close(self) -> None:
        """See `Backend.close`."""
        clipboard, self._clipboard = self._clipboard, None
        if clipboard is not None:
            clipboard.close()

    @contextmanager
    def _typist(self, deadline_s: float) -> Iterator[Typist]:
        typist: Typist | None = None
        try:
            with _faults(), within(deadline_s), session.connect() as connection:
                seat = Seat(connection)
                had_one = seat.has_keyboard
                keyboard = self._start(deadline_s)
                try:
                    # The keyboard is made when its first key comes, which is lost with it.
                    keyboard.press(NO_KEY, True)
                    keyboard.press(NO_KEY, False)
                    layout, lag = Layout(seat.keymap()), None
                    try:
                        if not had_one:
                            gevent.sleep(FIRST_KEYBOARD_S)
                        keyboard.aim()
                        if layout.has_several:
                            keyboard.find_group(layout)
                        lag = Lag(keyboard.confirm) if keyboard.lags() else None
                        typist = Typist(keyboard, layout, lag)
                        yield typist
                    finally:
                        if lag is not None:
                            lag.close()
                        layout.close()
                finally:
                    keyboard.stop()
        except DesktopError as error:
            if typist is None or not typist.sent:
                raise
            raise DesktopError(str(error), typist.sent, typist.whole) from None


class Pace:
    """How fast events may go out. The clock and the sleeping are parameters."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = gevent.sleep,
    ) -> None:
        self._monotonic = monotonic
        self._sleep = sleep
        self._room = float(BURST_EVENTS)
        self._at = monotonic()

    def spend(self, events: int) -> None:
        """Wait until so many events may go out."""
        now = self._monotonic()
        self._room = min(BURST_EVENTS, self._room + (now - self._at) * EVENTS_PER_S) - events
        self._at = now
        if self._room < 0:
            self._sleep(-self._room / EVENTS_PER_S)


class Typist:
    """Types once. `sent` counts the characters that may have reached a window."""

    def __init__(self, keyboard: Keyboard, layout: Layout, lag: Lag | None = None) -> None:
        self._keyboard = keyboard
        self._lag = lag
        self._pace = Pace()
        self._held: list[int] = []
        self.caps_lock = keyboard.caps_lock
        self.layout = layout
        self.sent = 0
        self.whole = False  # every key went out, and the desktop has carried it out

    def tap(self, presses: Sequence[Press]) -> None:
        """Press the keys one after the other."""
        try:
            for press in presses:
                self._pace.spend(2)
                self._hold(press.holding)
                self.sent += not press.ends
                self._keyboard.press(press.code, True)
                self._keyboard.press(press.code, False)
        finally:
            with contextlib.suppress(BusError):
                self._hold(())  # after an error too, when some of the keys may still be on their way
        self._keyboard.confirm()
        self.whole = True

    def _hold(self, wanted: tuple[int, ...]) -> None:
        changed = {*self._held} ^ {*wanted}
        if changed and self.sent and self._lag is not None:
            self._lag.wait()
        self._pace.spend(2 * len(changed))  # the key, and the modifiers that it changes
        for code in [code for code in self._held if code not in wanted]:
            self._keyboard.press(code, False)
            self._held.remove(code)
        for code in [code for code in wanted if code not in self._held]:
            self._keyboard.press(code, True)
            self._held.append(code)


@contextmanager
def _faults() -> Iterator[None]:
    """Turn a fault of the bus into a `DesktopError`."""
    try:
        yield
    except BusError as error:
        raise CannotType(f"the desktop types nothing: {error}") from None
