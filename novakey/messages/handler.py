"""The way of one message: open, fresh, once, not too often, allowed, delivered, answered.

Read `Handler.answer` from top to bottom. Every refusal is raised where it is
found and becomes the reply in one place.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import NamedTuple

from novakey.config.settings import Settings
from novakey.devices.store import DeviceStore
from novakey.messages.exchange import EXCHANGE_S, FRESH_S, Exchange
from novakey.messages.inject import Injector
from novakey.messages.permissions import Change
from novakey.messages.recent import Told
from novakey.messages.replay import Repeats, ReplayGuard, Verdict, clock_difference, key_of
from novakey.messages.request_ids import RequestIds
from novakey.net.rate_limit import RateLimiter
from novakey.secret import Secret, erase
from novakey.system.clock import CLOCK, Clock
from novakey.wire import Malformed, NotAuthenticated, crypto, jsonline, message
from novakey.wire.message import Message, MessageType
from novakey.wire.refused import UNAUTHENTIC, Refused, full
from novakey.wire.reply import Outcome, Reply, stage

log = logging.getLogger(__name__)

ALREADY = "this message was already accepted once"


class MessageResult(NamedTuple):
    """What became of one message, for the records. Never its content.

    `device_id` is None where nothing was authenticated; `at` is in unix seconds;
    `program` is what had the focus, where that was looked at; `msg` names programs as well.
    """

    at: int
    req_id: int
    peer: str
    device_id: str | None
    stage: str
    outcome: Outcome
    program: str = ""
    msg: str = ""


class _Repeated(NamedTuple):
    """The answer to a frame that comes again."""

    kind: MessageType
    device_id: str
    outcome: Outcome = Outcome.REPLAY
    msg: str = ALREADY


class Handler:
    """Everything that decides about a message."""

    def __init__(
        self,
        settings: Settings,
        devices: DeviceStore,
        server: crypto.Decapsulator,
        injector: Injector,
        replays: ReplayGuard,
        clock: Clock = CLOCK,
        on_message: Callable[[str], None] = lambda device_id: None,
        on_answer: Callable[[MessageResult], None] = lambda answered: None,
    ) -> None:
        self.settings = settings
        self.devices = devices
        self.server = server
        self.injector = injector
        self._approvals, self._permissions = injector.approvals, injector.permissions
        self.replays = replays
        self.clock = clock
        self.on_message = on_message
        self.on_answer = on_answer
        self.ids = RequestIds(clock)
        self._repeats: Repeats[_Repeated] = Repeats()
        self._per_device = RateLimiter(settings.max_requests_per_min)
        self._failures = RateLimiter(settings.unauthenticated_max_per_min, settings.max_tracked_addresses)
        # An unknown device costs as much as a known one: opened with a key that no device has.
        self._dummy_key = Secret(os.urandom(crypto.KEY_SIZE))

    def answer(
        self,
        payload: bytes,
        peer: str,
        req_id: int,
        on_genuine: Callable[[], None] = lambda: None,
        is_open: Callable[[], bool] = lambda: True,
        lain_s: float = 0.0,
    ) -> Reply:
        """Return the reply to one payload from the address `peer`; never raises for what a peer sent.

        `on_genuine` is called once the payload has proved to come from a paired device now: a peer that
        recorded one on the network can send it too, but not as the first. To be called as soon as the
        payload has been read, `lain_s` after it came: from then on a message has `EXCHANGE_S` to act.
        `is_open` tells, right before the first key, whether the phone still waits for the reply.
        """
        until = self.clock.monotonic() - lain_s + EXCHANGE_S
        kind: MessageType | None = None
        device_id: str | None = None
        try:
            self._refuse_failing(peer)
            repeated = self._repeats.get(payload)
            if repeated is not None:
                kind = repeated.kind
                device_id = repeated.device_id if self.devices.get(repeated.device_id) else None
                raise Refused(repeated.outcome, repeated.msg)
            opened, nonce = self._open(payload, peer)
            kind = opened.type
            device_id = opened.device_id.decode()
            req_id = self.ids.growing(device_id, req_id)
            try:
                self._accept_once(device_id, nonce, opened.timestamp)
            except Refused as refused:
                if refused.outcome is Outcome.BAD_TIMESTAMP and opened.timestamp < self.clock.unix():
                    self._repeats.remember(payload, _Repeated(kind, device_id, refused.outcome, refused.msg))
                raise
            self._repeats.remember(payload, _Repeated(kind, device_id))
            on_genuine()
            self.on_message(device_id)
            told = self._act(device_id, opened, self._exchange(opened, until, is_open))
        except Refused as refused:
            told = Told(refused.outcome, refused.msg, refused.program)
            if told.outcome is Outcome.CRYPTO_FAIL:
                kind = device_id = None  # also of a message that was open when its device was revoked
        return self.reply(told.outcome, told.msg, peer, req_id, kind, device_id, told.program)

    def reply(
        self,
        outcome: Outcome,
        msg: str,
        peer: str,
        req_id: int,
        kind: MessageType | None = None,
        device_id: str | None = None,
        program: str = "",
    ) -> Reply:
        """Make the reply, tell `on_answer`, and write its one line in the log."""
        level = logging.INFO if outcome.success else logging.WARNING
        name, now = stage(kind), int(self.clock.unix())
        log.log(level, "request %d from %s: %s %s: %s", req_id, peer, name, outcome.reason, full(msg))
        self.on_answer(MessageResult(now, req_id, peer, device_id, name, outcome, program, full(msg)))
        said = full(msg) if self.settings.reply_program_names else str(msg)
        return Reply(outcome, name, said, now, req_id)

    def malformed(self, problem: str, peer: str, req_id: int) -> Reply:
        """Return the reply to what did not even become a payload."""
        self._failures.count(peer, self.clock.monotonic())
        return self.reply(Outcome.BAD_REQUEST, problem, peer, req_id)

    def _refuse_failing(self, peer: str) -> None:
        if self._failures.full(peer, self.clock.monotonic()):
            raise Refused(Outcome.RATE_LIMIT, "too many failures from this address, wait a minute")

    def _open(self, payload: bytes, peer: str) -> tuple[Message, bytes]:
        now = self.clock.monotonic()
        try:
            envelope = message.split(payload)
            if not len(self.devices):
                raise Refused(Outcome.NOT_PAIRED, "no device is paired with this computer")
            device = self.devices.get(envelope.device_id.decode())
            opened = self._unseal(envelope, device.key if device else self._dummy_key)
        except Malformed as error:
            self._failures.count(peer, now)
            raise Refused(Outcome.BAD_REQUEST, str(error)) from None
        except NotAuthenticated:
            self._failures.count(peer, now)
            raise Refused(Outcome.CRYPTO_FAIL, UNAUTHENTIC) from None
        return opened, envelope.nonce

    def _unseal(self, envelope: message.Envelope, device_key: Secret) -> Message:
        shared, key = self.server.decapsulate(envelope.ciphertext), device_key.reveal()
        try:
            return message.unseal(envelope, shared, key)
        finally:
            erase(shared)
            erase(key)

    def _accept_once(self, device_id: str, nonce: bytes, timestamp: int) -> None:
        now = int(self.clock.unix())
        key = key_of(device_id, nonce)
        match self.replays.verdict(key, timestamp, now):
            case Verdict.SEEN:
                raise Refused(Outcome.REPLAY, ALREADY)
            case Verdict.NOT_FRESH:
                raise Refused(Outcome.BAD_TIMESTAMP, clock_difference(timestamp, now))
            case Verdict.FORGOTTEN:
                wait = self.replays.floor + 1 - timestamp
                raise Refused(
                    Outcome.REPLAY,
                    f"what this computer accepted before is not known: send a new one in {wait} s",
                )
        if not self._per_device.allow(device_id, self.clock.monotonic()):
            raise Refused(Outcome.RATE_LIMIT, "too many messages from this device, wait a minute")
        try:
            # On disk before anything is done: a restart must not accept it again.
            self.replays.accept(key, timestamp, now)
        except OSError as error:
            log.error("an accepted message cannot be written down, so it is refused: %s", error)
            raise Refused(
                Outcome.INTERNAL_ERROR, "this computer cannot write to its disk, so it takes nothing"
            ) from None

    def _exchange(self, opened: Message, until: float, is_open: Callable[[], bool]) -> Exchange:
        """How long the message may act. A secret must be fresh by its own timestamp too."""
        if opened.type is not MessageType.INJECT:
            return Exchange(until, self.clock)
        age = self.clock.unix() - opened.timestamp
        too_old = ""
        if age >= FRESH_S:
            too_old = clock_difference(opened.timestamp, int(self.clock.unix()))
        return Exchange(min(until, self.clock.monotonic() + FRESH_S - age), self.clock, is_open, too_old)

    def _act(self, device_id: str, opened: Message, exchange: Exchange) -> Told:
        match opened.type:
            case MessageType.INJECT:
                return self.injector.inject(device_id, opened.payload, exchange)
            case MessageType.APPROVE:
                exchange.refuse_late()  # its phone may have given up long ago
                return Told(Outcome.OK, self._approvals.by_phone(device_id))
            case MessageType.ARM:
                exchange.refuse_late()
                return Told(Outcome.OK, self._arm(device_id, opened.payload.reveal()))
            case MessageType.DISARM:
                self._permissions.apply(Change.DISARMED, device_id, self._now_ms())
                return Told(Outcome.OK, "disarmed")

    def _arm(self, device_id: str, payload: bytes) -> str:
        granted = min(self._asked_ms(payload), self.settings.arm_max_ms)
        self._permissions.apply(Change.ARMED, device_id, self._now_ms(), granted)
        self.injector.prepare()
        return f"armed_for_ms={granted}"

    def _asked_ms(self, payload: bytes) -> int:
        if not payload:
            return self.settings.arm_duration_ms
        try:
            asked = jsonline.integer(jsonline.decode(payload), "ms")
        except Malformed as error:
            raise Refused(Outcome.BAD_REQUEST, f"arm: {error}") from None
        if asked <= 0:
            raise Refused(Outcome.BAD_REQUEST, "arm: ms must be a positive integer")
        return asked

    def _now_ms(self) -> float:
        return self.clock.monotonic_ms()
