"""Whole messages of two phones in any order, against a model of the two gates that fits on a screen."""

from __future__ import annotations

import secrets
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from support.handler import handler
from support.machine import run_machine

from novakey.config.settings import Settings
from novakey.desktop.base import Backend, Delivery, DesktopError, Focus, Unusable
from novakey.devices.store import Device, DeviceStore
from novakey.messages.recent import REPEAT_S
from novakey.secret import Secret
from novakey.system.clock import Clock
from novakey.wire import crypto, message
from novakey.wire.message import Message, MessageType
from novakey.wire.reply import Outcome

ARM, DISARM, APPROVE, INJECT = MessageType.ARM, MessageType.DISARM, MessageType.APPROVE, MessageType.INJECT
PHONES = ("phone-a", "phone-b")
KEYS = {name: Secret(secrets.token_bytes(32)) for name in PHONES}
SERVER = crypto.ExpandedKey.generate()
# One encapsulation serves a phone for the whole run: the gates are what is looked at here.
KEM = crypto.encapsulate(SERVER.public)


class Page(Backend):
    """Where text goes: written down, or refused before the first key."""

    name = "page"

    def __init__(self) -> None:
        self.typed: list[bytes] = []
        self.broken = False

    @classmethod
    def unavailable(cls) -> Unusable | None:
        return None

    def focus(self, deadline_s: float) -> Focus | None:
        return Focus(1)

    def type_text(self, text: Secret, deadline_s: float, delivery: Delivery) -> None:
        delivery.check_target(Focus(1))
        if self.broken:
            raise DesktopError("broken")
        self.typed.append(text.reveal())

    def paste(self, text: Secret, deadline_s: float, delivery: Delivery) -> bool:
        raise DesktopError("no clipboard")

    def copy(self, text: Secret, deadline_s: float) -> None:
        raise DesktopError("no clipboard")


class GatesMachine(RuleBasedStateMachine):
    """Two phones, a clock, and a page that may be broken."""

    @initialize(two_man=st.booleans(), arm_once=st.booleans(), approve_once=st.booleans())
    def begin(self, two_man: bool, arm_once: bool, approve_once: bool) -> None:
        self.settings = Settings(
            max_requests_per_min=100_000,
            two_man_enabled=two_man,
            arm_consume_on_inject=arm_once,
            approve_consume_on_inject=approve_once,
        )
        self.now = 1000.0
        self.page = Page()
        devices = {name: Device(name, key) for name, key in KEYS.items()}
        self.handler = handler(
            self.settings,
            DeviceStore(Path("/nonexistent"), Secret(bytes(32)), devices, None),
            lambda: self.page,
            SERVER,
            clock=Clock(lambda: 1_800_000_000 + self.now, lambda: self.now),
        )
        self.armed = dict.fromkeys(PHONES, 0.0)
        self.approved = dict.fromkeys(PHONES, 0.0)
        self.typed: list[bytes] = []
        self.again: dict[tuple[str, bytes], float] = {}

    def _send(self, phone: str, kind: MessageType, payload: bytes = b"") -> Outcome:
        ciphertext, shared = KEM
        opened = Message(int(1_800_000_000 + self.now), kind, phone.encode(), Secret(payload))
        header, nonce = message.header(phone.encode(), ciphertext), secrets.token_bytes(24)
        key = crypto.message_key(shared, KEYS[phone].reveal())
        sealed = crypto.seal(key, nonce, opened.encode(), header)
        return self.handler.answer(header + nonce + sealed, "192.0.2.1", 1).outcome

    @rule(phone=st.sampled_from(PHONES), ms=st.sampled_from((None, 1, 500, 120_000, 999_999)))
    def arm(self, phone: str, ms: int | None) -> None:
        payload = b"" if ms is None else b'{"ms":%d}' % ms
        assert self._send(phone, ARM, payload) is Outcome.OK
        granted = min(self.settings.arm_duration_ms if ms is None else ms, self.settings.arm_max_ms)
        self.armed[phone] = self.now + granted / 1000

    @rule(phone=st.sampled_from(PHONES))
    def disarm(self, phone: str) -> None:
        assert self._send(phone, DISARM) is Outcome.OK
        self.armed[phone] = 0.0

    @rule(phone=st.sampled_from(PHONES))
    def approve(self, phone: str) -> None:
        outcome = self._send(phone, APPROVE)
        assert outcome is Outcome.OK
        if self.settings.two_man_enabled:
            self.approved[phone] = self.now + self.settings.approve_window_ms / 1000

    @rule(phone=st.sampled_from(PHONES), text=st.sampled_from((b"one", b"two", b"", b"a\nb", b"x" * 257)))
    def inject(self, phone: str, text: bytes) -> None:
        outcome = self._send(phone, INJECT, text)
        if self.now < self.again.get((phone, text), 0.0):
            assert outcome is Outcome.TYPED, "as it was a moment ago"
        elif self.now >= self.armed[phone]:
            assert outcome is Outcome.NOT_ARMED
        elif text not in (b"one", b"two"):
            assert outcome is Outcome.BAD_REQUEST
        elif self.settings.two_man_enabled and self.now >= self.approved[phone]:
            assert outcome is Outcome.NEEDS_APPROVE
        elif self.page.broken:
            assert outcome is Outcome.INTERNAL_ERROR
        else:
            assert outcome is Outcome.TYPED
            self.typed.append(text)
            self.again[phone, text] = self.now + REPEAT_S
            if self.settings.arm_consume_on_inject:
                self.armed[phone] = 0.0
            if self.settings.approve_consume_on_inject:
                self.approved[phone] = 0.0
        assert self.page.typed == self.typed

    @rule(seconds=st.sampled_from((0.0005, 0.4, 1.0, 14.0, 19.0, 121.0)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def the_page_breaks_or_recovers(self) -> None:
        self.page.broken = not self.page.broken

    @rule()
    def the_owner_disarms_everything(self) -> None:
        self.handler.injector.permissions.close_all()
        self.armed = dict.fromkeys(PHONES, 0.0)
        self.approved = dict.fromkeys(PHONES, 0.0)


def test_no_order_of_messages_opens_a_gate_that_the_model_keeps_shut() -> None:
    run_machine(GatesMachine, examples=60, steps=40)
