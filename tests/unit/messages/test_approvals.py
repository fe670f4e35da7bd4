"""Who approves what, and for which window. The person is a function here."""

from __future__ import annotations

from collections.abc import Callable

import gevent
import pytest

from novakey.config.settings import Settings
from novakey.desktop.base import Focus
from novakey.messages.approvals import ALLOW, DENY, PUT_AWAY, ApprovalRequest, Approvals, CannotAskError
from novakey.messages.exchange import Exchange
from novakey.messages.permissions import AFTER_DENIAL_S, Change, Permissions
from novakey.messages.recent import REPEAT_S
from novakey.messages.targets import RequestTarget, Target, WindowTarget
from novakey.system.clock import Clock
from novakey.wire.refused import Refused
from novakey.wire.reply import Outcome

WAIT_S = 10.0
HERE, ELSEWHERE = Focus(1, program="xterm"), Focus(2, program="chat")


class Scene:
    """Approvals of some settings, with a clock, a focus and a person that the test moves."""

    def __init__(
        self, person: Callable[[ApprovalRequest], str | None] = lambda request: None, **settings: object
    ) -> None:
        self.now = 1000.0
        self.focus: Focus | None = HERE
        self.asked: list[ApprovalRequest] = []

        def ask(request: ApprovalRequest, seconds: float) -> str | None:
            self.asked.append(request)
            return person(request)

        self.permissions = Permissions()
        self.exchange = Exchange(self.now + WAIT_S, Clock(monotonic=lambda: self.now))
        self.approvals = Approvals(
            Settings(**settings),  # type: ignore[arg-type]
            self.permissions,
            lambda: WindowTarget.of(self.focus),
            ask,
            Clock(monotonic=lambda: self.now),
        )

    def send(self, device: str = "a") -> Outcome | None:
        """None where it would be delivered now into the focused window; else what the phone is told."""
        try:
            self.approvals.request(device, self.exchange)
            self.approvals.check(device)
            self.approvals.check_target(device, WindowTarget.of(self.focus))
        except Refused as refused:
            return refused.outcome
        return None


def settle() -> None:
    gevent.sleep(0)
    gevent.sleep(0)


def test_by_default_the_phone_approves_and_no_question_is_shown() -> None:
    scene = Scene()
    assert scene.send() is Outcome.NEEDS_APPROVE
    assert scene.approvals.by_phone("a") == "approved_for_ms=15000"
    scene.focus = ELSEWHERE
    assert scene.send() is None
    assert scene.send("b") is Outcome.NEEDS_APPROVE, "another device's approval does not serve"
    scene.now += 15
    assert scene.send() is Outcome.NEEDS_APPROVE
    settle()
    assert scene.asked == []


@pytest.mark.parametrize("approver", ["phone", "computer", "either"])
def test_without_two_man_an_approval_succeeds_and_opens_nothing(approver: str) -> None:
    scene = Scene(two_man_enabled=False, two_man_approver=approver)
    assert scene.send() is None
    assert "opened nothing" in scene.approvals.by_phone("a")
    assert scene.permissions.approved(0) == {}


def test_with_computer_no_device_approves_itself_and_is_told_so_without_a_refusal() -> None:
    scene = Scene(two_man_approver="computer")
    assert "opened nothing" in scene.approvals.by_phone("a")
    assert scene.permissions.approved(0) == {}
    assert scene.send() is Outcome.NEEDS_APPROVE


def test_with_computer_an_approval_is_refused_while_the_owners_denial_holds() -> None:
    scene = Scene(two_man_approver="computer")
    scene.approvals.deny("a")
    with pytest.raises(Refused) as caught:
        scene.approvals.by_phone("a")
    assert caught.value.outcome is Outcome.NEEDS_APPROVE
    scene.now += AFTER_DENIAL_S
    assert scene.approvals.by_phone("a")


def test_with_either_the_phone_or_the_owner_is_enough() -> None:
    scene = Scene(lambda request: ALLOW, two_man_approver="either")
    scene.approvals.by_phone("a")
    assert scene.send() is None and scene.asked == []
    assert scene.send("b") is Outcome.NEEDS_APPROVE
    settle()
    assert scene.send("b") is None


def test_the_owner_is_asked_once_and_the_approval_holds_for_the_window_asked_about() -> None:
    scene = Scene(lambda request: ALLOW, two_man_approver="computer")
    assert scene.send() is Outcome.NEEDS_APPROVE
    assert scene.send() is Outcome.NEEDS_APPROVE
    scene.focus = ELSEWHERE  # the answer comes when something else has the focus
    settle()
    assert [request.program for request in scene.asked] == ["xterm"]
    assert scene.send() is Outcome.NEEDS_APPROVE
    scene.focus = None
    assert scene.send() is Outcome.NEEDS_APPROVE, "a focus that cannot be read is another one"
    scene.focus = HERE
    assert scene.send() is None


