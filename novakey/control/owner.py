"""What the owner can see and do: one method for each operation of `wire.control`.

Every refusal is a `NovaKeyError`; what it says goes to the owner's terminal, so
ids and names in it are escaped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from novakey.control import overview
from novakey.control.log_tail import LogFeed
from novakey.control.overview import DaemonContext
from novakey.control.server import Live
from novakey.devices.store import BY_ID, Device
from novakey.errors import NovaKeyError
from novakey.log.format import escape
from novakey.messages.permissions import Change
from novakey.pairing.model import WAY_OUT
from novakey.pairing.refusal import RefusedPhone
from novakey.pairing.state import State
from novakey.pairing.window import Attempt, Ended, Moved
from novakey.system import attended, procfs
from novakey.system.paste import choices, command
from novakey.wire.control import Event
from novakey.wire.refused import full
from novakey.wire.uri import PairingUri

log = logging.getLogger(__name__)

MAX_NAME = 64
MAX_PROMPT = 500  # characters
# How often a program in the queue is told its place; only while one waits.
PLACE_S = 1.0
_MAX_SHOWN = 8  # names of phones in a cure
_MAX_ASKED = 3  # names of phones in a question


class Owner:
    """The operations, over the parts of a running daemon."""

    def __init__(
        self,
        context: DaemonContext,
        on_revoked: Callable[[Device], None],
        on_changed: Callable[[str, str], None] = lambda event, device_id: None,
    ) -> None:
        """`on_changed` hears what else the owner did, as the record names it."""
        self._context = context
        self._settings = context.settings
        self._devices = context.devices
        self._pairing = context.pairing
        self._windows = context.windows
        self._clock = context.clock
        self._injector = context.injector
        self._permissions = context.injector.permissions
        self._activity = context.history.activity
        self._approvals = context.injector.approvals
        self._requests = context.injector.requests
        self._on_revoked = on_revoked
        self._on_changed = on_changed
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
            "pause": self.pause,
            "resume": lambda: self.pause(False),
            "ask": self.ask,
            "log": self.log,
        }

    # ---- seeing ----

    def status(self) -> dict[str, object]:
        """How everything stands."""
        return overview.of(self._context)

    def devices(self) -> dict[str, object]:
        """Return the paired devices, in the order of their pairing."""
        return {"devices": self._rows()}

    def log(self, lines: int = 10, follow: bool = True) -> Live:
        """Return the last lines of the log, and then each new one until the owner hangs up."""
        for line in self._log.lines(lines, follow):
            yield Event("line", {"text": line})
        yield {}

    # ---- devices ----

    def pair(self, add: bool = False) -> Live:
        """Return the open window, or a new one, until it ends."""
        window = self._windows.open(beside_devices=add)
        # Only now: opening one may end a window whose time is over, and that end is not this window's.
        with self._windows.listen() as happenings:
            yield self._window_event(window)
            while True:
                match happenings.next():
                    case Attempt(left):
                        yield Event("attempt", {"attempts_left": left})
                    case RefusedPhone() as phone:
                        yield Event("refused", {"from": phone.peer, "why": phone.why})
                    case Moved(uri):
                        yield self._window_event(uri)
                    case Ended(None, why):
                        raise NovaKeyError(why, self._after_window())
                    case Ended(Device() as device, again=again):
                        yield {
                            "paired": device.id,
                            "from": device.paired_from,
                            "again": again,
                            "others": [row for row in self._rows() if row["id"] != device.id],
                        }
                        return

    def rename(self, device: str, name: str) -> dict[str, object]:
        """Call a device something; the empty name takes it back."""
        found = self._device(device)
        if not name.isprintable() or len(name) > MAX_NAME or name != name.strip():
            raise NovaKeyError(f"a name is at most {MAX_NAME} printable characters, without spaces around it")
        if name.startswith(BY_ID):
            raise NovaKeyError(
                f"a name does not begin with {BY_ID}", f"{BY_ID}ID is how an id is named exactly"
            )
        other = self._devices.clash(name, found.id)
        if other is not None:
            taken = escape(other.name or other.id)
            raise NovaKeyError(
                f"another device could be meant by {escape(name)}: {taken}", "choose another name"
            )
        self._devices.rename(found, name)
        self._on_changed("renamed", found.id)
        log.info("the owner renamed the device %s to %s", escape(found.id), escape(name))
        return {"device": found.id, "name": name}

    def revoke(self, device: str) -> dict[str, object]:
        """Forget a device: from here on it is a stranger, also on a connection that is open."""
        found = self._device(device)
        self._devices.remove(found)
        self._injector.take_back(found.id)
        self._pairing.revoked(len(self._devices))
        self._activity.forget(found.id)
        log.warning("the owner revoked the device %s", escape(found.id))
        self._on_revoked(found)
        return {"revoked": found.id, "name": found.name, "devices": len(self._devices)}

    # ---- the gates ----

    def arm(self, device: str | None = None, ms: int | None = None) -> dict[str, object]:
        """Arm one device, as its own arm message would."""
        found = self._device(device, "arm")
        asked = self._settings.arm_duration_ms if ms is None else ms
        if asked <= 0:
            raise NovaKeyError("the milliseconds must be more than 0")
        granted = min(asked, self._settings.arm_max_ms)
        self._permissions.apply(Change.ARMED, found.id, self._now_ms(), granted)
        self._on_changed("armed", found.id)
        return self._told(found, granted, "armed")

    def disarm(self) -> dict[str, object]:
        """Close both gates for every device: what was allowed is not any more."""
        allowed, now_ms = self._permissions, self._now_ms()
        closed = {*allowed.armed(now_ms), *allowed.approved(now_ms), *self._requests.approved()}
        allowed.close_all()
        for device_id in sorted(closed):
            self._requests.take_back(device_id)
            self._on_changed("disarmed", device_id)
        log.info("the owner disarmed everything")
        return {"disarmed": sorted(closed)}

    def pause(self, on: bool = True) -> dict[str, object]:
        """Refuse every secret until it is called with False; that opens nothing again."""
        if self._injector.is_paused != on:
            self._injector.pause(on)
            self._on_changed("paused" if on else "resumed", "")
            log.info("the owner %s", "paused" if on else "resumed")
        return {"paused": on}

    def approve(self, device: str | None = None) -> dict[str, object]:
        """Approve one device: the one that waits for it, or the only one there is."""
        if not self._settings.two_man_enabled:
            raise NovaKeyError("two-man approval is off, so nothing waits for it", "see two_man_enabled")
        found = self._waiting_device(device)
        program = self._approvals.grant(found.id)
        told = self._told(found, self._settings.approve_window_ms, "approved")
        return {**told, "program": program}

    def deny(self, device: str | None = None) -> dict[str, object]:
        """Take back one approval or all of them, and refuse what waits for one; armed stays armed."""
        if device is None:
            asked = (request.device_id for request in self._approvals.waiting())
            approved = self._permissions.approved(self._now_ms())
            denied = sorted({*approved, *asked, *self._requests.approved()})
        else:
            denied = [self._device(device).id]
        for device_id in denied:
            self._approvals.deny(device_id)
        log.info("the owner denied what was approved or waited for it")
        return {"denied": denied}

    def ask(self, prompt: str, pid: int, device: str | None = None) -> Live:
        """Wait for a secret on behalf of the process `pid`, until a phone sends one or the owner hangs up."""
        if not prompt.isprintable() or len(prompt) > MAX_PROMPT:
            raise NovaKeyError(f"a prompt is at most {MAX_PROMPT} printable characters")
        if not len(self._devices):
            raise NovaKeyError("no phone is paired", "pair one: novakey.py pair")
        wanted = None if device is None else self._device(device).id
        program = procfs.describe(pid)
        requests = self._requests
        phones = tuple(device.id for device in self._devices if wanted in (None, device.id))
        named = phones if len(phones) <= _MAX_ASKED else ()
        request = requests.begin(program, pid, prompt, wanted, attended.is_seen(pid), named)
        log.info("%s waits for a phone: %s", full(request.called()), escape(prompt, MAX_PROMPT))
        try:
            # Where no person can be asked that is known by then, and it never waited for a phone.
            request.confirmed.wait(PLACE_S)
            stands = None
            while not request.refused:
                if stands != (stands := (requests.place(request), request.confirmed.is_set())):
                    members = {"number": request.number, "before": stands[0], "confirmed": stands[1]}
                    yield Event("waiting", members)
                if request.given.wait(PLACE_S):
                    break
            if request.secret is None or requests.place(request) < 0:
                raise NovaKeyError(request.refused or "the request is over")
            yield request.secret
            request.taken.set()
        finally:
            requests.end(request)

    # ---- below ----

    def _rows(self) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = []
        newest = max((device.paired_unix for device in self._devices), default=0)
        for device in self._devices:
            stats = self._activity.get(device.id)
            rows.append(
                {
                    "id": device.id,
                    "name": device.name,
                    "paired_unix": device.paired_unix,
                    "paired_from": device.paired_from,
                    "last_seen_unix": stats.last_seen,
                    "messages": stats.messages,
                    "delivered": stats.delivered,
                    # A phone that was reset pairs under another id, and its old device is heard no more.
                    "unheard": max(device.paired_unix, stats.last_seen) < newest,
                }
            )
        return rows

    def _device(self, wanted: str | None, verb: str = "devices revoke") -> Device:
        """Return the device of this id or name, or the only device. `verb` stands in the hint."""
        if wanted is None:
            match list(self._devices):
                case [device]:
                    return device
                case []:
                    raise NovaKeyError("no phone is paired", "pair one: novakey.py pair")
            raise NovaKeyError(
                "more than one phone is paired",
                f"name one: {self._choices(verb, [device.name or device.id for device in self._devices])}",
            )
        match self._devices.called(wanted):
            case [device]:
                return device
            case []:
                raise NovaKeyError(f"no device is called {escape(wanted)}", "see: novakey.py devices list")
            case several:
                ids = [f"{BY_ID}{device.id}" for device in several]
        problem = f"{escape(wanted)} can mean more than one phone"
        raise NovaKeyError(problem, f"name one by its id: {self._choices(verb, ids)}")

    @staticmethod
    def _choices(verb: str, names: list[str]) -> str:
        more = ", … (novakey.py devices list)" if len(names) > _MAX_SHOWN else ""
        line = command("novakey.py", *verb.split(), foreign="DEVICE")
        return f"{line}, where DEVICE is one of: {choices(names[:_MAX_SHOWN])}{more}"

    def _waiting_device(self, wanted: str | None) -> Device:
        """As `_device`; without a name, the one device that waits for the owner's word."""
        waiting = self._approvals.waiting()
        if wanted is None and len(waiting) == 1:
            return self._device(waiting[0].device_id)
        return self._device(wanted, "approve")

    def _told(self, device: Device, ms: int, what: str) -> dict[str, object]:
        log.info("the owner %s the device %s for %d ms", what, escape(device.id), ms)
        return {
            what: device.id,
            "name": device.name,
            "ms": ms,
            "until_unix": round(self._clock.unix() + ms / 1000, 3),
        }

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
        return self._clock.monotonic_ms()
