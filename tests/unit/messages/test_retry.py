"""A phone that retries by itself: what may have been typed is not typed again, nor in another window."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
from gevent.event import Event

from novakey.config.settings import Settings
from novakey.desktop.base import Backend, CannotType, Delivery, DesktopError, Focus, Unusable
from novakey.devices.store import Device, DeviceStore
from novakey.messages.approvals import Approvals
from novakey.messages.exchange import Exchange
from novakey.messages.inject import Injector
from novakey.messages.output import Output
from novakey.messages.permissions import Change, Permissions
from novakey.messages.recent import REPEAT_S, RETRY_S
from novakey.messages.requests import SecretRequests
from novakey.secret import Secret
from novakey.system.clock import Clock
from novakey.wire.refused import Refused
from novakey.wire.reply import Outcome

TEXT = b"correct horse battery staple"
HERE, ELSEWHERE = Focus(1, program="xterm"), Focus(2, program="chat")
CONSUMING = {"arm_consume_on_inject": True, "approve_consume_on_inject": True}
KEEPING = {"arm_consume_on_inject": False, "approve_consume_on_inject": False}


class Window(Backend):
    """A focused window. `ends` is called once the target has been checked, and tells how typing ends."""

    name = "window of this test"

    def __init__(self) -> None:
        self.shown = HERE
        self.got: list[tuple[int | str, str]] = []
        self.ends: Callable[[], None] = lambda: None

    @classmethod
    def unavailable(cls) -> Unusable | None:
        return None

    def focus(self, deadline_s: float) -> Focus:
        return self.shown

    def type_text(self, text: Secret, deadline_s: float, delivery: Delivery) -> None:
        delivery.check_target(self.shown)
        self.ends()
        self.got.append((self.shown.window, text.text()))

    def paste(self, text: Secret, deadline_s: float, delivery: Delivery) -> bool:
        self.type_text(text, deadline_s, delivery)
        return True

    def copy(self, text: Secret, deadline_s: float) -> None:
        self.ends()
        self.got.append(("clipboard", text.text()))


class Scene:
    """One phone that does what the one in the field does at a tap, and a clock."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.settings = Settings(**settings)  # type: ignore[arg-type]
        self.now = 1000.0
        self.window = Window()
        self.permissions = Permissions()
        phones = {name: Device(name, Secret(bytes(32))) for name in ("phone", "other")}
        devices = DeviceStore(folder / "devices.json", Secret(bytes(32)), phones, None)
        self.output = Output(self.settings, lambda: self.window)
        self.approvals = Approvals(self.settings, self.permissions, clock=Clock(monotonic=lambda: self.now))
        self.locked = False
        self.requests = SecretRequests(self.permissions, clock=Clock(monotonic=lambda: self.now))
        self.injector = Injector(
            self.settings,
            devices,
            self.output,
            self.permissions,
            self.approvals,
            self.requests,
            lambda: self.locked,
            Clock(monotonic=lambda: self.now),
        )

    def arm(self, device: str = "phone") -> None:
        self.permissions.apply(Change.ARMED, device, self.now * 1000, 15_000)

    def send(
        self, text: bytes = TEXT, device: str = "phone", is_open: Callable[[], bool] = lambda: True
    ) -> Outcome:
        """Approve, a moment, inject."""
        self.approvals.by_phone(device)
        self.now += 0.25
        exchange = Exchange(self.now + 10, Clock(monotonic=lambda: self.now), is_open)
        try:
            return self.injector.inject(device, Secret(text), exchange)[0]
        except Refused as refused:
            return refused.outcome

    def fails(self, error: Exception) -> None:
        def end() -> None:
            raise error

        self.window.ends = end

    def works(self) -> None:
        self.window.ends = lambda: None


def stopped(scene: Scene) -> None:
    scene.fails(DesktopError("another window took the focus", 8))


def faulty(scene: Scene) -> None:
    scene.fails(RuntimeError("a fault of ours"))


def killed(scene: Scene) -> None:
    """As by `Output.stop`: the greenlet of the delivery ends in the middle."""

    def end() -> None:
        raise gevent.GreenletExit

    scene.window.ends = end


def hanging(scene: Scene) -> None:
    scene.output._deadline_s = -0.9  # a tenth of a second in all
    scene.window.ends = lambda: gevent.sleep(30)


