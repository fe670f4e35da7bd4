"""Two-man approval: who gives it (`two_man_approver`), and what it is tied to.

The phone's own approval is for any window that has the focus when the secret comes.
One given on the computer is tied to the window that the owner was prompted about (or
that had the focus, if there was no prompt), because that is what the owner agreed to.
If the focus could not be read at that time, it is not tied to a window that can be
read. With `computer`, no device can approve itself.

What is allowed, and for how long, is in `permissions`; this file prompts the owner.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from novakey.config.settings import Settings
from novakey.desktop.base import Focus
from novakey.log.format import escape
from novakey.messages.exchange import Exchange
from novakey.messages.permissions import Change, Permissions
from novakey.messages.prompt import Prompt
from novakey.messages.recent import REPEAT_S
from novakey.messages.targets import RequestTarget, Target, WindowTarget
from novakey.system.clock import CLOCK, Clock
from novakey.wire.refused import Refused
from novakey.wire.reply import Outcome

log = logging.getLogger(__name__)

PROMPT_S = 30.0  # how long a prompt stays on the screen

ALLOW, DENY, PUT_AWAY = "allow", "deny", "put away"


class CannotAskError(Exception):
    """There is no way to prompt the person on the screen; says why."""


class ApprovalRequest:
    """A device that waits for the owner's word about `target`, until a time of the monotonic clock."""

    def __init__(self, device_id: str, target: Target, until: float) -> None:
        self.device_id = device_id
        self.target = target
        self.until = until
        self.prompt: Prompt | None = None
        self.digests: set[bytes] = set()  # of the texts that wait for its answer

    @property
    def program(self) -> str:
        """The program that would get the secret; empty if it is not known."""
        return self.target.program

    @property
    def purpose(self) -> str:
        """What the device wants to do, for people."""
        return self.target.purpose


ShowPrompt = Callable[[ApprovalRequest, float], str | None]
"""Shows a request for some seconds: `ALLOW`, `DENY`, `PUT_AWAY`, or None if no person answered.

`CannotAskError` if no person can be prompted.
"""

Decided = Callable[[str, str, str], None]
"""Receives the owner's decision, the device, the program (empty if not known).

A decision is `approved`, `denied` or `put away`.
"""


def _cannot_ask(request: ApprovalRequest, seconds: float) -> str | None:
    raise CannotAskError("no way to ask")


