"""Requests for a secret: who is served, what is late, what the owner confirms."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest

from novakey.errors import NovaKeyError
from novakey.messages.exchange import Exchange
from novakey.messages.permissions import Change, Permissions
from novakey.messages.requests import (
    AFTER_IGNORED_S,
    AGAIN_S,
    LATE_S,
    MAX_WAITING,
    SecretRequest,
    SecretRequests,
    UnansweredError,
)
from novakey.secret import Secret
from novakey.system.clock import Clock
from novakey.wire.refused import Refused, full
from novakey.wire.reply import Outcome

SECRET = Secret(b"correct horse")


class Scene:
    def __init__(self, confirm: Callable[[SecretRequest], bool] | None = None, **more: Any) -> None:
        self.now = 1000.0
        self.permissions = Permissions()
        self.requests = SecretRequests(self.permissions, confirm, Clock(monotonic=lambda: self.now), **more)

    def give(self, request: SecretRequest, secret: Secret, device_id: str = "") -> str:
        """Return what a message of a phone does."""
        self.approve(device_id or "phone")  # it is tapped when the request is seen
        return self.give_unapproved(request, secret, device_id)

    def approve(self, device_id: str = "phone") -> None:
        self.permissions.apply(Change.APPROVED_BY_PHONE, device_id, self.now * 1000, 15_000)

    def give_unapproved(self, request: SecretRequest, secret: Secret, device_id: str = "") -> str:
        exchange = Exchange(self.now + 10, Clock(monotonic=lambda: self.now))
        self.requests.await_owner(request, secret, device_id or "phone", exchange)
        return self.requests.give(request, secret, device_id)

    def take(self, request: SecretRequest) -> bytes:
        """Return what the asking program's connection does."""
        assert request.given.wait(5)
        assert request.secret is not None
        got = request.secret.reveal()
        request.taken.set()
        self.requests.end(request)
        return got


def outcome(job: Callable[[], object]) -> Outcome:
    with pytest.raises(Refused) as caught:
        job()
    return caught.value.outcome


def test_a_secret_goes_to_the_request_that_came_first_and_the_next_moves_up() -> None:
    scene = Scene()
    first, second = (scene.requests.begin(name, 1, "passphrase") for name in ("ssh-add", "git"))
    assert (scene.requests.place(first), scene.requests.place(second)) == (0, 1)
    taking = gevent.spawn(scene.take, first)
    served = scene.requests.for_device("phone")
    assert served is first
    said = scene.give(first, SECRET)
    assert (said, full(said)) == ("given to request 1", "given to request 1 of ssh-add (process 1)")
    assert taking.get(timeout=5) == SECRET.reveal()
    assert scene.requests.for_device("phone") is second and scene.requests.place(second) == 0


def test_a_secret_is_given_once() -> None:
    scene = Scene()
    request = scene.requests.begin("ssh-add", 1, "")
    taking = gevent.spawn(lambda: (request.given.wait(5), gevent.sleep(0.05), scene.take(request)))
    gevent.sleep(0)
    giving = gevent.spawn(scene.give, request, SECRET)
    gevent.sleep(0.01)
    assert outcome(lambda: scene.give(request, SECRET)) is Outcome.NOT_ARMED
    assert giving.get(timeout=5)
    taking.get(timeout=5)


def test_a_secret_that_comes_after_its_request_is_never_typed() -> None:
    scene = Scene()
    request = scene.requests.begin("ssh-add", 1, "")
    scene.permissions.apply(Change.ARMED, "phone", scene.now * 1000, 60_000)
    scene.requests.end(request)
    assert outcome(lambda: scene.requests.for_device("phone")) is Outcome.RATE_LIMIT
    assert not scene.permissions.of("phone").arming.is_open(scene.now * 1000), "it was armed for the request"
    scene.now += LATE_S
    assert scene.requests.for_device("phone") is None


