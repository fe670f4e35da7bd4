"""Two-man approval: who gives it (`two_man_approver`), and for which window.

The phone's own approval is for any window that has the focus when the secret comes.
One given on the computer is for the window that the owner was asked about (or
that had the focus, when no person had been asked): what was on the screen then is
what was agreed to. Where the focus could not be read then, it is for no window
that can be told from others. With `computer`, no device can approve itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import gevent
from gevent.event import Event

from novakey.config.settings import Settings
from novakey.desktop.base import Focus
from novakey.log.format import escape
from novakey.messages.exchange import Exchange
from novakey.messages.gates import Gates
from novakey.messages.recent import program_of
from novakey.system.clock import CLOCK, Clock
from novakey.wire.refused import Refused
from novakey.wire.reply import Outcome

log = logging.getLogger(__name__)

ASK_S = 30.0  # how long a question stays on the screen
# A phone that goes on asking must not wear its owner down: each denial in a row makes it wait twice as long.
AFTER_DENIAL_S = 10.0
AFTER_DENIALS_S = 3600.0

ALLOW, DENY = "allow", "deny"

NOT_KNOWN = "not known"  # the window of an approval where the focus could not be read


class CannotAskError(Exception):
    """There is no way to ask the person on the screen; says why."""


class Question:
    """A device that waits for the owner's word.

    It would type into `focus` or, by its name, answer the `request` of a program.
    """

    def __init__(self, device_id: str, focus: Focus | None, until: float, request: str = "") -> None:
        self.device_id = device_id
        self.focus = focus
        self.until = until
        self.request = request
        self.answered = Event()
        self.asking: gevent.Greenlet | None = None

    @property
    def program(self) -> str:
        """The program with the focus when it was asked; empty when that is not known."""
        return program_of(self.focus)

    @property
    def purpose(self) -> str:
        """What the device wants to do, for people."""
        return f"answer {self.request}" if self.request else f"type into {self.program or 'a window'}"


Ask = Callable[[Question, float], str | None]
"""Shows a question for some seconds: `ALLOW`, `DENY`, or None. `CannotAskError` when no person can be asked.

