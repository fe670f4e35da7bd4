"""The last steps of a secret, and an owner who takes back what was allowed in the middle of them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
from gevent.event import Event
from support.handler import handler

from novakey.config.settings import Settings
from novakey.desktop.base import Backend, CannotType, Delivery, DesktopError, Focus, Unusable
from novakey.devices.store import Device, DeviceStore
from novakey.messages.approvals import ApprovalRequest, Approvals
from novakey.messages.exchange import EXCHANGE_S, Exchange
from novakey.messages.handler import MessageResult
from novakey.messages.inject import Injector
from novakey.messages.output import Output
from novakey.messages.permissions import Change, Permissions
from novakey.messages.requests import SecretRequest, SecretRequests
from novakey.messages.targets import WindowTarget
from novakey.secret import Secret
from novakey.session import atspi
from novakey.system.clock import Clock
from novakey.wire import crypto, message
from novakey.wire.message import Message, MessageType
from novakey.wire.refused import Refused
from novakey.wire.reply import Outcome

HERE, ELSEWHERE = Focus(1, program="xterm"), Focus(2, program="chat")
PHONE = Device("phone", Secret(bytes(32)))


class Screen(Backend):
    """A screen that takes its time until the first key, and remembers what was put where."""

    name = "screen of this test"

    def __init__(self) -> None:
        self.shown = HERE
        self.ready = Event()
        self.typed: list[str | None] = []

    @classmethod
    def unavailable(cls) -> Unusable | None:
        return None

    def focus(self, deadline_s: float) -> Focus:
        return self.shown

    def type_text(self, text: Secret, deadline_s: float, delivery: Delivery) -> None:
        self.ready.wait(5)
        delivery.check_target(self.shown)
        self.typed.append(self.shown.program)

    def paste(self, text: Secret, deadline_s: float, delivery: Delivery) -> bool:
        raise AssertionError("not in this test")

    def copy(self, text: Secret, deadline_s: float) -> None:
        self.typed.append("clipboard")


def phone_approves(scene: Scene) -> None:
    scene.permissions.apply(Change.APPROVED_BY_PHONE, "phone", scene.injector.clock.monotonic_ms(), 20_000)


def take(scene: Scene, request: SecretRequest) -> str:
    """Return what the program that asks does."""
    if not request.given.wait(5) or request.secret is None:
        return ""
    got = request.secret.text()
    request.taken.set()
    scene.requests.end(request)
    return got.partition(" #")[0]


class Scene:
    """An injector of which the screen, the owner's looks and the clock of a request are the test's."""

    def __init__(self, folder: Path, **settings: object) -> None:
        made = Settings(**{"two_man_approver": "computer", **settings})  # type: ignore[arg-type]
        self.screen = Screen()
        self.looked = Event()
        self.locked = False
        self.confirmed = Event()
        self.devices = DeviceStore(folder / "devices.json", Secret(bytes(32)), {"phone": PHONE}, None)
        self.permissions = Permissions()
        output = Output(made, lambda: self.screen)
        self.asked: list[str] = []
        self.allows = True
        self.thinks_s = 0.0
        self.sent = 0
        self.approvals = Approvals(made, self.permissions, lambda: WindowTarget.of(output.focus()), self._ask)
        self.requests = SecretRequests(
            self.permissions, lambda request: self.confirmed.wait(5) and self.allows
        )
        self.injector = Injector(
            made,
            self.devices,
            output,
            self.permissions,
            self.approvals,
            self.requests,
            self._look_for_the_lock,
        )

    def _ask(self, question: ApprovalRequest, seconds: float) -> str | None:
        self.asked.append(question.purpose)
        gevent.sleep(self.thinks_s)
        return None

    def _look_for_the_lock(self) -> bool:
        self.looked.wait(5)
        return self.locked

    def arm(self) -> None:
        self.permissions.apply(Change.ARMED, "phone", self.injector.clock.monotonic_ms(), 20_000)

    def send(self, seconds: float = EXCHANGE_S) -> gevent.Greenlet:
        """As `start`, and it has to wait for something."""
        job = self.start(seconds)
        gevent.sleep(0.02)
        assert not job.ready()
        return job

    def start(self, seconds: float = EXCHANGE_S) -> gevent.Greenlet:
        """Return a secret under way: `get` gives its outcome, also that of a refusal."""
        exchange = Exchange(self.injector.clock.monotonic() + seconds, self.injector.clock)
        self.sent += 1
        text = f"correct horse #{self.sent}".encode()  # the same text twice is another matter

        def inject() -> Outcome:
            try:
                return self.injector.inject("phone", Secret(text), exchange)[0]
            except Refused as refused:
                return refused.outcome

        return gevent.spawn(inject)

    def deny(self) -> None:
        self.approvals.deny("phone")

    def disarm(self) -> None:
        self.permissions.close_all()

    def revoke(self) -> None:
        self.devices.remove(PHONE)
        self.approvals.forget("phone")


@pytest.mark.parametrize("shown", [HERE, ELSEWHERE], ids=["approved window", "another window"])
@pytest.mark.parametrize("when", ["looking for the lock", "before the first key"])
@pytest.mark.parametrize(
    ("take_back", "told"),
    [
        (Scene.deny, Outcome.NEEDS_APPROVE),
        (Scene.disarm, Outcome.NOT_ARMED),
        (Scene.revoke, Outcome.CRYPTO_FAIL),
    ],
    ids=["deny", "disarm", "revoke"],
)
def test_what_the_owner_takes_back_before_the_first_key_is_not_typed(
    tmp_path: Path, take_back: Callable[[Scene], None], told: Outcome, when: str, shown: Focus
) -> None:
    scene = Scene(tmp_path)
    scene.arm()
    scene.approvals.grant("phone")
    scene.screen.shown = shown
    first, second = scene.looked, scene.screen.ready
    if when == "before the first key":
        first, second = second, first
    second.set()
    sent = scene.send()
    take_back(scene)
    first.set()
    assert sent.get(timeout=5) is told
    assert scene.screen.typed == []


def test_what_the_owner_takes_back_is_not_put_on_the_clipboard_either(tmp_path: Path) -> None:
    scene = Scene(tmp_path, allow_clipboard_when_disarmed=True)
    scene.approvals.grant("phone")
    sent = scene.send()
    scene.deny()
    scene.looked.set()
    assert sent.get(timeout=5) is Outcome.NEEDS_APPROVE
    assert scene.screen.typed == []


def copies_only_where_it_was_approved(scene: Scene) -> None:
    scene.approvals.grant("phone")
    scene.screen.shown = ELSEWHERE
    assert scene.start().get(timeout=5) is Outcome.NEEDS_APPROVE
    assert scene.screen.typed == []
    scene.screen.shown = HERE
    assert scene.start().get(timeout=5) is Outcome.COPIED
    assert scene.screen.typed == ["clipboard"]


def test_what_is_copied_while_disarmed_is_bound_to_the_window_that_the_owner_saw_too(tmp_path: Path) -> None:
    scene = Scene(tmp_path, allow_clipboard_when_disarmed=True)
    scene.looked.set()
    copies_only_where_it_was_approved(scene)


def test_a_copy_because_typing_failed_is_bound_to_the_window_the_owner_saw(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, allow_clipboard_on_inject_failure=True)
    scene.screen = Held()
    scene.looked.set()
    scene.arm()
    copies_only_where_it_was_approved(scene)


class Held(Screen):
    """Another program holds the keyboard, which is found before the window is looked at."""

    def type_text(self, text: Secret, deadline_s: float, delivery: Delivery) -> None:
        raise DesktopError("another program holds the keyboard")


class Hidden(Screen):
    """A session that lets no program type, and does not tell what has the focus."""

    def focus(self, deadline_s: float) -> Focus | None:  # type: ignore[override]
        return None

    def type_text(self, text: Secret, deadline_s: float, delivery: Delivery) -> None:
        raise CannotType("this session lets no program type")


@pytest.mark.parametrize("armed", [True, False], ids=["typing failed", "not armed"])
@pytest.mark.parametrize(
    ("screen", "shown", "lists"),
    [
        (Held, ELSEWHERE, {"denied_process_names": ("chat",)}),
        (Held, ELSEWHERE, {"allowed_process_names": ("xterm",)}),
        (Hidden, ELSEWHERE, {"denied_process_names": ("chat",)}),
    ],
    ids=["denied", "not allowed", "not known"],
)
def test_a_window_that_may_not_be_typed_into_gets_nothing_by_the_clipboard_either(
    tmp_path: Path, screen: type[Screen], shown: Focus, lists: dict[str, object], armed: bool
) -> None:
    scene = Scene(
        tmp_path,
        two_man_enabled=False,
        allow_clipboard_when_disarmed=True,
        allow_clipboard_on_inject_failure=True,
        target_policy_enabled=True,
        **lists,
    )
    scene.screen = screen()
    scene.looked.set()
    if armed:
        scene.arm()
    scene.screen.shown = shown
    assert scene.start().get(timeout=5) is Outcome.BAD_REQUEST
    assert scene.screen.typed == []
    if screen is Held:
        scene.screen.shown = HERE
        assert scene.start().get(timeout=5) is Outcome.COPIED
        assert scene.screen.typed == ["clipboard"]


@pytest.mark.parametrize("armed", [True, False], ids=["typing failed", "not armed"])
@pytest.mark.parametrize("is_password", [True, False])
def test_a_field_that_may_not_be_typed_into_gets_nothing_by_the_clipboard_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_password: bool, armed: bool
) -> None:
    focused = HERE._replace(pid=1)
    monkeypatch.setattr(atspi, "focused_objects", lambda: [atspi.FocusedObject(1, is_password)])
    scene = Scene(
        tmp_path,
        two_man_enabled=False,
        allow_clipboard_when_disarmed=True,
        allow_clipboard_on_inject_failure=True,
        require_password_field=True,
    )
    scene.screen = Held()
    scene.screen.shown = focused
    scene.looked.set()
    if armed:
        scene.arm()
    assert scene.start().get(timeout=5) is (Outcome.COPIED if is_password else Outcome.BAD_REQUEST)
    assert scene.screen.typed == (["clipboard"] if is_password else [])


def test_a_screen_that_is_locked_while_typing_fails_gets_nothing_by_the_clipboard(tmp_path: Path) -> None:
    class LockedSince(Held):
        def type_text(self, text: Secret, deadline_s: float, delivery: Delivery) -> None:
            scene.locked = True
            super().type_text(text, deadline_s, delivery)

    scene = Scene(tmp_path, two_man_enabled=False, allow_clipboard_on_inject_failure=True)
    scene.screen = LockedSince()
    scene.looked.set()
    scene.arm()
    assert scene.start().get(timeout=5) is Outcome.BAD_REQUEST
    assert scene.screen.typed == []


def test_what_would_be_pasted_without_a_focus_is_bound_to_the_window_too(tmp_path: Path) -> None:
    class Unfocused(Screen):
        """Nothing to paste into: it goes on the clipboard, and no question is about a window."""

        def paste(self, text: Secret, deadline_s: float, delivery: Delivery) -> bool:
            self.typed.append("clipboard")
            return False

    scene = Scene(tmp_path, allow_typing_fallback=False, allow_clipboard_on_inject_failure=True)
    scene.screen = Unfocused()
    scene.looked.set()
    scene.arm()
    scene.approvals.grant("phone")
    scene.screen.shown = ELSEWHERE
    assert scene.start().get(timeout=5) is Outcome.NEEDS_APPROVE
    assert scene.screen.typed == []


def test_an_arming_that_runs_out_right_before_the_first_key_was_long_enough(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    scene.permissions.apply(Change.ARMED, "phone", scene.injector.clock.monotonic_ms(), 200)
    scene.approvals.grant("phone")
    scene.screen.ready.set()
    sent = scene.send()
    gevent.sleep(0.25)
    scene.looked.set()
    assert sent.get(timeout=5) is Outcome.TYPED


def test_an_approval_for_a_window_is_not_for_a_request_that_is_confirmed(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    request = scene.requests.begin("ssh-add", 1, "")
    scene.permissions.apply(
        Change.APPROVED_BY_OWNER, "phone", scene.injector.clock.monotonic_ms(), 20_000, request.target
    )
    sent = scene.send()
    scene.approvals.grant("phone")  # the owner means the window that has the focus
    scene.confirmed.set()
    assert sent.get(timeout=5) is Outcome.NEEDS_APPROVE
    assert request.secret is None


def test_an_approval_serves_one_delivery_also_beside_a_request(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, two_man_approver="phone")
    scene.arm()
    phone_approves(scene)
    scene.looked.set()
    typing = scene.send()
    request = scene.requests.begin("ssh-add", 1, "", seen=True)
    phone_approves(scene)
    taking = gevent.spawn(take, scene, request)
    giving = scene.start()
    gevent.sleep(0.1)
    scene.screen.ready.set()
    assert typing.get(timeout=5) is Outcome.TYPED
    assert giving.get(timeout=5) is Outcome.NEEDS_APPROVE
    assert request.secret is None and scene.requests.waiting() == [request], (
        "it waits for one that is approved"
    )
    phone_approves(scene)
    assert scene.start().get(timeout=5) is Outcome.OK
    assert taking.get(timeout=5) == "correct horse"


# ---- one question for a request ----


@pytest.mark.parametrize("approver", ["computer", "either"])
@pytest.mark.parametrize("order", ["before", "after"])
def test_a_request_that_the_owner_allowed_from_this_phone_is_not_asked_about_again(
    tmp_path: Path, approver: str, order: str
) -> None:
    scene = Scene(tmp_path, two_man_approver=approver)
    request = scene.requests.begin("ssh-add", 1, "", phones=("phone",))
    taking = gevent.spawn(take, scene, request)
    if order == "before":
        scene.confirmed.set()
        gevent.sleep(0.02)
        sent = scene.start()
    else:
        sent = scene.send()
        scene.confirmed.set()
    assert sent.get(timeout=5) is Outcome.OK
    assert taking.get(timeout=5) == "correct horse" and scene.asked == []
    assert scene.permissions.approved(0) == {}, "and it is used up"


def test_what_is_allowed_for_a_request_takes_nothing_from_what_is_being_typed(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    scene.arm()
    scene.approvals.grant("phone")
    scene.looked.set()
    typing = scene.send()
    request = scene.requests.begin("ssh-add", 1, "", phones=("phone",))
    taking = gevent.spawn(take, scene, request)
    scene.confirmed.set()
    giving = scene.send()
    scene.screen.ready.set()
    assert typing.get(timeout=5) is Outcome.TYPED
    assert giving.get(timeout=5) is Outcome.OK, "nor is it used up by that"
    assert taking.get(timeout=5) == "correct horse"
    assert scene.asked == [] and scene.permissions.approved(0) == {}


def test_a_request_that_ended_before_its_turn_leaves_no_approval_behind(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.arm()
    scene.approvals.grant("phone")
    scene.looked.set()
    typing = scene.send()
    request = scene.requests.begin("ssh-add", 1, "", phones=("phone",))
    scene.confirmed.set()
    giving = scene.send()
    scene.requests.end(request)
    scene.screen.ready.set()
    assert typing.get(timeout=5) is Outcome.TYPED, "it was armed before that request"
    assert giving.get(timeout=5) is Outcome.NOT_ARMED
    assert scene.permissions.approved(0) == {}


@pytest.mark.parametrize("why", ["another phone was named", "denied since", "revoked since"])
def test_it_is_asked_about_again_if_the_owner_did_not_see_this_phone(tmp_path: Path, why: str) -> None:
    scene = Scene(tmp_path)
    request = scene.requests.begin(
        "ssh-add", 1, "", phones=("other" if why.startswith("another") else "phone",)
    )
    scene.confirmed.set()
    gevent.sleep(0.02)
    if why == "denied since":
        scene.deny()
        scene.requests.take_back("phone")
        scene.approvals.forget("phone")  # the moment after it is over
    elif why == "revoked since":
        scene.requests.take_back("phone")
    assert scene.start().get(timeout=5) is Outcome.NEEDS_APPROVE
    gevent.sleep(0.02)
    assert scene.asked == ["answer request 1 of ssh-add (process 1)"] and request.secret is None


def test_a_request_that_the_owner_has_refused_is_not_asked_about_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.allows = False
    scene.requests.begin("ssh-add", 1, "", phones=("phone",))
    sent = scene.send()
    scene.confirmed.set()
    assert sent.get(timeout=5) is Outcome.NOT_ARMED
    assert scene.asked == []


# ---- how long it may take ----


@pytest.mark.parametrize("armed", [True, False], ids=["armed", "for the clipboard"])
@pytest.mark.parametrize("when", ["looking for the lock", "before the first key"])
def test_what_cannot_be_delivered_in_its_time_goes_nowhere(tmp_path: Path, when: str, armed: bool) -> None:
    scene = Scene(tmp_path, two_man_approver="phone", allow_clipboard_when_disarmed=True)
    if armed:
        scene.arm()
    phone_approves(scene)
    first, second = scene.looked, scene.screen.ready
    if when == "before the first key" and armed:
        first, second = second, first
    second.set()
    sent = scene.send(0.2)
    gevent.sleep(0.3)
    first.set()
    assert sent.get(timeout=5) is Outcome.INTERNAL_ERROR
    assert scene.screen.typed == []
    scene.permissions.close_all()
    scene.arm()
    phone_approves(scene)
    assert scene.start().get(timeout=5) is Outcome.TYPED, "it was the time"


def test_waiting_for_the_one_before_ends_with_its_time(tmp_path: Path) -> None:
    scene = Scene(tmp_path, two_man_approver="phone", approve_consume_on_inject=False)
    scene.permissions.apply(Change.ARMED, "phone", scene.injector.clock.monotonic_ms(), 60_000)
    phone_approves(scene)
    scene.looked.set()
    typing = scene.send()
    began = time.monotonic()
    assert scene.start(0.2).get(timeout=2) is Outcome.INTERNAL_ERROR
    assert time.monotonic() - began < 1
    scene.screen.ready.set()
    assert typing.get(timeout=5) is Outcome.TYPED


def test_waiting_for_the_owner_takes_nothing_from_its_time(tmp_path: Path) -> None:
    scene = Scene(tmp_path, approve_wait_ms=60_000)
    scene.thinks_s = 5
    scene.arm()
    scene.looked.set()
    scene.screen.ready.set()
    sent = scene.send(0.5)
    gevent.sleep(0.6)
    scene.approvals.grant("phone")
    assert sent.get(timeout=5) is Outcome.TYPED


def test_what_was_armed_when_the_message_came_stays_armed_while_the_owner_thinks(tmp_path: Path) -> None:
    scene = Scene(tmp_path, approve_wait_ms=60_000)
    scene.thinks_s = 5
    scene.permissions.apply(Change.ARMED, "phone", scene.injector.clock.monotonic_ms(), 200)
    scene.looked.set()
    scene.screen.ready.set()
    sent = scene.send()
    gevent.sleep(0.3)
    scene.approvals.grant("phone")
    assert sent.get(timeout=5) is Outcome.TYPED
    assert scene.start().get(timeout=5) is Outcome.NOT_ARMED


@pytest.mark.parametrize(("waited", "told"), [(9.9, Outcome.TYPED), (10.0, Outcome.INTERNAL_ERROR)])
def test_a_secret_has_ten_seconds_from_when_its_message_was_read(
    tmp_path: Path, waited: float, told: Outcome
) -> None:
    now = 1000.0

    class Slow(Screen):
        def type_text(self, text: Secret, deadline_s: float, delivery: Delivery) -> None:
            nonlocal now
            now += waited
            super().type_text(text, deadline_s, delivery)

    screen, server = Slow(), crypto.ExpandedKey.generate()
    screen.ready.set()
    devices = DeviceStore(tmp_path / "devices.json", Secret(bytes(32)), {"phone": PHONE}, None)
    made = handler(
        Settings(two_man_enabled=False), devices, lambda: screen, server, Clock(monotonic=lambda: now)
    )
    for kind in (MessageType.ARM, MessageType.INJECT):
        opened = Message(
            int(time.time()), kind, b"phone", Secret(b"x" if kind is MessageType.INJECT else b"")
        )
        frame = message.seal(opened, server.public, PHONE.key.reveal(), secrets.token_bytes(24))
        reply = made.answer(frame[message.LENGTH_SIZE :], "192.0.2.1", 1)
    assert reply.outcome is told, reply.msg
    assert screen.typed == ([HERE.program] if told is Outcome.TYPED else [])


@pytest.mark.parametrize("named", [False, True])
def test_a_reply_names_the_program_only_where_the_key_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, named: bool
) -> None:
    server, screen, answered = crypto.ExpandedKey.generate(), Screen(), list[MessageResult]()
    screen.ready.set()
    settings = Settings(
        two_man_enabled=False,
        refuse_when_locked=False,
        target_policy_enabled=True,
        denied_process_names=("xterm",),
        reply_program_names=named,
    )
    devices = DeviceStore(tmp_path / "devices.json", Secret(bytes(32)), {"phone": PHONE}, None)
    subject = handler(settings, devices, lambda: screen, server, on_answer=answered.append)
    subject.injector.permissions.apply(Change.ARMED, "phone", subject.clock.monotonic_ms(), 20_000)
    opened = Message(int(time.time()), MessageType.INJECT, b"phone", Secret(b"typed"))
    frame = message.seal(opened, server.public, PHONE.key.reveal(), secrets.token_bytes(24))
    with caplog.at_level("INFO"):
        reply = subject.answer(frame[message.LENGTH_SIZE :], "192.0.2.1", 1)
    full = 'target refused: "xterm" is a denied program'
    assert reply.msg == (full if named else "target refused: this is a denied program")
    assert full in caplog.text
    assert [(told.program, told.msg) for told in answered] == [("xterm", full)]