def test_a_second_tap_on_the_phone_is_not_typed_and_after_a_moment_a_secret_may_be() -> None:
    scene = Scene()
    request = scene.requests.begin("ssh-add", 1, "")
    taking = gevent.spawn(scene.take, request)
    scene.give(request, SECRET)
    taking.get(timeout=5)
    assert outcome(lambda: scene.requests.for_device("phone")) is Outcome.RATE_LIMIT
    scene.now += AGAIN_S
    assert scene.requests.for_device("phone") is None
    assert request.secret is not None and len(request.secret) == 0, "wiped"


def test_a_second_tap_gives_the_next_program_no_copy_of_the_same_secret() -> None:
    scene = Scene()
    first, second = scene.requests.begin("sudo", 1, ""), scene.requests.begin("other", 2, "")
    taking = gevent.spawn(scene.take, first)
    scene.give(first, SECRET)
    taking.get(timeout=5)
    assert outcome(lambda: scene.give(second, SECRET)) is Outcome.RATE_LIMIT
    assert not second.given.is_set() and second.secret is None
    taking = gevent.spawn(scene.take, second)
    assert scene.give(second, Secret(b"another one"))
    assert taking.get(timeout=5) == b"another one"


def test_a_program_that_asks_only_afterwards_may_have_the_same_secret_at_once() -> None:
    scene = Scene()
    for number in (1, 2):
        request = scene.requests.begin("ssh-add", number, "")
        taking = gevent.spawn(scene.take, request)
        assert scene.give(request, SECRET)
        assert taking.get(timeout=5) == SECRET.reveal()


def test_after_a_moment_the_next_program_may_have_the_same_secret() -> None:
    scene = Scene()
    first, second = scene.requests.begin("sudo", 1, ""), scene.requests.begin("other", 2, "")
    for request in (first, second):
        taking = gevent.spawn(scene.take, request)
        assert scene.give(request, SECRET)
        assert taking.get(timeout=5) == SECRET.reveal()
        scene.now += AGAIN_S


def test_a_late_secret_does_not_go_to_the_next_in_the_queue_either() -> None:
    scene = Scene()
    first, second = scene.requests.begin("one", 1, ""), scene.requests.begin("two", 2, "")
    scene.requests.end(first)
    assert scene.requests.place(second) == 0
    assert outcome(lambda: scene.requests.for_device("phone")) is Outcome.RATE_LIMIT
    scene.now += LATE_S
    assert scene.requests.for_device("phone") is second


def test_a_daemon_that_was_killed_while_a_request_waited_begins_with_the_same_moment(tmp_path: Path) -> None:
    marker = tmp_path / "asking"
    Scene(marker=marker).requests.begin("ssh-add", 1, "")
    assert stat.S_IMODE(marker.stat().st_mode) == 0o600
    scene = Scene(marker=marker)
    assert outcome(lambda: scene.requests.for_device("phone")) is Outcome.RATE_LIMIT
    scene.now += LATE_S
    assert scene.requests.for_device("phone") is None


def test_an_answered_request_leaves_no_mark_and_an_unanswered_one_for_a_moment_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "asking"
    scene = Scene(marker=marker)
    request = scene.requests.begin("ssh-add", 1, "")
    taking = gevent.spawn(scene.take, request)
    scene.give(request, SECRET)
    taking.get(timeout=5)
    assert not marker.exists()
    monkeypatch.setattr("novakey.messages.requests.LATE_S", 0.05)
    scene.requests.end(scene.requests.begin("ssh-add", 1, ""))
    assert marker.exists()
    scene.now += 1
    gevent.sleep(0.2)
    assert not marker.exists()


def test_a_question_on_the_screen_goes_away_with_its_request() -> None:
    seen: list[str] = []

    def ask(request: SecretRequest) -> bool:
        try:
            gevent.sleep(30)
        finally:
            seen.append("gone")
        return True

    scene = Scene(ask)
    request = scene.requests.begin("ssh-add", 1, "")
    gevent.sleep(0)
    scene.requests.end(request)
    gevent.sleep(0.01)
    assert seen == ["gone"]


