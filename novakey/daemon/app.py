"""The daemon: everything put together, started and stopped."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import gevent
from gevent.event import Event

from novakey.config.settings import Settings
from novakey.control.server import ControlServer
from novakey.daemon import audit
from novakey.daemon.notifications import Notifications
from novakey.daemon.preload import PRELOAD_AFTER_S, preload
from novakey.daemon.server import Server
from novakey.daemon.startup import Installation, check_names, open_installation
from novakey.desktop import lifetime
from novakey.desktop.select import Chooser
from novakey.devices import other_daemon
from novakey.devices.activity import Activity
from novakey.devices.portal_token import SealedRestoreToken
from novakey.devices.store import BY_ID, Device
from novakey.log import format as logs
from novakey.messages import ledger
from novakey.messages.approvals import Approvals
from novakey.messages.handler import Handler, MessageResult
from novakey.messages.history import MessageHistory
from novakey.messages.inject import Injector
from novakey.messages.output import Output
from novakey.messages.permissions import Permissions
from novakey.messages.replay import MAX_AHEAD_S, ReplayGuard
from novakey.messages.requests import SecretRequest, SecretRequests
from novakey.messages.targets import WindowTarget
from novakey.pairing.clock import WindowClock
from novakey.pairing.display import Display
from novakey.pairing.handshake import Handshake
from novakey.pairing.refusal import RefusedPhone
from novakey.pairing.window import PairingWindows
from novakey.system import peer, systemd
from novakey.system.files import private_folder
from novakey.system.folder_lock import FolderLock
from novakey.system.paths import Paths
from novakey.wire import crypto
from novakey.wire.uri import PairingUri

log = logging.getLogger(__name__)


def serve(
    settings: Settings, paths: Paths, confirm: Callable[[str], bool], with_session: bool = False
) -> None:
    """Run the daemon until SIGTERM or SIGINT. Raises `NovaKeyError` when it cannot start.

    `confirm` is asked before paired devices are dropped. `with_session` ends it with the graphical session
    that it was started in.
    """
    check_names(paths, settings)
    other_daemon.refuse(paths, settings)  # before anything is made, or taken for a leftover of ours
    paths.prepare()
    private_folder(paths.runtime)
    with contextlib.ExitStack() as held:
        # Each folder is one daemon's: the state, and the socket that commands it.
        for folder in dict.fromkeys((paths.data, paths.runtime)):
            held.enter_context(FolderLock(folder))
        logs.configure(settings, paths.log, stderr=sys.stderr)
        installation = open_installation(paths, settings, confirm)
        replays = _open_ledger(paths, len(installation.devices))
        held.callback(replays.close)
        Daemon(settings, paths, installation, replays).run(with_session)


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
        self._paths = paths
        self._devices = installation.devices
        self._pairing = installation.pairing
        self._stopping = Event()
        self._is_lock_noted = False
        permission = SealedRestoreToken(paths.permission, installation.devices.key)
        self._chooser = Chooser(settings.desktop_backend, permission, permission.signing_key())
        known = {device.id for device in installation.devices}
        self._activity = Activity(paths.activity, installation.devices.key, known)
        self._history = MessageHistory(self._activity)
        fingerprint = crypto.fingerprint(installation.server.public)
        display = Display(paths.qr, settings.advertise_host, fingerprint)
        clock = WindowClock()
        self._notifications = Notifications(settings, installation.devices, revoke=self._revoke)
        self._windows = PairingWindows(
            settings, self._pairing, display, clock, installation.can_pair, on_shown=self._window_shown
        )
        handshake = Handshake(
            settings,
            self._pairing,
            installation.devices,
            installation.server,
            self,
            clock,
            self._windows.host,
        )
        self._output = Output(settings, self._chooser)
        self._audit = audit.opened(settings, paths.log)
        self._injector = self._new_injector(settings)
        self._handler = Handler(
            settings,
            installation.devices,
            installation.server,
            self._injector,
            replays=replays,
            on_message=self._pairing.forget_repeat,
            on_answer=self._answered,
        )
        self._control: ControlServer | None = None
        self._operations: Callable[[], Mapping[str, Callable[..., Any]]] | None = None
        self._server = Server(settings.listen_addr, settings.max_payload_len, handshake, self._handler)

    def _new_injector(self, settings: Settings) -> Injector:
        permissions = Permissions()
        requests = SecretRequests(
            permissions,
            self._notifications.confirm if settings.ask_confirm else None,
            marker=self._paths.request_marker,
            note=self._asked,
        )
        return Injector(
            settings,
            self._devices,
            self._output,
            permissions,
            Approvals(
                settings,
                permissions,
                lambda: requests.target() or WindowTarget.of(self._output.focus()),
                self._notifications.ask,
                on_decided=self._decided,
            ),
            requests,
            _screen_is_locked,
        )

    def run(self, with_session: bool = False) -> None:
        """Listen, open a window where one is due, and wait for the signal to stop."""
        for number in stop_signals():
            gevent.signal_handler(number, self._stopping.set)
        try:
            bound = self._server.start()
            self._listen_to_owner(bound)
            log.info("listening on %s port %d, %d paired", *bound, len(self._devices))
            self._note_lock()
            self._windows.at_start(bound)
            systemd.notify("READY=1")
            if self._settings.desktop_backend != "none":
                gevent.spawn(self._output.recover)  # a display that hangs must not hold up the start
            if with_session:
                gevent.spawn(self._end_with_session)
            gevent.spawn_later(PRELOAD_AFTER_S, preload)
            self._wait_for_the_end()
            systemd.notify("STOPPING=1")
            log.info("stopping")
        finally:
            self._stop()

    def _end_with_session(self) -> None:
        if lifetime.wait_for_end():
            self._stopping.set()

    def _wait_for_the_end(self) -> None:
        """Until a signal; a service manager that watches is told that the loop turns."""
        beat = systemd.watchdog_s()
        while not self._stopping.wait(beat):
            systemd.notify("WATCHDOG=1")

    def _listen_to_owner(self, bound: tuple[str, int]) -> None:
        since = int(time.time())

        def operations() -> Mapping[str, Callable[..., Any]]:
            from novakey.control.overview import DaemonContext
            from novakey.control.owner import Owner

            context = DaemonContext(
                self._settings,
                self._devices,
                self._pairing,
                self._windows,
                self._injector,
                self._history,
                self._chooser,
                bound,
                since,
                self._handler.clock,
            )
            return Owner(context, self._revoked, self._audit.happened).operations()

        self._operations = operations
        if not peer.AVAILABLE:
            log.warning("this system does not say who connects to a local socket, so the owner has none")
            return
        self._control = ControlServer(self._paths.runtime, operations)
        self._control.start()

    def _stop(self) -> None:
        self._output.stop()
        self._injector.close()
        self._server.stop()
        self._windows.stop()
        if self._control is not None:
            self._control.stop()
        self._history.close()
        self._chooser.close()
        self._notifications.close()
        self._audit.close()

    def paired(self, device: Device, again: bool) -> None:
        """See `handshake.Events.paired`."""
        if again:  # the new key gets nothing of what was allowed to the old one
            self._injector.take_back(device.id)
        self._activity.forget(device.id)  # what another phone of that id did is not its doing
        self._windows.paired(device, again)
        event = "paired again" if again else "paired"
        self._audit.happened(event, device.id, **{"from": device.paired_from})
        self._notifications.paired(device, again)

    def changed(self) -> None:
        """See `handshake.Events.changed`."""
        self._windows.changed()

    def _window_shown(self, uri: PairingUri | None) -> None:
        """Tell of a window by a notification, unless its QR is on this terminal."""
        if uri is not None and not sys.stdout.isatty():
            self._notifications.window(uri, self._windows.picture)
        elif uri is None:
            self._notifications.window_ended()
            self._note_lock()

    def _note_lock(self) -> None:
        """Record that pairing is locked, once in each run."""
        reason = self._pairing.locked
        if reason and not self._is_lock_noted:
            self._is_lock_noted = True
            self._audit.happened("locked", "", reason=reason)

    def refused(self, phone: RefusedPhone) -> None:
        """See `handshake.Events.refused`."""
        self._windows.refused(phone)
        self._notifications.refused(phone)

    def _revoke(self, device: Device) -> None:
        """Revoke a device from its notification, as `devices revoke` does."""
        if self._operations is not None:  # set before a window opens, so before a phone pairs
            self._operations()["revoke"](device=f"{BY_ID}{device.id}")

    def _revoked(self, device: Device) -> None:
        self._audit.happened("revoked", device.id)
        self._notifications.revoked(device)

    def _decided(self, decision: str, device_id: str, program: str) -> None:
        if decision == "denied":
            self._injector.take_back_requests(device_id)
        self._audit.happened(decision, device_id, program=program)

    def _asked(self, request: SecretRequest, became: str, device_id: str) -> None:
        more = {
            "program": request.program,
            "pid": str(request.pid),
            "prompt": request.prompt,
            "outcome": became,
        }
        self._audit.asked(device_id, **more)

    def _answered(self, answered: MessageResult) -> None:
        self._history.note(answered)
        self._audit.answered(answered)
        self._notifications.answered(answered)


def _screen_is_locked() -> bool | None:
    from novakey.session import screen_lock  # the message bus, and its library, when a secret is to be typed

    return screen_lock.locked()


def stop_signals() -> list[signal.Signals]:
    """Return what ends the daemon in order; a closed terminal does too, unless `nohup` says otherwise."""
    numbers = [signal.SIGTERM, signal.SIGINT]
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        numbers.append(hangup)
    return numbers