One that was put away without an answer is a `DENY`: else a phone could go on asking until somebody gives in.
"""

Decided = Callable[[str, str, str], None]
"""Hears what the owner decided: `approved` or `denied`, the device, the program (empty when not known)."""


def _cannot_ask(question: Question, seconds: float) -> str | None:
    raise CannotAskError("no way to ask")


class Approvals:
    """Who has approved what. `look` tells what has the focus now."""

    def __init__(
        self,
        settings: Settings,
        gates: Gates,
        look: Callable[[], Focus | None] = lambda: None,
        ask: Ask = _cannot_ask,
        clock: Clock = CLOCK,
        on_decided: Decided = lambda decision, device_id, program: None,
    ) -> None:
        self._settings = settings
        self._gate = gates.approval
        self._look = look
        self._ask = ask
        self._monotonic = clock.monotonic
        self._on_decided = on_decided
        self._questions: dict[str, Question] = {}
        self._denied: dict[str, float] = {}  # until when
        self._ignored: dict[str, float] = {}  # until when
        self._pauses: dict[str, int] = {}  # denied or ignored, in a row
        self._question_s = max(ASK_S, settings.approve_wait_ms / 1000.0)

    @property
    def on_computer(self) -> bool:
        """Whether the owner here approves, alone or as well as the phone."""
        return self._settings.two_man_enabled and self._settings.two_man_approver != "phone"

    @property
    def only_on_computer(self) -> bool:
        """Whether no phone approves."""
        return self._settings.two_man_enabled and self._settings.two_man_approver == "computer"

    def by_phone(self, device_id: str) -> str:
        """Approve a device's own next secret, and return the `msg`. `Refused` while a denial holds.

        Where it is not the phone that approves, that opens nothing, and is no refusal: the phone in the
        field approves before each secret, and sends none where that fails.
        """
        self._gate.note(device_id, self._now_ms())
        if not self._settings.two_man_enabled:
            return "two-man approval is off on this computer: this opened nothing, and none is needed"
        self._refuse_denied(device_id)  # else "either" would make of the owner's "deny" a matter of taps
        if self.only_on_computer:
            return "approval is given on the computer: this opened nothing; send, and the owner is asked"
        self._end(device_id)  # an answer that comes later must not open it a second time
        self._gate.open(device_id, self._now_ms(), self._settings.approve_window_ms)
        return f"approved_for_ms={self._settings.approve_window_ms}"

    def ask_for(
        self,
        device_id: str,
        may_ask: Callable[[Focus | None], None],
        exchange: Exchange,
        focus: Focus | None = None,
        request: str = "",
    ) -> None:
        """Ask the owner where that is needed, and wait as `approve_wait_ms` says.

        It is about `focus`, or else what has the focus now; where that stands for the request of a program,
        `request` is how people know it. `may_ask` raises `Refused` where the
        owner need not be asked. Returns whether or not there is an approval then: `check` tells.
        """
        if not self.on_computer or self._is_open(device_id):
            return
        self._refuse_denied(device_id)
        question = self._questions.get(device_id)
        if question is None:
            self._refuse_ignored(device_id)
            focus = focus or self._look()
            may_ask(focus)
            # Looking takes a moment, in which another message of this device may have asked, or had its
            # answer. A second question would hide the first, and a "deny" on that one would be lost.
            if self._is_open(device_id):
                return
            self._refuse_denied(device_id)
            question = self._questions.get(device_id) or self._begin(device_id, focus, request)
        if self._settings.approve_wait_ms:
            with exchange.waiting():
                question.answered.wait(self._settings.approve_wait_ms / 1000.0)

    def check(self, device_id: str) -> None:
        """Raise `Refused` unless an approval is open for the device, or none is needed."""
        if not self._settings.two_man_enabled or self._is_open(device_id):
            return
        if not self.on_computer:
            raise Refused(Outcome.NEEDS_APPROVE, "approve first, then send")
        self._refuse_denied(device_id)
        raise Refused(Outcome.NEEDS_APPROVE, "approve it on the computer, then send again")

    def check_revoked(self, device_id: str) -> None:
        """Raise `Refused` if the approval that `check` found was taken back."""
        if self._settings.two_man_enabled and not self._gate.stands(device_id):
            raise Refused(Outcome.NEEDS_APPROVE, "the approval was taken back")

    def check_target(self, device_id: str, focus: Focus | None) -> None:
        """Raise `Refused` unless the approval still allows this window."""
        self.check_revoked(device_id)
        window = self._gate.bound_to(device_id)
        if window is not None and _window(focus) != window:
            raise Refused(
                Outcome.NEEDS_APPROVE,
                "the approval was for another window: bring that one to the front and send again",
                program_of(focus),
            )

    def questions(self) -> list[Question]:
        """Return the questions that wait for the owner."""
        return [question for question in self._questions.values() if self._monotonic() < question.until]

    def grant(self, device_id: str) -> str:
        """Approve the device's next secret for the window of the question, or else the focused one.

        The program of that window; empty where the approval is for any, or it is not known.
        """
        question = self._questions.get(device_id)
        return self._approve(device_id, question.focus if question is not None else self._focus())

    def grant_for(self, device_id: str, focus: Focus) -> None:
        """Note an approval from another question for the device's next secret, for `focus` only."""
        is_enough = self._is_open(device_id) and self._gate.bound_to(device_id) in (None, focus.window)
        if self.on_computer and not is_enough:
            self._approve(device_id, focus)

    def _approve(self, device_id: str, focus: Focus | None) -> str:
        window = _window(focus) if self.on_computer else None
        self._gate.open(device_id, self._now_ms(), self._settings.approve_window_ms, window)
        self._forgive(device_id)
        self._end(device_id)
        self._on_decided("approved", device_id, program_of(focus))
        return program_of(focus)

    def deny(self, device_id: str) -> None:
        """Deny the device: close an open approval, and refuse its questions for a while.

        Twice as long after each question in a row that was denied or ignored, up to an hour; saying it once
        more without a question prolongs nothing.
        """
        question = self._questions.get(device_id)
        self._gate.close(device_id)
        if question is not None or not self._is_denied(device_id):
            self._denied[device_id] = self._after_pause(device_id, question is not None)
        self._end(device_id)
        self._on_decided("denied", device_id, question.program if question is not None else "")

    def forget(self, device_id: str) -> None:
        """Forget the questions and answers of a revoked device."""
        self._gate.close(device_id)
        self._forgive(device_id)
        self._end(device_id)

    def close(self) -> None:
        """Take every question away: no caller listens any more."""
        for device_id in list(self._questions):
            self._end(device_id)

    def _begin(self, device_id: str, focus: Focus | None, request: str) -> Question:
        question = Question(device_id, focus, self._monotonic() + self._question_s, request)
        self._questions[device_id] = question
        question.asking = gevent.spawn(self._put, question)
        return question

    def _put(self, question: Question) -> None:
        shown = escape(question.device_id)
        log.info("%s asks to %s: approve or deny it on this computer", shown, question.purpose)
        answer: str | None = None
        try:
            try:
                answer = self._ask(question, self._question_s)
            except CannotAskError as error:
                log.warning("no question can be shown (%s): use novakey.py approve, or deny", error)
                question.answered.wait(max(0.0, question.until - self._monotonic()))
            if self._questions.get(question.device_id) is question:
                self._answered(question.device_id, answer)
        finally:
            if self._questions.get(question.device_id) is question:
                self._end(question.device_id)

    def _answered(self, device_id: str, answer: str | None) -> None:
        if answer == ALLOW:
            self.grant(device_id)
        elif answer == DENY:
            self.deny(device_id)
        else:
            self._ignored[device_id] = self._after_pause(device_id, counts=True)

    def _after_pause(self, device_id: str, counts: bool) -> float:
        """When the owner may be asked again: after twice as long as before, where this time `counts`."""
        if counts:
            self._pauses[device_id] = self._pauses.get(device_id, 0) + 1
        doubled = AFTER_DENIAL_S * 2.0 ** min(self._pauses.get(device_id, 1) - 1, 20)
        return self._monotonic() + min(doubled, AFTER_DENIALS_S)

    def _refuse_ignored(self, device_id: str) -> None:
        left = self._ignored.get(device_id, 0.0) - self._monotonic()
        if left > 0:
            told = f"the owner did not answer: it can be asked again in {int(left) + 1} s"
            raise Refused(Outcome.NEEDS_APPROVE, told)

    def _is_denied(self, device_id: str) -> bool:
        return self._monotonic() < self._denied.get(device_id, 0.0)

    def _refuse_denied(self, device_id: str) -> None:
        if self._is_denied(device_id):
            left = int(self._denied[device_id] - self._monotonic()) + 1
            raise Refused(Outcome.NEEDS_APPROVE, f"denied on the computer: it can be asked again in {left} s")

    def _forgive(self, device_id: str) -> None:
        for of_device in (self._denied, self._ignored, self._pauses):
            of_device.pop(device_id, None)

    def _focus(self) -> Focus | None:
        return self._look() if self.on_computer else None

    def _end(self, device_id: str) -> None:
        question = self._questions.pop(device_id, None)
        if question is None:
            return
        question.answered.set()
        if question.asking is not None and question.asking is not gevent.getcurrent():
            question.asking.kill(block=False)  # takes it off the screen

    def _is_open(self, device_id: str) -> bool:
        return self._gate.is_open(device_id, self._now_ms())

    def _now_ms(self) -> float:
        return self._monotonic() * 1000.0


def _window(focus: Focus | None) -> int | str:
    return focus.window if focus is not None else NOT_KNOWN