def test_what_became_of_each_request_is_noted() -> None:
    noted: list[tuple[int, str, str]] = []
    scene = Scene(note=lambda request, became, device: noted.append((request.number, became, device)))
    first, second = scene.requests.begin("one", 1, ""), scene.requests.begin("two", 2, "")
    taking = gevent.spawn(scene.take, first)
    scene.give(first, SECRET, device_id="phone")
    taking.get(timeout=5)
    scene.requests.end(second)
    assert noted == [(1, "waiting", ""), (2, "waiting", ""), (1, "given", "phone"), (2, "ended", "")]


def test_a_queued_request_that_ends_makes_nothing_late() -> None:
    scene = Scene()
    first, second = scene.requests.begin("one", 1, ""), scene.requests.begin("two", 2, "")
    scene.requests.end(second)
    assert scene.requests.for_device("phone") is first


def test_a_request_for_one_device_is_not_served_by_another() -> None:
    scene = Scene()
    request = scene.requests.begin("ssh-add", 1, "", device_id="mine")
    assert outcome(lambda: scene.requests.for_device("other")) is Outcome.NOT_ARMED
    assert scene.requests.for_device("mine") is request


def test_a_program_that_does_not_take_it_gets_nothing_and_the_phone_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("novakey.messages.secret_request.TAKE_S", 0.05)
    scene = Scene()
    request = scene.requests.begin("ssh-add", 1, "")
    assert outcome(lambda: scene.give(request, SECRET)) is Outcome.INTERNAL_ERROR
    assert scene.requests.waiting() == [] and request.secret is not None and len(request.secret) == 0


def test_the_owner_confirms_before_the_secret_leaves() -> None:
    pressed = gevent.event.Event()
    scene = Scene(lambda request: bool(pressed.wait(5)))
    request = scene.requests.begin("ssh-add", 1, "")
    taking = gevent.spawn(scene.take, request)
    giving = gevent.spawn(scene.give, request, SECRET)
    gevent.sleep(0.05)
    assert not request.given.is_set()
    pressed.set()
    assert giving.get(timeout=5) and taking.get(timeout=5) == SECRET.reveal()


def test_what_the_owner_refuses_gets_nothing_and_hears_why() -> None:
    scene = Scene(lambda request: False)
    request = scene.requests.begin("ssh-add", 1, "")
    assert request.given.wait(5) and request.secret is None and request.refused == "refused on the screen"
    assert outcome(lambda: scene.give(request, SECRET)) is Outcome.NOT_ARMED


def test_where_the_owner_cannot_be_asked_it_fails_closed() -> None:
    def no_one(request: SecretRequest) -> bool:
        raise NovaKeyError("no notification service", "start one")

    scene = Scene(no_one)
    request = scene.requests.begin("ssh-add", 1, "")
    assert request.given.wait(5) and "no notification service" in request.refused
    seen = scene.requests.begin("ask", 2, "", seen=True)
    assert seen.confirmed.is_set(), "its owner sees it on the terminal"


# ---- what was armed or approved for a window ----


@pytest.mark.parametrize("change", [Change.ARMED, Change.APPROVED_BY_PHONE])
def test_what_was_armed_or_approved_before_a_request_came_is_not_for_it(change: Change) -> None:
    scene = Scene()
    scene.permissions.apply(change, "phone", scene.now * 1000, 60_000)
    scene.now += 1
    request = scene.requests.begin("job", 1, "", seen=True)
    assert outcome(lambda: scene.give_unapproved(request, SECRET)) is Outcome.NOT_ARMED
    assert scene.requests.waiting() == [request] and request.secret is None
    scene.permissions.apply(change, "phone", scene.now * 1000, 60_000)
    taking = gevent.spawn(scene.take, request)
    assert scene.give_unapproved(request, SECRET)
    assert taking.get(timeout=5) == SECRET.reveal()


