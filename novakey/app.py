"""The daemon: everything put together, started and stopped."""

from __future__ import annotations

import logging
import secrets
import signal
import sys
import time
from collections.abc import Callable

import gevent
from gevent.event import Event

from novakey import log as logs
from novakey import process, systemd
from novakey.config import Settings
from novakey.desktop.choose import Chooser
from novakey.devices.store import Device
from novakey.files import FolderLock
from novakey.log import escape
from novakey.messages import ledger
from novakey.messages.deliver import Courier
from novakey.messages.handler import Handler
from novakey.messages.replay import MAX_AHEAD_S, ReplayGuard
from novakey.pairing.clock import WindowClock
from novakey.pairing.display import Display
from novakey.pairing.handshake import Handshake
from novakey.pairing.state import Event as PairingEvent
from novakey.pairing.state import State
from novakey.paths import Paths
from novakey.secret import Secret
from novakey.server import Server
from novakey.startup import Installation, open_installation
from novakey.wire import crypto

log = logging.getLogger(__name__)


def serve(settings: Settings, paths: Paths, confirm: Callable[[str], bool]) -> None:
    """Run the daemon until SIGTERM or SIGINT. Raises `NovaKeyError` when it cannot start.

    `confirm` is asked before paired devices are dropped.
    """
    process.leave_no_core()
    paths.prepare()
    with FolderLock(paths.data):
        logs.configure(settings, paths.log, stderr=sys.stderr)
        installation = open_installation(paths, settings, confirm)
        replays = _open_ledger(paths, len(installation.devices))
        try:
            Daemon(settings, paths, installation, replays).run()
        finally:
            replays.close()


def _open_ledger(paths: Paths, devices: int) -> ReplayGuard:
    now = int(time.time())
    replays, trouble = ledger.open_guard(paths.replay_ledger, now, devices)
    if trouble is not None:
        log.warning("%s: messages are refused for %d s", trouble, replays.floor + 1 - now)
        if replays.floor > now + 2 * MAX_AHEAD_S:
            log.warning("if this computer's clock was wrong and is right now, delete %s", paths.replay_ledger)
    return replays


class Daemon:
    """One running daemon over one installation."""

    def __init__(
        self, settings: Settings, paths: Paths, installation: Installation, replays: ReplayGuard
    ) -> None:
        self._settings = settings
        self._installation = installation
        self._pairing = installation.pairing
        self._clock = WindowClock()
        self._stopping = Event()
        self._chooser = Chooser(settings.desktop_backend)
        self._display = Display(
            paths.qr, settings.advertise_host, crypto.fingerprint(installation.server.public)
        )
        self._server = Server(
            settings.listen_addr,
            settings.max_payload_len,
            Handshake(
                settings,
                self._pairing,
                installation.devices,
                installation.server,
                on_paired=self._paired,
                on_change=self._hide_ended_window,
                clock=self._clock,
            ),
            Handler(
                settings,
                installation.devices,
                installation.server,
                Courier(settings, self._chooser),
                replays=replays,
                on_message=self._pairing.forget_repeat,
            ),
        )

    def run(self) -> None:
        """Listen, open a window where one is due, and wait for the signal to stop."""
        for number in stop_signals():
            gevent.signal_handler(number, self._stopping.set)
        bound = self._server.start()
        log.info("listening on %s port %d, %d paired", *bound, len(self._installation.devices))
        try:
            self._open_window(bound)
            systemd.notify("READY=1")
            self._stopping.wait()
            systemd.notify("STOPPING=1")
            log.info("stopping")
        finally:
            self._server.stop()
            self._chooser.close()
            self._display.hide()

    def _open_window(self, bound: tuple[str, int]) -> None:
        if self._pairing.state is State.LOCKED:
            self._say_locked()
        elif self._pairing.state is State.UNPAIRED and self._installation.can_pair:
            now = self._clock.begin()
            settings = self._settings
            token = Secret(secrets.token_bytes(crypto.TOKEN_SIZE))
            window = self._pairing.open_window(token, now, settings.pair_window_s, settings.pair_max_attempts)
            self._display.show(window, bound, now)
            gevent.spawn_later(settings.pair_window_s + 1, self._expire)

    def _expire(self) -> None:
        self._pairing.expire(self._clock())
        self._hide_ended_window()

    def _hide_ended_window(self) -> None:
        """Take the picture of a window away once it is over, and say how that came about."""
        if self._pairing.window is not None or not self._display.shown:
            return
        self._display.hide()
        if self._pairing.state is State.LOCKED:
            self._say_locked()
        elif self._pairing.ended_by is PairingEvent.INTERRUPTED:
            log.warning("too many handshakes failed: the window is closed, start again to open another")
        elif self._pairing.ended_by is PairingEvent.ENDED:
            log.warning("nobody paired in time: the window is closed, start again to open another")

    def _say_locked(self) -> None:
        log.error("pairing is locked: %s; only `reset` lifts it", self._pairing.record.locked)

    def _paired(self, device: Device) -> None:
        told = f"paired: {escape(device.id)} from {device.paired_from}"
        log.warning("%s. if that was not you, stop the daemon and run: novakey.py reset", told)


def stop_signals() -> list[signal.Signals]:
    """What ends the daemon in order; a closed terminal does too, unless `nohup` says otherwise."""
    numbers = [signal.SIGTERM, signal.SIGINT]
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        numbers.append(hangup)
    return numbers
