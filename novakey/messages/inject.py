"""The last steps of a secret: armed, safe, approved, into the right window, one at a time.

Read `Injector.inject` from top to bottom. Gates are used up by a delivery that
succeeds, and by one of which a key may have gone out. A delivery that provably
typed nothing costs neither arming nor approval.
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
from novakey.messages.exchange import Exchange
from novakey.messages.gates import Gates
from novakey.messages.policy import text
from novakey.messages.policy.password_field import PasswordField
from novakey.messages.policy.target import TargetPolicy
from novakey.messages.recent import Recent, Told, window_of
from novakey.messages.refused import UNAUTHENTIC, Refused, filled, full
from novakey.messages.requests import Asking, Asks
from novakey.secret import Secret
from novakey.system.clock import boottime
from novakey.wire.reply import Outcome

QUEUE_S = 4.0  # waiting for the delivery before this one, within the time of the exchange
LOCKED = "the locked screen"  # where a secret was refused, in place of a window


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
        self.recent = Recent(monotonic)
        self._delivering = Lock()
        self._target = TargetPolicy(settings)
        self._password_field = PasswordField(settings)

    def inject(self, device_id: str, secret: Secret, exchange: Exchange) -> Told:
        """Outcome, sentence and target program; raises `Refused`. The secret is wiped in any case.

        A text that was delivered a moment ago is answered as it was then, before any gate is looked at:
        the delivery used them up, and this one does nothing.
        """
        try:
            self._check_known(device_id)
            digest = self.recent.digest(device_id, secret)
            told = self._told_before(device_id, digest, exchange.left)
            if told is not None:
                return told
            asking = self.asks.for_device(device_id)
            if asking is not None:
                return self._give(device_id, secret, asking, exchange, digest)
            # What was armed when the message came stays armed for it, however long the owner thinks.
            armed = self._check(device_id, secret)
            exchange.refuse_late()
            # The owner is asked outside of the lock: while they think, others are served.
            self.approvals.ask_for(
                device_id, lambda focus: self._may_be_asked_for(device_id, digest, focus), exchange
            )
            with self._turn(exchange):
                # Again inside: two messages that arrive together must not both pass on one approval.
                return self.recent.told(digest) or self._deliver(device_id, secret, armed, exchange, digest)
        finally:
            secret.wipe()

    def take_back(self, device_id: str) -> None:
        """Close everything that is open for a device: it was revoked, or has another key."""
        self.gates.close(device_id)
        self.approvals.forget(device_id)
        self.asks.take_back(device_id)

    def _told_before(self, device_id: str, digest: bytes, seconds: float = 0.0) -> Told | None:
        """See `Recent.told`. A phone that was armed since then means the request that waits now.

        Its person did that: a phone retries without arming.
        """
        told = self.recent.told(digest, seconds)
        armed_since = self.gates.arming.was_wanted_since(device_id, self.recent.ended_ms(digest))
        return None if self.asks.waiting() and armed_since else told

    @contextmanager
    def _turn(self, exchange: Exchange) -> Iterator[None]:
        """One delivery at a time, also of those to programs that wait: each has an approval of its own."""
        if not self._delivering.acquire(timeout=min(QUEUE_S, exchange.left)):
            raise Refused(Outcome.INTERNAL_ERROR, "another delivery is still running")
        try:
            yield
        finally:
            self._delivering.release()

    def _give(
        self, device_id: str, secret: Secret, asking: Asking, exchange: Exchange, digest: bytes
    ) -> Told:
        """To a program that waits for it, which counts as armed and has no window to be checked."""
        self._check_text(device_id, secret)
        if not self.approvals.on_computer:
            self.approvals.check(device_id)
        # An approval that only the owner gives names its request.
        must_be_meant = not self.approvals.only_on_computer
        self.asks.await_owner(asking, secret, device_id if must_be_meant else None, exchange)
        if device_id not in asking.approved:
            self.approvals.ask_for(
                device_id, lambda focus: None, exchange, asking.focus, full(asking.called())
            )
        with self._turn(exchange):
            told = self._told_before(device_id, digest)
            if told is not None:
                return told
            self.asks.refuse_over(asking)
            if device_id in asking.approved:
                # The one question showed this phone too. Not before: what is being typed has an approval.
                self.approvals.grant_for(device_id, asking.focus)
            self._check_again(device_id, asking)
            exchange.refuse_over()
            with self.recent.delivering(digest) as may_be_out:
                try:
                    told = Outcome.OK, self.asks.give(asking, secret, device_id), asking.program
                except Refused as refused:
                    # It was on its way to a program that did not take it.
                    may_be_out((refused.outcome, refused.msg, asking.program))
                    self.gates.close(device_id)
                    raise
                may_be_out(told)
            self._use_up(device_id)
            return told

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
        """Raise `Refused` if the device was revoked while its message waited for its turn."""
        if self.devices.get(device_id) is None:
            raise Refused(Outcome.CRYPTO_FAIL, UNAUTHENTIC)

    def _deliver(
        self, device_id: str, secret: Secret, armed: bool, exchange: Exchange, digest: bytes
    ) -> Told:
        aim = _Aim()

        def still() -> None:
            try:
                self._check_still(device_id, armed)
                exchange.refuse_over()
            except Refused as refused:
                raise _TakenBackError(refused) from None

        def may_copy() -> None:
            self._may_copy(digest, permit, still)

        self._check_standing(device_id, armed)
        self.approvals.check(device_id)
        self._refuse_when_locked(digest)
        try:
            # Looking at the screen takes a moment, in which the owner may take back what was allowed.
            still()
            permit = aim.at(self._permit(device_id, digest, still))
            with self.recent.delivering(digest) as may_be_out:
                if armed:
                    delivered = self.courier.deliver(secret, permit, may_copy)
                else:
                    delivered = self.courier.copy(secret, may_copy)
                told = delivered.outcome, delivered.msg, aim.program
                if delivered.may_be_out:
                    may_be_out(told)
        except _TakenBackError as error:
            raise error.refused from None
        except NotApprovedError as error:
            raise Refused(Outcome.NEEDS_APPROVE, str(error), aim.program) from None
        except TargetRefusedError as error:
            self.recent.refused(digest, aim.window)
            raise _refused(error, aim.program) from None
        if delivered.outcome.success:
            self._use_up(device_id)
        elif delivered.may_be_out:
            # Whatever the settings say: what may be typed is never typed again by itself.
            self.gates.close(device_id)
        elif aim.window is not None:
            self.recent.refused(digest, aim.window)
        return told

    def _may_copy(self, digest: bytes, permit: Permit, still: Callable[[], None]) -> None:
        """Refuse the clipboard where typing is refused: the secret could be pasted there."""
        self._refuse_when_locked(digest)
        permit(self.courier.focus())
        still()  # looking takes a moment

    def _permit(self, device_id: str, digest: bytes, still: Callable[[], None]) -> Permit:
        """All that is to be said about the window with the focus."""
        approved = self.approvals.permit(device_id)
        in_field = self._password_field.permit()

        def permit(focus: Focus | None) -> None:
            still()
            self._refuse_other_window(digest, focus)
            self._target.permit(focus)
            in_field(focus)
            approved(focus)

        return permit

    def _refuse_other_window(self, digest: bytes, focus: Focus | None) -> None:
        """Refuse another window: a phone retries by itself, and a refused secret stays with its window."""
        window = self.recent.retry_window(digest)
        if window is not None and window_of(focus) != window:
            raise TargetRefusedError(
                "another window was refused a moment ago: to type here, send again in two seconds"
            )

    def _check_still(self, device_id: str, armed: bool) -> None:
        """Raise `Refused` if the device was revoked, disarmed or denied after the first check.

        Only what somebody took back: a time that ran out meanwhile was long enough.
        """
        self._check_standing(device_id, armed)
        if not self.approvals.stands(device_id):
            raise Refused(Outcome.NEEDS_APPROVE, "the approval was taken back")

    def _check_standing(self, device_id: str, armed: bool) -> None:
        self._check_known(device_id)
        if armed and not self.gates.arming.stands(device_id):
            raise Refused(Outcome.NOT_ARMED, "disarmed meanwhile: arm again, then send")

    def _may_be_asked_for(self, device_id: str, digest: bytes, focus: Focus | None) -> None:
        """Nobody is bothered about what is refused anyway; who stands before a locked screen has no say."""
        self._refuse_when_locked(digest)
        self._check_known(device_id)  # that took a moment
        try:
            self._refuse_other_window(digest, focus)
            self._target.permit(focus)
        except TargetRefusedError as error:
            self.recent.refused(digest, window_of(focus))
            raise _refused(error, _name(focus)) from None

    def _refuse_when_locked(self, digest: bytes) -> None:
        if self.settings.refuse_when_locked and self.locked():
            self.recent.refused(digest, LOCKED)
            raise Refused(Outcome.BAD_REQUEST, "target refused: the screen is locked")

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
    """Remembers which window a permit was asked about."""

    def __init__(self) -> None:
        self.program = ""
        self.window: int | str | None = None

    def at(self, permit: Permit) -> Permit:
        """Return the same permit, watched."""

        def watched(focus: Focus | None) -> None:
            self.program, self.window = _name(focus), window_of(focus)
            permit(focus)

        return watched


def _refused(error: TargetRefusedError, program: str) -> Refused:
    return Refused(Outcome.BAD_REQUEST, filled("target refused: {}", error.args[0]), program)


def _name(focus: Focus | None) -> str:
    return (focus.program or "") if focus is not None else ""