@pytest.mark.parametrize("allows", [True, False])
def test_where_the_owner_can_be_asked_about_that_their_answer_decides(allows: bool) -> None:
    asked: list[SecretRequest] = []
    scene = Scene(lambda request: bool(asked.append(request)) or allows)
    scene.approve()
    scene.now += 1
    request = scene.requests.begin("job", 1, "", seen=True)
    assert asked == [], "its owner sees it"
    if not allows:
        assert outcome(lambda: scene.give_unapproved(request, SECRET)) is Outcome.NOT_ARMED
        assert scene.requests.waiting() == [] and request.secret is None
    else:
        taking = gevent.spawn(scene.take, request)
        assert scene.give_unapproved(request, SECRET) and taking.get(timeout=5) == SECRET.reveal()
    assert asked == [request]


def test_what_the_owner_allowed_on_the_screen_needs_no_newer_tap() -> None:
    scene = Scene(lambda request: True)
    scene.approve()
    scene.now += 1
    request = scene.requests.begin("job", 1, "")
    taking = gevent.spawn(scene.take, request)
    assert scene.give_unapproved(request, SECRET) and taking.get(timeout=5) == SECRET.reveal()


def test_an_approval_of_another_phone_or_one_that_was_taken_back_does_not_count() -> None:
    scene = Scene()
    request = scene.requests.begin("job", 1, "", seen=True)
    scene.approve("other")
    assert outcome(lambda: scene.give_unapproved(request, SECRET)) is Outcome.NOT_ARMED
    scene.approve()
    scene.permissions.apply(Change.CLOSED, "phone", 0)
    assert outcome(lambda: scene.give_unapproved(request, SECRET)) is Outcome.NOT_ARMED


# ---- what a request takes from the window ----


def test_a_request_that_is_refused_at_once_closes_no_gate_and_makes_nothing_late() -> None:
    def no_one(request: SecretRequest) -> bool:
        raise NovaKeyError("no notification service", "start one")

    scene = Scene(no_one)
    scene.permissions.apply(Change.ARMED, "phone", scene.now * 1000, 60_000)
    scene.now += 1
    request = scene.requests.begin("loop", 1, "")
    assert request.given.wait(5) and request.refused
    assert scene.permissions.of("phone").arming.is_open(scene.now * 1000)
    assert scene.requests.for_device("phone") is None


def test_a_program_whose_question_was_ignored_pauses_longer_each_time() -> None:
    asked: list[SecretRequest] = []

    def ignored(request: SecretRequest) -> bool:
        asked.append(request)
        raise UnansweredError("it was not allowed on the screen")

    scene = Scene(ignored)
    for pause in (AFTER_IGNORED_S, 2 * AFTER_IGNORED_S):
        assert scene.requests.begin("loop", 1, "").given.wait(5)
        scene.now += pause - 1
        with pytest.raises(NovaKeyError, match="the last question of this program was not answered"):
            scene.requests.begin("loop", 1, "")
        assert scene.requests.begin("loop", 1, "", seen=True), "a person sees that one"
        scene.now += 1
    assert len(asked) == 2
    assert scene.requests.begin("another", 2, "").given.wait(5) and len(asked) == 3


def test_a_request_that_ends_closes_only_what_was_opened_for_it() -> None:
    scene = Scene()
    scene.permissions.apply(Change.ARMED, "window", scene.now * 1000, 60_000)
    scene.now += 1
    request = scene.requests.begin("ssh-add", 1, "")
    scene.permissions.apply(Change.ARMED, "request", scene.now * 1000, 60_000)
    scene.requests.end(request)
    assert scene.permissions.armed(scene.now * 1000).keys() == {"window"}


def test_one_kill_makes_one_start_late_and_not_each_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("novakey.messages.requests.LATE_S", 0.05)
    marker = tmp_path / "asking"
    Scene(marker=marker).requests.begin("ssh-add", 1, "")
    scene = Scene(marker=marker)
    assert outcome(lambda: scene.requests.for_device("phone")) is Outcome.RATE_LIMIT
    scene.now += 1
    gevent.sleep(0.2)
    assert not marker.exists()
    assert Scene(marker=marker).requests.for_device("phone") is None


def test_the_queue_has_an_end() -> None:
    scene = Scene()
    for number in range(MAX_WAITING):
        scene.requests.begin("loop", number, "")
    with pytest.raises(NovaKeyError, match="wait for a secret already"):
        scene.requests.begin("loop", 99, "")
