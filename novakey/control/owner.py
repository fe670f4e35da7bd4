"""What the owner can see and do: one method for each operation of `wire.control`.

Every refusal is a `NovaKeyError`; what it says goes to the owner's terminal, so
ids and names in it are escaped.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any

from novakey import __version__, status
from novakey.config import Settings
from novakey.control.logfeed import LogFeed
from novakey.control.server import Live
from novakey.desktop.base import NoDisplayError
from novakey.desktop.choose import Chooser
from novakey.devices.store import Device, DeviceStore
from novakey.errors import NovaKeyError
from novakey.log import escape
from novakey.messages.account import Account
from novakey.messages.gates import Gate
from novakey.messages.handler import Handler
from novakey.pairing.parts import WAY_OUT
from novakey.pairing.state import Pairing, State
from novakey.pairing.windows import Attempt, Ended, Windows
from novakey.wire.control import Event
from novakey.wire.uri import PairingUri

log = logging.getLogger(__name__)

MAX_NAME = 64


class Owner:
    """The operations, over the parts of a running daemon."""

    def __init__(
        self,
        settings: Settings,
        devices: DeviceStore,
        pairing: Pairing,
        windows: Windows,
        handler: Handler,
        account: Account,
        chooser: Chooser,
        bound: tuple[str, int],
    ) -> None:
        self._settings = settings
        self._devices = devices
        self._pairing = pairing
        self._windows = windows
        self._handler = handler
        self._account = account
        self._chooser = chooser
        self._bound = bound
        self._since = int(time.time())
        self._log = LogFeed()

    def operations(self) -> dict[str, Callable[..., Any]]:
        """By the names that they have on the wire."""
        return {
            "status": self.status,
            "pair": self.pair,
            "devices": self.devices,
            "rename": self.rename,
            "revoke": self.revoke,
            "arm": self.arm,
            "disarm": self.disarm,
            "approve": self.approve,
            "deny": self.deny,
            "log": self.log,
        }

    # ---- seeing ----

    def status(self) -> dict[str, object]:
        """How everything stands."""
        uri = self._windows.current()
        window = self._pairing.window
        found = status.describe(
            self._pairing.record,
            len(self._devices),
            window=uri is not None,
            can_pair=self._windows.can_pair,
            running=True,
        )
        return {
            "pid": os.getpid(),
            "version": __version__,
            "since_unix": self._since,
            "host": self._bound[0],
            "port": self._bound[1],
            "pairing": found.pairing,
            "reason": found.reason,
            "way_out": found.way_out,
            "window": None
            if uri is None or window is None
            else {
                "expires_unix": uri.expires,
                "attempts_left": window.attempts,
                "picture": str(self._windows.picture),
            },
            "devices": len(self._devices),
            "armed": self._open_for(self._handler.gates.arming),
            "approved": self._open_for(self._handler.gates.approval),
            "two_man": self._settings.two_man_enabled,
            "display": self._display(),
            "outcomes": [
                {
                    "at_unix": answered.at,
                    "req_id": answered.req_id,
                    "from": answered.peer,
                    "device": answered.device_id,
                    "name": self._name(answered.device_id),
                    "stage": answered.stage,
                    "reason": answered.outcome.reason,
                    "success": answered.outcome.success,
                }
                for answered in self._account.last()
            ],
        }

    def devices(self) -> dict[str, object]:
        """The paired devices, in the order of their pairing."""
        rows = []
        for device in self._devices:
            figures = self._account.activity.get(device.id)
            rows.append(
                {
                    "id": device.id,
                    "name": device.name,
                    "paired_unix": device.paired_unix,
                    "paired_from": device.paired_from,
                    "last_seen_unix": figures.last_seen,
                    "messages": figures.messages,
                    "delivered": figures.delivered,
                }
            )
        return {"devices": rows}

    def log(self, lines: int = 10, follow: bool = True) -> Live:
        """The last lines of the log, and then each new one until the owner hangs up."""
        for line in self._log.lines(lines, follow):
            yield Event("line", {"text": line})
        yield {}

    # ---- devices ----

    def pair(self, add: bool = False) -> Live:
        """The open window, or a new one, until it ends."""
        with self._windows.happenings.listen() as happenings:
            yield self._window_event(self._windows.open(beside_devices=add))
            while True:
                match happenings.next():
                    case Attempt(left):
                        yield Event("attempt", {"attempts_left": left})
                    case Ended(None, why):
                        raise NovaKeyError(why, self._after_window())
                    case Ended(Device() as device):
                        yield {"paired": device.id, "from": device.paired_from}
                        return

    def rename(self, device: str, name: str) -> dict[str, object]:
        """Call a device something; the empty name takes it back."""
        found = self._device(device)
        if not name.isprintable() or len(name) > MAX_NAME or name != name.strip():
            raise NovaKeyError(f"a name is at most {MAX_NAME} printable characters, without spaces around it")
        if any(name in (other.id, other.name) for other in self._devices if other.id != found.id) and name:
            raise NovaKeyError(f"another device is called {escape(name)}", "choose another name")
        self._devices.rename(found, name)
        log.info("the owner renamed the device %s to %s", escape(found.id), escape(name))
        return {"device": found.id, "name": name}

    def revoke(self, device: str) -> dict[str, object]:
        """Forget a device: from here on it is a stranger, also on a connection that is open."""
        found = self._device(device)
        self._devices.remove(found)
        self._handler.gates.close(found.id)
        self._pairing.revoked(len(self._devices))
        self._account.activity.forget(found.id)
        log.warning("the owner revoked the device %s", escape(found.id))
        return {"revoked": found.id, "name": found.name, "devices": len(self._devices)}

    # ---- the gates ----

    def arm(self, device: str | None = None, ms: int | None = None) -> dict[str, object]:
        """Arm one device, as its own arm message would."""
        found = self._device(device)
        asked = self._settings.arm_duration_ms if ms is None else ms
        if asked <= 0:
            raise NovaKeyError("the milliseconds must be more than 0")
        granted = min(asked, self._settings.arm_max_ms)
        return self._open(self._handler.gates.arming, found, granted, "armed")

    def disarm(self) -> dict[str, object]:
        """Close both gates for every device: whatever was allowed is not any more."""
        gates = self._handler.gates
        closed = {row["device"] for gate in (gates.arming, gates.approval) for row in self._open_for(gate)}
        gates.close_all()
        log.info("the owner disarmed everything")
        return {"disarmed": sorted(closed)}

    def approve(self, device: str | None = None) -> dict[str, object]:
        """Approve one device, as its own approve message would."""
        found = self._device(device)
        if not self._settings.two_man_enabled:
            raise NovaKeyError("two-man approval is off, so nothing waits for it", "see two_man_enabled")
        return self._open(self._handler.gates.approval, found, self._settings.approve_window_ms, "approved")

    def deny(self) -> dict[str, object]:
        """Take every approval back; what is armed stays armed."""
        denied = [row["device"] for row in self._open_for(self._handler.gates.approval)]
        self._handler.gates.approval.close_all()
        log.info("the owner denied what was approved")
        return {"denied": denied}

    # ---- below ----

    def _device(self, wanted: str | None) -> Device:
        """The device of this id or name; without one, the only device there is."""
        if wanted is None:
            match list(self._devices):
                case [device]:
                    return device
                case []:
                    raise NovaKeyError("no phone is paired", "pair one: novakey.py pair")
            raise NovaKeyError("more than one phone is paired", "name one of them: novakey.py devices list")
        named = (device for device in self._devices if device.name == wanted)
        found = self._devices.get(wanted) or next(named, None)
        if found is None or not wanted:
            raise NovaKeyError(f"no device is called {escape(wanted)}", "see: novakey.py devices list")
        return found

    def _open(self, gate: Gate, device: Device, ms: int, what: str) -> dict[str, object]:
        gate.open(device.id, self._now_ms(), ms)
        log.info("the owner %s the device %s for %d ms", what, escape(device.id), ms)
        return {
            what: device.id,
            "name": device.name,
            "ms": ms,
            "until_unix": round(self._handler.unix_time() + ms / 1000, 3),
        }

    def _open_for(self, gate: Gate) -> list[dict[str, Any]]:
        now_ms, now = self._now_ms(), self._handler.unix_time()
        return [
            {
                "device": device_id,
                "name": self._name(device_id),
                "until_unix": round(now + (until - now_ms) / 1000, 3),
            }
            for device_id, until in gate.until(now_ms).items()
        ]

    def _name(self, device_id: str | None) -> str:
        device = self._devices.get(device_id) if device_id else None
        return device.name if device else ""

    def _display(self) -> dict[str, object]:
        try:
            return {"backend": self._chooser.kind().name, "problem": ""}
        except NoDisplayError as error:
            return {"backend": None, "problem": str(error)}

    def _window_event(self, uri: PairingUri) -> Event:
        window = self._pairing.window
        members = {
            "uri": uri.encode(),
            "expires_unix": uri.expires,
            "attempts_left": window.attempts if window else 0,
            "picture": str(self._windows.picture),
        }
        return Event("window", members)

    def _after_window(self) -> str:
        if self._pairing.state is State.LOCKED:
            return WAY_OUT
        return "to open another: novakey.py pair" + (" --add" if len(self._devices) else "")

    def _now_ms(self) -> float:
        return self._handler.monotonic() * 1000.0