@pytest.fixture(autouse=True)
def faults_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


@pytest.mark.parametrize("gates", [CONSUMING, KEEPING], ids=["consuming", "keeping"])
@pytest.mark.parametrize("cut", [stopped, faulty, killed, hanging])
def test_a_cut_delivery_uses_up_both_gates_and_is_not_typed_by_the_retry(
    tmp_path: Path, cut: Callable[[Scene], None], gates: dict[str, bool]
) -> None:
    scene = Scene(tmp_path, **gates)
    scene.arm()
    cut(scene)
    assert scene.send() is Outcome.INTERNAL_ERROR
    assert scene.permissions.armed(0) == {} and scene.permissions.approved(0) == {}
    scene.works()
    scene.window.shown = ELSEWHERE
    assert scene.send() is Outcome.INTERNAL_ERROR, "the phone never says Sent"
    scene.now += REPEAT_S
    assert scene.send() is Outcome.NOT_ARMED
    assert scene.window.got == []


@pytest.mark.parametrize("error", [CannotType("no program may type"), DesktopError("no focus"), None])
def test_a_delivery_that_provably_typed_nothing_costs_neither(
    tmp_path: Path, error: DesktopError | None
) -> None:
    scene = Scene(tmp_path, target_policy_enabled=True, denied_process_names=("chat",))
    scene.arm()
    if error is not None:
        scene.fails(error)
    else:
        scene.window.shown = ELSEWHERE
    assert scene.send() in (Outcome.INTERNAL_ERROR, Outcome.BAD_REQUEST)
    assert "phone" in scene.permissions.armed(0) and "phone" in scene.permissions.approved(0)
    scene.works()
    scene.now += RETRY_S
    scene.window.shown = HERE
    assert scene.send() is Outcome.TYPED


@pytest.mark.parametrize("gates", [CONSUMING, KEEPING], ids=["consuming", "keeping"])
def test_the_same_text_is_typed_once_within_a_moment_and_answered_as_it_was(
    tmp_path: Path, gates: dict[str, bool]
) -> None:
    scene = Scene(tmp_path, **gates)
    scene.arm()
    assert scene.send() is Outcome.TYPED
    scene.window.shown = ELSEWHERE
    assert scene.send() is Outcome.TYPED, "its reply was lost"
    assert scene.window.got == [(1, TEXT.decode())]
    scene.arm("other")
    assert scene.send(device="other") is Outcome.TYPED, "another phone is another matter"
    scene.arm()
    assert scene.send(b"another") is Outcome.TYPED, "and so is another text"
    scene.now += REPEAT_S
    scene.arm()
    assert scene.send() is Outcome.TYPED
    assert len(scene.window.got) == 4


def test_the_same_text_waits_for_the_running_delivery_and_is_answered_as_it(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, **KEEPING)
    scene.arm()
    going = Event()
    scene.window.ends = lambda: going.wait(5) or None
    first = gevent.spawn(scene.send)
    gevent.sleep(0)
    second = gevent.spawn(scene.send)
    gevent.sleep(0.05)
    assert not first.ready() and not second.ready()
    going.set()
    assert first.get(timeout=5) is second.get(timeout=5) is Outcome.TYPED
    assert len(scene.window.got) == 1