def test_waiting_for_the_owner_delivers_in_one_go() -> None:
    def person(request: ApprovalRequest) -> str:
        gevent.sleep(0.02)
        return ALLOW

    scene = Scene(person, two_man_approver="computer", approve_wait_ms=5000)
    with gevent.Timeout(5):
        assert scene.send() is None


def test_many_messages_at_once_ask_once_while_looking_at_the_screen_takes_its_time() -> None:
    scene = Scene(lambda request: gevent.sleep(5), two_man_approver="computer")

    def looking(focus: Focus | None) -> None:
        gevent.sleep(0.02)

    jobs = [gevent.spawn(scene.approvals.request, "a", scene.exchange, check=looking) for _ in range(20)]
    gevent.joinall(jobs, timeout=5, raise_error=True)
    settle()
    assert len(scene.asked) == 1
    scene.approvals.close()


def test_a_denial_counts_for_a_message_that_was_about_to_ask() -> None:
    scene = Scene(two_man_approver="computer")
    with pytest.raises(Refused, match="denied"):
        scene.approvals.request("a", scene.exchange, check=lambda focus: scene.approvals.deny("a"))
    settle()
    assert scene.asked == []


def test_a_denial_is_told_and_ends_the_asking_for_a_moment() -> None:
    scene = Scene(lambda request: DENY, two_man_approver="computer", approve_wait_ms=5000)
    with gevent.Timeout(5):
        assert scene.send() is Outcome.NEEDS_APPROVE
    assert scene.send() is Outcome.NEEDS_APPROVE
    settle()
    assert len(scene.asked) == 1
    scene.now += AFTER_DENIAL_S
    with gevent.Timeout(5):
        scene.send()
    assert len(scene.asked) == 2


def test_a_prompt_that_is_put_away_is_over_for_that_text_and_for_no_other() -> None:
    scene = Scene(lambda request: PUT_AWAY, two_man_approver="either")

    def send(text: bytes) -> str:
        with pytest.raises(Refused) as caught:
            scene.approvals.request("a", scene.exchange, digest=text)
            settle()
            scene.approvals.check("a", text)
        assert caught.value.outcome is Outcome.NEEDS_APPROVE
        return caught.value.msg

    assert send(b"one") == send(b"one") == "put away on the computer: nothing was typed"
    assert len(scene.asked) == 1
    assert send(b"two").startswith("put away")
    assert len(scene.asked) == 2, "another message asks"
    scene.now += REPEAT_S
    assert send(b"two").startswith("put away")
    assert len(scene.asked) == 3, "so does the next tap"
    scene.approvals.by_phone("a")
    scene.approvals.check("a", b"two")


def test_each_denial_in_a_row_doubles_the_pause_up_to_an_hour_until_allowed() -> None:
    answer = DENY
    scene = Scene(lambda request: answer, two_man_approver="computer")

    def quiet_s() -> float:
        """Seconds after a denial until the owner is asked again, which is denied too."""
        began, asked = scene.now, len(scene.asked)
        while len(scene.asked) == asked:
            scene.now += 5.0
            scene.send()
            settle()
        return scene.now - began

    scene.send()
    settle()
    assert [quiet_s() for _ in range(10)] == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]
    scene.approvals.deny("a")
    scene.approvals.deny("a")
    assert quiet_s() == 3600, "saying it again prolongs nothing"
    answer = ALLOW
    assert quiet_s() == 3600
    assert scene.send() is None
    scene.permissions.apply(Change.CLOSED, "a", 0)
    answer = DENY
    scene.send()
    settle()
    assert quiet_s() == 10


def test_after_a_denial_the_phone_does_not_approve_itself_for_a_moment_either() -> None:
    scene = Scene(lambda request: DENY, two_man_approver="either")
    scene.send()
    settle()
    with pytest.raises(Refused, match="denied"):
        scene.approvals.by_phone("a")
    assert scene.send() is Outcome.NEEDS_APPROVE
    scene.now += AFTER_DENIAL_S
    scene.approvals.by_phone("a")
    assert scene.send() is None


def test_an_unanswered_question_is_no_approval() -> None:
    scene = Scene(lambda request: None, two_man_approver="computer")
    scene.send()
    settle()
    assert scene.approvals.waiting() == []
    assert scene.send() is Outcome.NEEDS_APPROVE


