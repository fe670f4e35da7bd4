"""The last steps of a secret: armed, safe, approved, into the right window, one at a time.

Read `Injector.inject` from top to bottom. Gates are used up only by a delivery
that succeeds, so one that fails costs nobody their arming or approval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from novakey.config.settings import Settings
from novakey.desktop.base import Focus, Permit, TargetRefusedError
from novakey.devices.store import DeviceStore
from novakey.messages.approvals import Approvals, NotApprovedError
from novakey.messages.delivery import Courier
from novakey.messages.gates import Gates
from novakey.messages.policy import text
from novakey.messages.policy.password_field import PasswordField
from novakey.messages.policy.target import TargetPolicy
from novakey.messages.refused import UNAUTHENTIC, Refused
from novakey.messages.requests import Asking, Asks
from novakey.secret import Secret
from novakey.system.clock import boottime
from novakey.wire.reply import Outcome

EXCHANGE_S = 10.0  # from when a message was read to its first key: what waited longer is not fresh any more
QUEUE_S = 4.0  # waiting for the delivery before this one, within that


class Injector:
    """Delivers secrets of authenticated devices. Clocks are parameters."""

    def __init__(
        self,
        settings: Settings,
        devices: DeviceStore,
        courier: Courier,
        gates: Gates,
        approvals: Approvals,
        asks: Asks,
        locked: Callable[[], bool | None] = lambda: None,
        monotonic: Callable[[], float] = boottime,
    ) -> None:
        self.settings = settings
        self.devices = devices
        self.courier = courier
        self.gates = gates
        self.approvals = approvals
        self.asks = asks
        self.locked = locked
        self.monotonic = monotonic
        self._delivering = Lock()
        self._target = TargetPolicy(settings)
        self._password_field = PasswordField(settings)

    def inject(self, device_id: str, secret: Secret, until: float) -> tuple[Outcome, str, str]:
        """Outcome, sentence and target program; raises `Refused`. The secret is wiped in any case.

        Its delivery begins before `until`, in seconds of the clock, or not at all.
        """
        try:
            asking = self.asks.for_device(device_id)
            if asking is not None:
                return self._give(device_id, secret, asking, until)
            self._check(device_id, secret)
            # The owner is asked outside of the lock: while they think, others are served.
            self.approvals.ask_for(
                device_id, lambda focus: self._may_be_asked_for(device_id, focus), self._left(until)
            )
            with self._turn(until):
                # Again inside: two messages that arrive together must not both pass on one approval.
                armed = self._check(device_id, secret)
                self.approvals.check(device_id)
                return self._deliver(device_id, secret, armed, until)
        finally:
            secret.wipe()

    def take_back(self, device_id: str) -> None:
        """Close everything that is open for a device: it was revoked, or has another key."""
        self.gates.close(device_id)
        self.approvals.forget(device_id)
        self.asks.take_back(device_id)

    def _left(self, until: float) -> float:
        return max(0.0, until - self.monotonic())

    def _refuse_late(self, until: float) -> None:
        if self.monotonic() >= until:
            raise Refused(
                Outcome.INTERNAL_ERROR, "it waited too long here, so it went nowhere: send it again"
            )

    @contextmanager
    def _turn(self, until: float) -> Iterator[None]:
        """One delivery at a time, also of those to programs that wait: each has an approval of its own."""
        if not self._delivering.acquire(timeout=min(QUEUE_S, self._left(until))):
            raise Refused(Outcome.INTERNAL_ERROR, "another delivery is still running")
        try:
            yield
        finally:
            self._delivering.release()

    def _give(self, device_id: str, secret: Secret, asking: Asking, until: float) -> tuple[Outcome, str, str]:
        """To a program that waits for it, which counts as armed and has no window to be checked."""
        self._check_text(device_id, secret)
        if not self.approvals.on_computer:
            self.approvals.check(device_id)
        self.asks.await_owner(asking, secret, self._left(until))
        if device_id not in asking.approved:
            self.approvals.ask_for(
                device_id, lambda focus: None, self._left(until), asking.focus, asking.named
            )
        with self._turn(until):
            self.asks.refuse_over(asking)
            if device_id in asking.approved:
                # The one question showed this phone too. Not before: what is being typed has an approval.
                self.approvals.grant_for(device_id, asking.focus)
            self._check_again(device_id, asking)
            self._refuse_late(until)
            told = self.asks.give(asking, secret, device_id)
            self._use_up(device_id)
        return Outcome.OK, told, asking.program

    def _check(self, device_id: str, secret: Secret) -> bool:
        """Whether it may be typed (else only copied); raises `Refused` with the first gate that is shut."""
        armed = self.gates.arming.is_open(device_id, self.monotonic() * 1000.0)
        known = self.devices.get(device_id) is not None
        if known and not armed and not self.settings.allow_clipboard_when_disarmed:
            raise Refused(Outcome.NOT_ARMED, "not armed: arm first, then send")
        self._check_text(device_id, secret)
        return armed

    def _check_text(self, device_id: str, secret: Secret) -> None:
        settings = self.settings
        self._check_known(device_id)
        try:
            text.check(secret, settings.max_inject_len, settings.allow_newlines, settings.allow_tabs)
        except text.UnsafeTextError as error:
            raise Refused(Outcome.BAD_REQUEST, str(error)) from None

    def _check_again(self, device_id: str, asking: Asking) -> None:
        """After a wait: the device may have been revoked, or its approval used, or given for a window."""
        self._check_known(device_id)
        self._check_approved(device_id, asking)

    def _check_approved(self, device_id: str, asking: Asking) -> None:
        self.approvals.check(device_id)
        try:
            self.approvals.permit(device_id)(asking.focus)
        except NotApprovedError as error:
            raise Refused(Outcome.NEEDS_APPROVE, str(error), asking.program) from None

    def _check_known(self, device_id: str) -> None:
        """Raises `Refused` where the device was revoked while its message waited for its turn."""
        if self.devices.get(device_id) is None:
            raise Refused(Outcome.CRYPTO_FAIL, UNAUTHENTIC)

    def _deliver(self, device_id: str, secret: Secret, armed: bool, until: float) -> tuple[Outcome, str, str]:
        aim = _Aim()
        self._refuse_when_locked()

        def still() -> None:
            try:
                self._check_still(device_id, armed)
                self._refuse_late(until)
            except Refused as refused:
                raise _TakenBackError(refused) from None

        def may_copy() -> None:
            self._may_copy(permit, still)

        try:
            # Looking at the screen takes a moment, in which the owner may take back what was allowed.
            still()
            permit = aim.at(self._permit(device_id, still))
            if armed:
                outcome, msg = self.courier.deliver(secret, permit, may_copy)
            else:
                outcome, msg = self.courier.copy(secret, may_copy)
        except _TakenBackError as error:
            raise error.refused from None
        except NotApprovedError as error:
            raise Refused(Outcome.NEEDS_APPROVE, str(error), aim.program) from None
        except TargetRefusedError as error:
            raise Refused(
                Outcome.BAD_REQUEST, f"target refused: {error}", aim.program, by_policy=True
            ) from None
        if outcome.success:
            self._use_up(device_id)
        return outcome, msg, aim.program

    def _may_copy(self, permit: Permit, still: Callable[[], None]) -> None:
        """A person who may not type into this window must not be given its secret to paste there."""
        self._refuse_when_locked()
        permit(self.courier.focus())
        still()  # looking takes a moment

    def _permit(self, device_id: str, still: Callable[[], None]) -> Permit:
        """All that is to be said about the window with the focus."""
        approved = self.approvals.permit(device_id)
        in_field = self._password_field.permit()

        def permit(focus: Focus | None) -> None:
            still()
            self._target.permit(focus)
            in_field(focus)
            approved(focus)

        return permit

    def _check_still(self, device_id: str, armed: bool) -> None:
        """Raises `Refused` where the device was revoked, disarmed or denied since it was let through.

        Only what somebody took back: a time that ran out meanwhile was long enough.
        """
        self._check_known(device_id)
        if armed and not self.gates.arming.stands(device_id):
            raise Refused(Outcome.NOT_ARMED, "disarmed meanwhile: arm again, then send")
        if not self.approvals.stands(device_id):
            raise Refused(Outcome.NEEDS_APPROVE, "the approval was taken back")

    def _may_be_asked_for(self, device_id: str, focus: Focus | None) -> None:
        """Nobody is bothered about what is refused anyway; who stands before a locked screen has no say."""
        self._refuse_when_locked()
        self._check_known(device_id)  # that took a moment
        try:
            self._target.permit(focus)
        except TargetRefusedError as error:
            raise Refused(
                Outcome.BAD_REQUEST, f"target refused: {error}", _name(focus), by_policy=True
            ) from None

    def _refuse_when_locked(self) -> None:
        if self.settings.refuse_when_locked and self.locked():
            raise Refused(Outcome.BAD_REQUEST, "target refused: the screen is locked", by_policy=True)

    def _use_up(self, device_id: str) -> None:
        if self.settings.arm_consume_on_inject:
            self.gates.arming.close(device_id)
        if self.settings.approve_consume_on_inject:
            self.gates.approval.close(device_id)


class _TakenBackError(TargetRefusedError):
    """What a `Permit` says when what was allowed is so no more; carries the reply."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.msg)
        self.refused = refused


class _Aim:
    """Remembers which program a permit was asked about."""

    def __init__(self) -> None:
        self.program = ""

    def at(self, permit: Permit) -> Permit:
        """The same permit, watched."""

        def watched(focus: Focus | None) -> None:
            self.program = _name(focus)
            permit(focus)

        return watched


def _name(focus: Focus | None) -> str:
    return (focus.program or "") if focus is not None else ""