def test_the_same_text_is_delivered_where_the_one_before_it_failed(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.arm()
    going = Event()

    def end() -> None:
        scene.works()
        going.wait(5)
        raise DesktopError("no focus")

    scene.window.ends = end
    first = gevent.spawn(scene.send)
    gevent.sleep(0)
    second = gevent.spawn(scene.send)
    gevent.sleep(0.05)
    going.set()
    assert first.get(timeout=5) is Outcome.INTERNAL_ERROR
    assert second.get(timeout=5) is Outcome.TYPED


def test_the_same_text_is_copied_once_too(tmp_path: Path) -> None:
    scene = Scene(tmp_path, allow_clipboard_when_disarmed=True, **KEEPING)
    assert scene.send() is Outcome.COPIED and scene.send() is Outcome.COPIED
    assert scene.window.got == [("clipboard", TEXT.decode())]


def test_the_same_text_is_pasted_once_too(tmp_path: Path) -> None:
    scene = Scene(tmp_path, allow_typing_fallback=False, allow_clipboard_on_inject_failure=True, **KEEPING)
    scene.arm()
    assert scene.send() is Outcome.PASTED and scene.send() is Outcome.PASTED
    assert len(scene.window.got) == 1


def test_no_text_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("novakey.messages.recent.REPEAT_S", 0.01)
    scene = Scene(tmp_path)
    scene.arm()
    assert scene.send() is Outcome.TYPED
    kept = scene.injector.recent._deliveries
    assert [len(digest) for digest in kept] == [16] and TEXT not in repr(vars(scene.injector.recent)).encode()
    scene.now += 1
    gevent.sleep(0.05)
    assert kept == {}


def test_a_request_gets_the_same_text_once_and_the_window_none(tmp_path: Path) -> None:
    scene = Scene(tmp_path, **KEEPING)
    request = scene.requests.begin("ssh-add", 1, "", seen=True)

    def take() -> None:
        request.given.wait(5)
        request.taken.set()
        scene.requests.end(request)

    taking = gevent.spawn(take)
    assert scene.send() is Outcome.OK
    taking.get(timeout=5)
    following = scene.requests.begin("other", 2, "", seen=True)
    assert scene.send() is Outcome.OK, "as it was"
    assert following.secret is None and scene.window.got == []
    scene.arm()  # which no phone does by itself
    gevent.spawn(lambda: following.given.wait(5) and following.taken.set())
    assert scene.send() is Outcome.OK
    assert following.secret is not None and scene.window.got == []


def test_a_program_that_does_not_take_it_may_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("novakey.messages.secret_request.TAKE_S", 0.02)
    scene = Scene(tmp_path, **KEEPING)
    scene.arm()
    scene.requests.begin("ssh-add", 1, "", seen=True)
    assert scene.send() is Outcome.INTERNAL_ERROR
    assert scene.permissions.armed(0) == {} and scene.permissions.approved(0) == {}
    assert scene.send() is Outcome.INTERNAL_ERROR


# ---- where a retry may go ----


def test_a_retry_after_a_refusal_does_not_go_to_the_window_now_in_front(tmp_path: Path) -> None:
    scene = Scene(tmp_path, target_policy_enabled=True, denied_process_names=("chat",))
    scene.arm()
    scene.window.shown = ELSEWHERE
    assert scene.send() is Outcome.BAD_REQUEST
    scene.window.shown = HERE
    assert scene.send() is Outcome.BAD_REQUEST
    assert scene.window.got == []
    scene.now += RETRY_S
    assert scene.send() is Outcome.TYPED, "the next tap of a person"


def test_a_retry_after_nothing_was_typed_goes_only_to_the_window_it_was_for(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    scene.arm()
    scene.fails(DesktopError("the layout lacks a character"))
    assert scene.send() is Outcome.INTERNAL_ERROR
    scene.works()
    scene.window.shown = ELSEWHERE
    assert scene.send() is Outcome.BAD_REQUEST
    scene.window.shown = HERE
    assert scene.send() is Outcome.TYPED


def test_a_retry_into_a_screen_that_was_locked_a_moment_ago_goes_nowhere(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.arm()
    scene.locked = True
    assert scene.send() is Outcome.BAD_REQUEST
    scene.locked = False
    assert scene.send() is Outcome.BAD_REQUEST
    scene.now += RETRY_S
    assert scene.send() is Outcome.TYPED


# ---- every key went out ----


def test_a_text_whose_every_key_went_out_counts_as_delivered_and_is_not_typed_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.arm()
    scene.fails(DesktopError("the window has not read all keys in time", len(TEXT), whole=True))
    assert scene.send() is Outcome.TYPED
    assert scene.permissions.armed(0) == {} and scene.permissions.approved(0) == {}
    for text in (b"second", b"third", b"fourth"):
        assert scene.send(text) is Outcome.NOT_ARMED


# ---- the phone gave up ----


def test_nothing_is_typed_for_a_phone_that_hung_up_before_the_first_key(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.arm()
    assert scene.send(is_open=lambda: False) is Outcome.INTERNAL_ERROR
    assert scene.window.got == []
    assert scene.send() is Outcome.TYPED, "and its retry is served"


def test_no_request_gets_the_secret_of_a_phone_that_hung_up(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    request = scene.requests.begin("ssh-add", 1, "", seen=True)
    assert scene.send(is_open=lambda: False) is Outcome.INTERNAL_ERROR
    assert not request.given.is_set()