def test_an_unanswered_question_comes_back_only_after_a_pause_that_grows() -> None:
    scene = Scene(lambda request: None, two_man_approver="computer")
    for pause in (AFTER_DENIAL_S, 2 * AFTER_DENIAL_S):
        scene.send()
        settle()
        asked = len(scene.asked)
        scene.now += pause - 0.1
        assert scene.send() is Outcome.NEEDS_APPROVE
        settle()
        assert len(scene.asked) == asked, "not yet"
        assert scene.approvals.by_phone("a"), "it was no denial"
        scene.now += 0.1
    scene.send()
    settle()
    assert len(scene.asked) == 3
    scene.approvals.grant("a")
    assert scene.send() is None, "the owner may still approve"


def test_a_question_stays_for_as_long_as_a_secret_waits_for_its_answer() -> None:
    seen: list[float] = []
    approvals = Approvals(
        Settings(two_man_approver="computer", approve_wait_ms=60_000),
        Permissions(),
        show=lambda request, seconds: seen.append(seconds),
    )
    approvals.request("a", Exchange(float("inf")))
    assert seen == [60.0]


def test_where_no_person_can_be_asked_the_command_line_answers() -> None:
    def no_one(request: ApprovalRequest) -> str | None:
        raise CannotAskError("no service")

    scene = Scene(no_one, two_man_approver="computer")
    scene.send()
    settle()
    assert [request.device_id for request in scene.approvals.waiting()] == ["a"]
    scene.focus = ELSEWHERE  # the terminal in which `approve` is typed
    scene.approvals.grant("a")
    assert scene.approvals.waiting() == []
    scene.focus = HERE
    assert scene.send() is None


def test_an_approval_without_a_question_is_for_what_has_the_focus() -> None:
    scene = Scene(two_man_approver="computer")
    scene.approvals.grant("a")
    scene.focus = ELSEWHERE
    assert scene.send() is Outcome.NEEDS_APPROVE
    scene.focus = HERE
    assert scene.send() is None


def test_an_approval_for_a_focus_that_could_not_be_read_is_for_no_window_that_can() -> None:
    scene = Scene(lambda request: ALLOW, two_man_approver="computer")
    scene.focus = None
    scene.send()
    settle()
    scene.focus = HERE
    assert scene.send() is Outcome.NEEDS_APPROVE
    scene.focus = None
    assert scene.send() is None


def test_an_answer_to_a_question_that_is_over_approves_nothing() -> None:
    answers: list[str] = []

    def person(request: ApprovalRequest) -> str:
        gevent.sleep(0.05)
        answers.append(ALLOW)
        return ALLOW

    scene = Scene(person, two_man_approver="either")
    for end in (scene.approvals.by_phone, scene.approvals.deny, scene.approvals.forget):
        scene.send()
        settle()
        assert len(scene.approvals.waiting()) == 1
        end("a")
        scene.permissions.apply(Change.CLOSED, "a", 0)
        gevent.sleep(0.1)
        assert answers == [], "the question was taken away"
        assert scene.approvals.waiting() == []
        assert not scene.permissions.of("a").approval.is_open(scene.now * 1000)
        scene.approvals.forget("a")


def test_a_question_that_fails_on_the_screen_does_not_stay_for_ever() -> None:
    def broken(request: ApprovalRequest) -> str:
        raise RuntimeError("a fault of ours")

    scene = Scene(broken, two_man_approver="computer")
    scene.send()
    settle()
    assert scene.approvals.waiting() == []
    scene.send()
    settle()
    assert len(scene.asked) == 2


def test_what_the_owner_decided_is_told() -> None:
    decided: list[tuple[str, str, str]] = []
    approvals = Approvals(
        Settings(two_man_approver="computer"),
        Permissions(),
        lambda: WindowTarget.of(HERE),
        on_decided=lambda *what: decided.append(what),
    )
    approvals.grant("a")
    approvals.deny("a")
    assert decided == [("approved", "a", "xterm"), ("denied", "a", "")]


def test_what_the_policy_refuses_is_not_asked_about() -> None:
    scene = Scene(lambda request: ALLOW, two_man_approver="computer")

    def refuse(focus: Focus | None) -> None:
        raise Refused(Outcome.BAD_REQUEST, "target refused", "chat")

    with pytest.raises(Refused):
        scene.approvals.request("a", scene.exchange, check=refuse)
    settle()
    assert scene.asked == [] and scene.approvals.waiting() == []


@pytest.mark.parametrize(
    ("target", "purpose"),
    [
        (WindowTarget.of(Focus(window=7, program="xterm")), "type into xterm"),
        (WindowTarget.of(Focus(window=7, program=None)), "type into a window"),
        (WindowTarget.of(None), "type into a window"),
        (RequestTarget(3, "bash", "request 3 of bash"), "answer request 3 of bash"),
    ],
)
def test_the_owner_is_told_what_the_device_wants(target: Target, purpose: str) -> None:
    assert ApprovalRequest("pocket", target, 0.0).purpose == purpose
