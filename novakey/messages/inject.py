"""The last steps of a secret: armed, safe, approved, into the right window, one at a time.

Read `Injector.inject` from top to bottom. Gates are used up by a delivery that
succeeds, and by one of which a key may have gone out. A delivery that provably
typed nothing costs neither arming nor approval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gevent.lock import BoundedSemaphore

from novakey.config.settings import Settings
from novakey.desktop.base import Focus
from novakey.devices.store import DeviceStore
from novakey.messages.approvals import Approvals
from novakey.messages.delivery import Delivery
from novakey.messages.exchange import Exchange
from novakey.messages.output import Output
from novakey.messages.permissions import Change, Permissions
from novakey.messages.recent import Recent, Told
from novakey.messages.requests import SecretRequest, SecretRequests
from novakey.messages.rules import Rules
from novakey.secret import Secret
from novakey.system.clock import CLOCK, Clock
from novakey.wire.refused import Refused
from novakey.wire.reply import Outcome

QUEUE_S = 4.0  # waiting for the delivery before this one, within the time of the exchange


class Injector:
    """Delivers secrets of authenticated devices. Clocks are parameters."""

    def __init__(
        self,
        settings: Settings,
        devices: DeviceStore,
        output: Output,
        permissions: Permissions,
        approvals: Approvals,
        requests: SecretRequests,
        locked: Callable[[], bool | None] = lambda: None,
        clock: Clock = CLOCK,
    ) -> None:
        self.settings = settings
        self.output = output
        self.permissions = permissions
        self.approvals = approvals
        self.requests = requests
        self.clock = clock
        self.recent = Recent(clock)
        self._rules = Rules(settings, devices, permissions, approvals, self.recent, locked)
        self._delivering = BoundedSemaphore()

    def prepare(self) -> None:
        """Make ready for a secret that is about to come, as `Output.prepare` does."""
        self.output.prepare()

    def inject(self, device_id: str, secret: Secret, exchange: Exchange) -> Told:
        """Outcome, sentence and target program; raises `Refused`. The secret is wiped in any case.

        A text that was delivered a moment ago is answered as it was then, before any gate is looked at:
        the delivery used them up, and this one does nothing.
        """
        try:
            self._rules.check_known(device_id)
            digest = self.recent.digest(device_id, secret)
            told = self._told_before(device_id, digest, exchange.left)
            if told is not None:
                return told
            request = self.requests.for_device(device_id)
            if request is not None:
                return self._give(device_id, secret, request, exchange, digest)
            # What was armed when the message came stays armed for it, however long the owner thinks.
            armed = self._rules.check_armed(device_id, self.clock.monotonic_ms())
            self._rules.check_text(device_id, secret)
            exchange.refuse_late()
            # The owner is asked outside of the lock: while they think, others are served.
            self.approvals.request(
                device_id,
                exchange,
                check=lambda focus: self._check_question(device_id, digest, focus),
                digest=digest,
            )
            with self._turn(exchange):
                # Again inside: two messages that arrive together must not both pass on one approval.
                delivery = Delivery(self._rules, device_id, digest, armed, exchange)
                return self.recent.told(digest) or self._deliver(secret, delivery, digest)
        finally:
            secret.wipe()

    @property
    def is_paused(self) -> bool:
        """Whether the owner has paused all deliveries."""
        return self._rules.is_paused

    def pause(self, on: bool) -> None:
        """Refuse every secret from here on, also one that waits for its turn; or end that."""
        self._rules.is_paused = on
        if on:
            self.permissions.close_all()
            self.approvals.close()
            for device_id in self.requests.approved():
                self.requests.take_back(device_id)

    def take_back(self, device_id: str) -> None:
        """Close everything that is open for a device: it was revoked, or has another key."""
        self.approvals.forget(device_id)
        self.requests.take_back(device_id)

    def take_back_requests(self, device_id: str) -> None:
        """Close what a device may answer: its owner denied it."""
        self.requests.take_back(device_id)

    def close(self) -> None:
        """Take every question away: the daemon ends."""
        self.approvals.close()

    def _told_before(self, device_id: str, digest: bytes, seconds: float = 0.0) -> Told | None:
        """See `Recent.told`. A phone that was armed since then means the request that waits now.

        Its person did that: a phone retries without arming.
        """
        told = self.recent.told(digest, seconds)
        armed_since = self.permissions.of(device_id).arming.wanted_ms >= self.recent.ended_ms(digest)
        return None if self.requests.waiting() and armed_since else told

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
        self, device_id: str, secret: Secret, request: SecretRequest, exchange: Exchange, digest: bytes
    ) -> Told:
        """To a program that waits for it, which counts as armed and has no window to be checked."""
        self._rules.check_text(device_id, secret)
        if not self.approvals.on_computer:
            self.approvals.check(device_id)
        # An approval that only the owner gives names its request.
        must_be_meant = not self.approvals.only_on_computer
        self.requests.await_owner(request, secret, device_id if must_be_meant else None, exchange)
        if device_id not in request.approved:
            self.approvals.request(device_id, exchange, request.target, digest=digest)
        with self._turn(exchange):
            told = self._told_before(device_id, digest)
            if told is not None:
                return told
            self.requests.refuse_over(request)
            if device_id in request.approved:
                # The one question showed this phone too. Not before: what is being typed has an approval.
                self.approvals.grant_for(device_id, request.target)
            self._rules.check_known(device_id)
            self.approvals.check(device_id, digest)
            self.approvals.check_target(device_id, request.target)
            exchange.refuse_over()
            with self.recent.delivering(digest) as may_be_out:
                try:
                    told = Told(Outcome.OK, self.requests.give(request, secret, device_id), request.program)
                except Refused as refused:
                    # It was on its way to a program that did not take it.
                    may_be_out(Told(refused.outcome, refused.msg, request.program))
                    self._apply(Change.CLOSED, device_id)
                    raise
                may_be_out(told)
            self._use_up(device_id)
            return told

    def _deliver(self, secret: Secret, delivery: Delivery, digest: bytes) -> Told:
        delivery.prepare()
        with self.recent.delivering(digest) as may_be_out:
            send = self.output.deliver if delivery.armed else self.output.copy
            delivered = send(secret, delivery)
            told = Told(delivered.outcome, delivered.msg, delivery.program)
            if delivered.may_be_out:
                may_be_out(told)
        if delivered.outcome.success:
            self._use_up(delivery.device_id)
        elif delivered.may_be_out:
            # Under all settings: what may have been typed is never typed again by itself.
            self._apply(Change.CLOSED, delivery.device_id)
        elif delivery.window is not None:
            self.recent.refused(digest, delivery.window)
        return told

    def _check_question(self, device_id: str, digest: bytes, focus: Focus | None) -> None:
        """Do not ask the owner about what is refused anyway; at a locked screen no person has a say."""
        self._rules.check_screen(digest)
        self._rules.check_known(device_id)  # reading the lock takes a moment
        self._rules.check_window(digest, focus)

    def _use_up(self, device_id: str) -> None:
        if self.settings.arm_consume_on_inject:
            self._apply(Change.DISARMED, device_id)
        if self.settings.approve_consume_on_inject:
            self._apply(Change.APPROVAL_USED, device_id)

    def _apply(self, change: Change, device_id: str) -> None:
        self.permissions.apply(change, device_id, self.clock.monotonic_ms())