class Approvals:
    """Approvals by phones and by the owner. `look` returns what a secret would go to now."""

    def __init__(
        self,
        settings: Settings,
        permissions: Permissions,
        look: Callable[[], Target] = lambda: WindowTarget(None),
        show: ShowPrompt = _cannot_ask,
        clock: Clock = CLOCK,
        on_decided: Decided = lambda decision, device_id, program: None,
    ) -> None:
        self._settings = settings
        self._permissions = permissions
        self._look = look
        self._show = show
        self._clock = clock
        self._on_decided = on_decided
        self._waiting: dict[str, ApprovalRequest] = {}
        self._put_away: dict[str, tuple[frozenset[bytes], float]] = {}  # texts, and until when, by device
        self._prompt_s = max(PROMPT_S, settings.approve_wait_ms / 1000.0)

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

        If phones do not approve here, that opens nothing and is no refusal, because the phone in the
        field approves before each secret, and sends none if that fails.
        """
        self._apply(Change.REQUESTED, device_id)
        if not self._settings.two_man_enabled:
            return "two-man approval is off on this computer: this opened nothing, and none is needed"
        self._refuse_denied(device_id)  # else "either" would make of the owner's "deny" a matter of taps
        if self.only_on_computer:
            return "approval is given on the computer: this opened nothing; send, and the owner is asked"
        self._end(device_id)  # an answer that comes later must not open it a second time
        self._apply(Change.APPROVED_BY_PHONE, device_id, self._settings.approve_window_ms)
        return f"approved_for_ms={self._settings.approve_window_ms}"

    def request(
        self,
        device_id: str,
        exchange: Exchange,
        target: Target | None = None,
        check: Callable[[Focus | None], None] = lambda focus: None,
        digest: bytes = b"",
    ) -> None:
        """Prompt the owner if that is needed, and wait as `approve_wait_ms` says.

        The prompt is about `target`, or else about the window with the focus now, for which `check` raises
        `Refused` if the owner need not be prompted. Returns with or without an approval: see `check`.
        `digest` tells the text from others: a prompt that was put away does not come back for its retry.
        """
        if not self.on_computer or self._is_open(device_id):
            return
        self._refuse_denied(device_id)
        self._refuse_put_away(device_id, digest)
        request = self._waiting.get(device_id)
        if request is None:
            self._refuse_ignored(device_id)
            target = target or self._look()
            if isinstance(target, WindowTarget):
                check(target.focus)
            # Looking takes a moment, in which another message of this device may have asked, or had its
            # answer. A second prompt would hide the first, and a "deny" on that one would be lost.
            if self._is_open(device_id):
                return
            self._refuse_denied(device_id)
            self._refuse_put_away(device_id, digest)
            request = self._waiting.get(device_id) or self._begin(device_id, target)
        request.digests.add(digest)
        if self._settings.approve_wait_ms and request.prompt is not None:
            with exchange.waiting():
                request.prompt.wait(self._settings.approve_wait_ms / 1000.0)

    def check(self, device_id: str, digest: bytes = b"") -> None:
        """Raise `Refused` unless an approval is open for the device, or none is needed."""
        if not self._settings.two_man_enabled or self._is_open(device_id):
            return
        if not self.on_computer:
            raise Refused(Outcome.NEEDS_APPROVE, "approve first, then send")
        self._refuse_denied(device_id)
        self._refuse_put_away(device_id, digest)
        raise Refused(Outcome.NEEDS_APPROVE, "approve it on the computer, then send again")

    def check_revoked(self, device_id: str) -> None:
        """Raise `Refused` if the approval that `check` found was taken back."""
        if self._settings.two_man_enabled and self._permissions.of(device_id).approval.until_ms is None:
            raise Refused(Outcome.NEEDS_APPROVE, "the approval was taken back")

    def check_target(self, device_id: str, target: Target) -> None:
        """Raise `Refused` unless the approval still allows this target."""
        self.check_revoked(device_id)
        if self._permissions.of(device_id).approval.target not in (None, target):
            raise Refused(
                Outcome.NEEDS_APPROVE,
                "the approval was for another window: bring that one to the front and send again",
                target.program,
            )

    def waiting(self) -> list[ApprovalRequest]:
        """Return the requests that wait for the owner."""
        now = self._clock.monotonic()
        return [request for request in self._waiting.values() if now < request.until]

    def grant(self, device_id: str) -> str:
        """Approve the device's next secret for the target of its request, or else for the focused window.

        Returns the program; empty if the approval is for any window, or the program is not known.
        """
        request = self._waiting.get(device_id)
        if request is not None:
            return self._approve(device_id, request.target)
        return self._approve(device_id, self._look() if self.on_computer else WindowTarget(None))

    def grant_for(self, device_id: str, target: RequestTarget) -> None:
        """Note an approval from the prompt about a request: for the device's next secret, for it only."""
        is_enough = self._is_open(device_id)
        is_enough = is_enough and self._permissions.of(device_id).approval.target in (None, target)
        if self.on_computer and not is_enough:
            self._approve(device_id, target)

    def _approve(self, device_id: str, target: Target) -> str:
        tied_to = target if self.on_computer else None
        self._apply(Change.APPROVED_BY_OWNER, device_id, self._settings.approve_window_ms, tied_to)
        self._end(device_id)
        self._on_decided("approved", device_id, target.program)
        return target.program

    def deny(self, device_id: str) -> None:
        """Deny the device: close an open approval, and refuse its requests for a while."""
        request = self._waiting.get(device_id)
        self._apply(Change.DENIED_UNASKED if request is None else Change.DENIED, device_id)
        self._end(device_id)
        self._on_decided("denied", device_id, request.program if request is not None else "")

    def forget(self, device_id: str) -> None:
        """Forget what was allowed to a revoked device, and what it waits for."""
        self._apply(Change.REVOKED, device_id)
        self._put_away.pop(device_id, None)
        self._end(device_id)

    def close(self) -> None:
        """Withdraw every prompt: the daemon ends."""
        for device_id in list(self._waiting):
            self._end(device_id)

    def _begin(self, device_id: str, target: Target) -> ApprovalRequest:
        request = ApprovalRequest(device_id, target, self._clock.monotonic() + self._prompt_s)
        self._waiting[device_id] = request
        request.prompt = Prompt(lambda: self._prompt(request))
        return request

    def _prompt(self, request: ApprovalRequest) -> None:
        shown = escape(request.device_id)
        log.info("%s asks to %s: approve or deny it on this computer", shown, request.purpose)
        answer: str | None = None
        try:
            try:
                answer = self._show(request, self._prompt_s)
            except CannotAskError as error:
                log.warning("no question can be shown (%s): use novakey.py approve, or deny", error)
                if request.prompt is not None:
                    request.prompt.wait(request.until - self._clock.monotonic())
            if self._waiting.get(request.device_id) is request:
                self._answered(request.device_id, answer)
        finally:
            if self._waiting.get(request.device_id) is request:
                self._end(request.device_id)

    def _answered(self, device_id: str, answer: str | None) -> None:
        if answer == ALLOW:
            self.grant(device_id)
        elif answer == DENY:
            self.deny(device_id)
        elif answer == PUT_AWAY:
            request = self._waiting[device_id]
            self._put_away[device_id] = frozenset(request.digests), self._clock.monotonic() + REPEAT_S
            self._apply(Change.PUT_AWAY, device_id)
            self._on_decided("put away", device_id, request.program)
        else:
            self._apply(Change.IGNORED, device_id)

    def _refuse_put_away(self, device_id: str, digest: bytes) -> None:
        digests, until = self._put_away.get(device_id, (frozenset(), 0.0))
        if digest in digests and self._clock.monotonic() < until:
            raise Refused(Outcome.NEEDS_APPROVE, "put away on the computer: nothing was typed")

    def _refuse_ignored(self, device_id: str) -> None:
        left = self._permissions.paused_for_s(device_id, self._clock.monotonic_ms())
        if left > 0:
            told = f"the owner did not answer: it can be asked again in {int(left) + 1} s"
            raise Refused(Outcome.NEEDS_APPROVE, told)

    def _refuse_denied(self, device_id: str) -> None:
        left = self._permissions.refused_for_s(device_id, self._clock.monotonic_ms())
        if left > 0:
            told = f"denied on the computer: it can be asked again in {int(left) + 1} s"
            raise Refused(Outcome.NEEDS_APPROVE, told)

    def _end(self, device_id: str) -> None:
        request = self._waiting.pop(device_id, None)
        if request is not None and request.prompt is not None:
            request.prompt.withdraw()

    def _is_open(self, device_id: str) -> bool:
        return self._permissions.of(device_id).approval.is_open(self._clock.monotonic_ms())

    def _apply(self, change: Change, device_id: str, ms: int = 0, target: Target | None = None) -> None:
        self._permissions.apply(change, device_id, self._clock.monotonic_ms(), ms, target)
