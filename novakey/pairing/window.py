"""The windows of a running daemon: opened, shown, ended, and told about.

What may happen to a window stands in `pairing.state`; here is when it happens,
and who hears of it. A window is opened at start where no phone is paired, or by
the owner at the machine, and by nothing else.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import NamedTuple

import gevent
from gevent.lock import BoundedSemaphore

from novakey.config.settings import Settings
from novakey.devices.store import Device
from novakey.errors import NovaKeyError, StoreError
from novakey.feed import Feed, Subscription
from novakey.log.format import escape
from novakey.net.changes import changes
from novakey.pairing.clock import WindowClock
from novakey.pairing.display import Display, is_loopback
from novakey.pairing.model import WAY_OUT, PairingWindow
from novakey.pairing.refusal import RefusedPhone
from novakey.pairing.state import Event, Pairing, State
from novakey.secret import Secret
from novakey.system.paste import command
from novakey.wire import crypto
from novakey.wire.uri import PairingUri

log = logging.getLogger(__name__)

# Why a window is over without a device, for a command that waits for one.
LATE = "no phone paired in time"
FAILED = "too many handshakes failed"
STOPPED = "the daemon stopped"


class Ended(NamedTuple):
    """A window is over: the device that paired in it, and whether `again`; or why none did."""

    device: Device | None
    why: str = ""
    again: bool = False


class Attempt(NamedTuple):
    """A handshake ended without a device; the window goes on."""

    attempts_left: int


class Moved(NamedTuple):
    """The address of this computer changed, so the window has another QR."""

    uri: PairingUri


WindowEvent = Moved | Ended | Attempt | RefusedPhone


class PairingWindows:
    """Opens one window at a time and ends it in time."""

    def __init__(
        self,
        settings: Settings,
        pairing: Pairing,
        display: Display,
        clock: WindowClock,
        can_pair: bool,
        on_shown: Callable[[PairingUri | None], None] = lambda uri: None,
    ) -> None:
        """`on_shown` gets what the QR of an opened window says, and None when the QR is taken away."""
        self.happenings: Feed[WindowEvent] = Feed()
        self._settings = settings
        self._pairing = pairing
        self._display = display
        self.can_pair = can_pair
        self._on_shown = on_shown
        self.picture = display.picture
        self._clock = clock
        self._opening = BoundedSemaphore()
        self._shown: PairingWindow | None = None
        self._uri: PairingUri | None = None
        self.refusal = ""
        """Why the last phone in the open window may not pair; empty where none was refused."""
        self._timer: gevent.Greenlet | None = None
        self._watch: gevent.Greenlet | None = None

    def listen(self) -> Subscription[WindowEvent]:
        """Return a new listener to what happens with the windows."""
        return self.happenings.listen()

    def at_start(self, bound: tuple[str, int]) -> None:
        """Open the window that is due at start, where one is."""
        self._bound = bound
        with self._opening:
            if self._pairing.state is State.LOCKED:
                self._say_locked()
            elif self._pairing.state is State.UNPAIRED and self.can_pair:
                self._open()

    def current(self) -> PairingUri | None:
        """Return what the QR of the open window says; None when none is open."""
        self._look()
        return self._uri

    def host(self) -> str:
        """Return the host in the QR of the open window."""
        return self._uri.host if self._uri else ""

    def open(self, beside_devices: bool) -> PairingUri:
        """Return the open window, or open one at the owner's wish; `NovaKeyError` gives the reason.

        Only with `beside_devices` is one opened where a device is paired already.
        """
        with self._opening:  # the two who ask at once see one window
            uri = self.current()
            if uri is not None:
                return uri
            match self._pairing.state:
                case State.LOCKED:
                    raise NovaKeyError(f"pairing is locked: {self._pairing.locked}", WAY_OUT)
                case State.PAIRED if not beside_devices:
                    raise NovaKeyError("a phone is paired already", "to add another: novakey.py pair --add")
            if not self.can_pair:
                raise NovaKeyError(
                    "secure storage failed at start, so nothing can be paired", "novakey.py doctor"
                )
            log.info("the owner opens a pairing window")
            return self._open()

    def changed(self) -> None:
        """Handle the end of a handshake; called before `paired` if it brought a device."""
        before = self._shown
        now = self._pairing.window
        if before is not None and now is not None and now.attempts < before.attempts:
            self._shown = now
            self.happenings.publish(Attempt(now.attempts))
        self._look()

    def paired(self, device: Device, again: bool) -> None:
        """Notify the owner of the device that the window brought."""
        log.warning(
            "paired again: %s from %s, with a new key. if that was not you: %s"
            if again
            else "paired: %s from %s. if that was not you: %s",
            escape(device.id),
            device.paired_from,
            command("novakey.py", "devices", "revoke", foreign=device.id),
        )
        self.happenings.publish(Ended(device, again=again))

    def refused(self, phone: RefusedPhone) -> None:
        """Notify those who watch the window of a phone that may not pair."""
        self.refusal = phone.why
        self.happenings.publish(phone)

    def stop(self) -> None:
        """End the window after `Pairing.stop`."""
        self._hide()
        self.happenings.publish(Ended(None, STOPPED))

    def _open(self) -> PairingUri:
        host, port = self._display.host(self._bound[0]), self._bound[1]
        now = self._clock.begin()
        token = Secret(os.urandom(crypto.TOKEN_SIZE))
        settings = self._settings
        window = self._pairing.open_window(token, now, settings.pair_window_s, settings.pair_max_attempts)
        uri = self._display.uri(window, host, port)
        self._shown, self._uri, self.refusal = window, uri, ""
        self._timer = gevent.spawn_later(settings.pair_window_s + 1, self._wait_for_end)
        self._watch = gevent.spawn(self._follow_network)
        try:
            self._display.show(uri, now)
        except StoreError:
            self._pairing.expire(window.expires)
            self._hide()
            raise
        self._on_shown(uri)
        return uri

    def _follow_network(self) -> None:
        """Show the address where phones reach this computer now, as long as the window is open."""
        for _ in changes():
            before = self._uri
            if before is None:
                return
            host = self._display.host(self._bound[0])
            if host != before.host and not is_loopback(host):  # without a network the old QR may still count
                log.warning("the address of this computer is %s now: the QR is drawn again", host)
                self._show_at(before._replace(host=host))

    def _show_at(self, uri: PairingUri) -> None:
        try:
            self._display.show(uri, self._clock())
        except StoreError as error:
            log.error("%s", error.in_one_line)
        self._uri = uri
        self._on_shown(uri)
        self.happenings.publish(Moved(uri))

    def _wait_for_end(self) -> None:
        # The timer may come early by a fraction, and a running handshake ends by itself.
        while self._look():
            gevent.sleep(1)

    def _look(self) -> bool:
        """Whether the shown window is still open; if not, take it away and say why."""
        if self._shown is None:
            return False
        self._pairing.expire(self._clock())
        if self._pairing.window is not None:
            return True
        self._hide()
        if self._pairing.ended_by is not Event.REGISTERED:  # else `paired` tells
            self.happenings.publish(Ended(None, self._say_why()))
        return False

    def _say_why(self) -> str:
        if self._pairing.ended_by is Event.ENDED:
            log.warning("no phone paired in time: the window is closed, to open another: novakey.py pair")
            return LATE
        log.warning("too many handshakes failed: the window is closed, to open another: novakey.py pair")
        if self._pairing.state is State.LOCKED:
            self._say_locked()
        return FAILED

    def _say_locked(self) -> None:
        log.error("pairing is locked: %s; only `reset` lifts it", self._pairing.locked)

    def _hide(self) -> None:
        self._shown = self._uri = None
        if self._timer is not None and self._timer is not gevent.getcurrent():
            self._timer.kill(block=False)
        self._timer = None
        if self._watch is not None:
            self._watch.kill(block=False)
        self._display.hide()
        self._on_shown(None)
