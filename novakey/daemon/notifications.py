"""What the person at the computer is told and asked on the screen. Never a secret, never a title.

`Notifications` hears of every decision. What a phone could repeat a thousand times is
told once in a while only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import gevent

from novakey.config.settings import Settings
from novakey.devices.store import Device, DeviceStore
from novakey.errors import NovaKeyError
from novakey.log.format import escape
from novakey.messages.approvals import ALLOW, DENY, PUT_AWAY, ApprovalRequest, CannotAskError
from novakey.messages.handler import MessageResult
from novakey.messages.requests import SecretRequest, UnansweredError
from novakey.pairing.refusal import RefusedPhone
from novakey.system.clock import CLOCK, Clock
from novakey.system.paste import command
from novakey.wire.message import MessageType
from novakey.wire.refused import full
from novakey.wire.reply import Outcome, stage
from novakey.wire.uri import PairingUri, listener

if TYPE_CHECKING:
    from novakey.session.notifications import Notifier

log = logging.getLogger(__name__)

QUIET_S = 30.0  # between two notices of the same kind
CLOCK_QUIET_S = 600.0  # an old message that somebody recorded and sends again looks the same
RETRY_S = 2.0  # from a failed inject to the app's own next approve; a person taps later
REPEATED = 5  # failed taps of a device without a delivery between them, that its owner should know about
STRANGERS = 20  # messages that proved to be from no paired phone
STRANGERS_QUIET_S = 3600.0  # a stranger on the network could go on for ever
_BY_CLIPBOARD = frozenset({Outcome.PASTED, Outcome.COPIED, Outcome.COPIED_WAYLAND})
_CONFIRM_S = 60.0
_INJECT, _APPROVE = stage(MessageType.INJECT), stage(MessageType.APPROVE)
_SHOW = "show"
_REVOKE = "revoke"
REVOKE_S = 120.0  # how long the button to revoke a new phone stays


class Notifications:
    """The notifications of one daemon; `notify: false` leaves only the questions."""

    def __init__(
        self,
        settings: Settings,
        devices: DeviceStore,
        notifier: Notifier | None = None,
        clock: Clock = CLOCK,
        revoke: Callable[[Device], None] | None = None,
    ) -> None:
        """`revoke` revokes a device for the owner, who pressed a button."""
        self._revoke = revoke
        self._new: dict[str, gevent.Greenlet] = {}  # the notifications of new phones, by device
        self._settings = settings
        self._devices = devices
        self._made = notifier
        self._monotonic = clock.monotonic
        self._told_at: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._taps: dict[str, tuple[float, bool]] = {}  # when an inject failed; whether it is tried again
        self._strange = 0
        self._offering: gevent.Greenlet | None = None

    def close(self) -> None:
        """Hang up."""
        self.window_ended()
        for device_id in list(self._new):
            self._withdraw(device_id)
        if self._made is not None:
            self._made.close()

    @property
    def _notifier(self) -> Notifier:
        """Made when something is to be shown: a start waits for no message bus, nor for its library."""
        if self._made is None:
            from novakey.session.notifications import Notifier

            self._made = Notifier()
        return self._made

    def ask(self, request: ApprovalRequest, seconds: float) -> str | None:
        """Ask the owner whether this device may type into that program. It is an `approvals.ShowPrompt`."""
        from novakey.session.notifications import DISMISSED

        summary = f"{self._called(request.device_id)} wants to {request.purpose}"
        body = "Allow only what you have just sent yourself."
        answer = self._ask(summary, body, "Allow once", seconds)
        return PUT_AWAY if answer == DISMISSED else answer

    def confirm(self, request: SecretRequest) -> bool:
        """Ask the owner whether this program may have a secret. It is a `requests.Confirm`."""
        phones = " or ".join(map(self._called, request.phones))
        body = f"{full(request.called())} says: {request.prompt}"
        if phones:  # first: a prompt may be long
            body = f"{phones} may send it. {body}"
        try:
            answer = self._ask(f"{request.program} asks for a secret", body, "Allow", _CONFIRM_S)
        except CannotAskError as error:
            raise NovaKeyError(
                f"no person can confirm it: {error}", "ask from a terminal, or set ask_confirm: false"
            ) from None
        if answer is None:
            raise UnansweredError(f"it was not allowed on the screen within {_CONFIRM_S:g} s")
        return answer == ALLOW

    def answered(self, answered: MessageResult) -> None:
        """Notify of a decision about a message."""
        device, outcome = answered.device_id, answered.outcome
        if device is None:
            self._stranger(answered)
            return
        if outcome in _BY_CLIPBOARD:
            self._tell(
                f"clipboard {device}", "a secret went through the clipboard", f"from {self._called(device)}"
            )
        if outcome is Outcome.BAD_REQUEST and answered.stage == _INJECT:
            # The phone says "rejected" for every reason. The sentence holds neither secret nor title.
            into = f" into {answered.program}" if answered.program else ""
            where = f"from {self._called(device)}{into}: {answered.msg}"
            self._tell(f"refused {device}", "a secret was refused", where)
        if outcome is Outcome.BAD_TIMESTAMP:
            summary = f"the clock of {self._called(device)} differs from this computer's"
            self._tell(
                f"clock {device}", summary, f"{answered.msg}. Set both clocks automatically.", CLOCK_QUIET_S
            )
        self._count(device, answered)

    def window(self, uri: PairingUri, picture: Path) -> None:
        """Offer to show the QR of a window that has just opened, for as long as it is open."""
        self.window_ended()
        if self._settings.notify:
            self._offering = gevent.spawn(self._offer, uri, picture)

    def window_ended(self) -> None:
        """Take the offer away."""
        if self._offering is not None and self._offering is not gevent.getcurrent():
            self._offering.kill(block=False)
        self._offering = None

    def _offer(self, uri: PairingUri, picture: Path) -> None:
        from novakey.session.dbus import BusError
        from novakey.session.viewer import show

        body = listener(uri.host, uri.port)
        try:
            pressed = self._notifier.ask(
                "a phone can be paired", body, {_SHOW: "Show QR"}, max(1.0, uri.expires - time.time())
            )
        except BusError as error:
            log.info("no notification is shown: %s", error)
            return
        if pressed == _SHOW:
            show(picture)

    def paired(self, device: Device, again: bool = False) -> None:
        """Notify of a pairing. It exposes a stranger who read the token off the network."""
        revoking = command("novakey.py", "devices", "revoke", foreign=device.id)
        body = f"from {device.paired_from}. If that was not you: {revoking}"
        summary = f"{'paired again' if again else 'paired'}: {escape(device.id)}"
        self._withdraw(device.id)
        if self._revoke is None or not self._settings.notify:
            self._tell("", summary, body)
        else:
            self._new[device.id] = gevent.spawn(self._offer_revoke, device, summary, body)

    def _offer_revoke(self, device: Device, summary: str, body: str) -> None:
        from novakey.session.dbus import BusError

        try:
            pressed = self._notifier.ask(summary, body, {_REVOKE: "Revoke"}, REVOKE_S)
        except BusError:  # a service without buttons, say; the body has the command
            self._tell("", summary, body)
            return
        finally:
            if self._new.get(device.id) is gevent.getcurrent():
                del self._new[device.id]
        # A phone that paired again under this id has another key, and is not the one on the button.
        now = self._devices.get(device.id)
        if pressed != _REVOKE or self._revoke is None or now is None or now.key != device.key:
            return
        try:
            self._revoke(device)
        except NovaKeyError as error:
            log.error("the phone %s is not revoked: %s", escape(device.id), error)
            self._tell("", f"not revoked: {escape(device.id)}", str(error))

    def _withdraw(self, device_id: str) -> None:
        offered = self._new.pop(device_id, None)
        if offered is not None and offered is not gevent.getcurrent():
            offered.kill(block=False)

    def refused(self, phone: RefusedPhone) -> None:
        """Notify of a phone that tried to pair and may not."""
        self._tell(f"refused {phone.line.reason}", f"a phone at {phone.peer} cannot pair", phone.why)

    def revoked(self, device: Device) -> None:
        """Notify of a revoked phone."""
        self._failures.pop(device.id, None)
        self._withdraw(device.id)
        self._tell("", f"revoked: {escape(device.name or device.id)}", "it is a stranger now")

    def _count(self, device: str, answered: MessageResult) -> None:
        if self._is_retry(device, answered):
            return
        if answered.outcome.success:
            # Only a delivery ends the row: a phone that is refused arms itself in between.
            if answered.stage == _INJECT:
                self._failures.pop(device, None)
            return
        failures = self._failures[device] = self._failures.get(device, 0) + 1
        if failures >= REPEATED:
            body = f"{failures} taps in a row, the last time: {answered.outcome.reason}"
            self._tell(f"failures {device}", f"{self._called(device)} is refused again and again", body)

    def _is_retry(self, device: str, answered: MessageResult) -> bool:
        """Return whether a failure belongs to a tap that is counted already.

        The app in the field approves and sends once more at once where an inject fails.
        """
        failed_at, again = self._taps.pop(device, (float("-inf"), False))
        if answered.stage == _APPROVE and self._monotonic() - failed_at <= RETRY_S:
            if answered.outcome.success:
                self._taps[device] = failed_at, True
            return True
        if answered.stage != _INJECT or answered.outcome.success:
            return False
        if not again:
            self._taps[device] = self._monotonic(), False
        return again

    def _stranger(self, answered: MessageResult) -> None:
        self._strange += 1
        if self._strange < STRANGERS:
            return
        body = f"{self._strange} messages came from no paired phone, the last one from {answered.peer}"
        if self._tell("strangers", "somebody tries to send", body, STRANGERS_QUIET_S):
            self._strange = 0

    def _tell(self, kind: str, summary: str, body: str, quiet_s: float = QUIET_S) -> bool:
        """Whether it was told; what has a `kind` is told again only after a while."""
        now = self._monotonic()
        if not self._settings.notify or now - self._told_at.get(kind, float("-inf")) < quiet_s:
            return False
        if kind:
            self._told_at[kind] = now
        self._notifier.tell(summary, body)
        return True

    def _ask(self, summary: str, body: str, yes: str, seconds: float) -> str | None:
        from novakey.session.dbus import BusError

        try:
            return self._notifier.ask(summary, body, {ALLOW: yes, DENY: "Deny"}, seconds)
        except BusError as error:
            raise CannotAskError(str(error)) from None

    def _called(self, device_id: str) -> str:
        device = self._devices.get(device_id)
        return escape(device.name or device.id if device is not None else device_id)
