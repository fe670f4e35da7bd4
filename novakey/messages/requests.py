"""Pull mode: programs that wait for a secret from a phone. One is served at a time, the others queue.

The next secret goes to the program at the head of the queue instead of the
focused window. A request lives as long as the connection of the program that
made it. A secret that comes just after its request has gone must end up neither
in the window with the focus now nor with the next program in the queue, so for a
moment nothing is delivered at all; a file remembers that over a restart.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import gevent

from novakey.errors import NovaKeyError
from novakey.messages.exchange import Exchange
from novakey.messages.pages import Page
from novakey.messages.permissions import Permissions
from novakey.messages.prompt import Prompt
from novakey.messages.secret_request import Confirm, Note, SecretRequest, UnansweredError
from novakey.messages.targets import RequestTarget
from novakey.secret import Secret
from novakey.system.clock import CLOCK, Clock
from novakey.wire.refused import Refused
from novakey.wire.reply import Outcome

MAX_WAITING = 12  # below control.server.MAX_LIVE: who asks in a loop must not keep the owner out
LATE_S = 10.0  # from the tap on the phone to the message here it is a second or two
AGAIN_S = 3.0  # a second tap on the phone, when the first was enough
CONFIRM_S = 8.0  # waiting for the owner while the phone waits
# A program must not wear its owner down: each question in a row that was ignored makes it wait twice as long.
AFTER_IGNORED_S = 10.0
AFTER_IGNORED_MOST_S = 3600.0
DENIED, NOT_NOW = "denied", "not_now"  # why a request was refused, for programs
MAX_IGNORED = 64  # programs; a name costs nothing


class QueueFullError(NovaKeyError):
    """As many requests wait as may."""


class SecretRequests:
    """The queue.

    `confirm` is asked as soon as a request is made; None lets every request have its secret.
    `marker` is a file that is there while a request waits, or has just gone unanswered.
    """

    def __init__(
        self,
        permissions: Permissions,
        confirm: Confirm | None = None,
        clock: Clock = CLOCK,
        marker: Path | None = None,
        note: Note = lambda request, what, device_id: None,
    ) -> None:
        self._permissions = permissions
        self._confirm = confirm
        self._monotonic = clock.monotonic
        self._marker = marker
        self._note = note
        self._queue: list[SecretRequest] = []
        self._numbers = 0
        cut_short = marker is not None and marker.exists()  # the daemon before us had a request
        self._late_until = clock.monotonic() + LATE_S if cut_short else float("-inf")
        if cut_short:
            self._unmark()  # one start is late for a request that was cut short, and no later one
        self._again_until = float("-inf")
        self._digest_key = os.urandom(32)
        self._last_given, self._waited_then = b"", 0
        self._ignored: dict[str, tuple[float, int]] = {}  # until when, and how often in a row, by program

    @property
    def asks_owner(self) -> bool:
        """Whether a person is asked about a request."""
        return self._confirm is not None

    def waiting(self) -> list[SecretRequest]:
        """Return the requests, the one that is served first."""
        return list(self._queue)

    def target(self) -> RequestTarget | None:
        """Return the waiting request as the target of an approval, in place of a window."""
        return self._queue[0].target if self._queue else None

    def begin(
        self,
        program: str,
        pid: int,
        prompt: str,
        device_id: str | None = None,
        seen: bool = False,
        phones: tuple[str, ...] = (),
        page: Page | None = None,
    ) -> SecretRequest:
        """Queue a request. `seen` is one that its owner sees anyway, on the terminal that it came from.

        `page` is given where a browser asks for a field of one.
        """
        if len(self._queue) >= MAX_WAITING:
            raise QueueFullError(
                f"{MAX_WAITING} requests wait for a secret already", "answer or end some: novakey.py status"
            )
        if not seen and self._confirm is not None:
            self._refuse_ignored(program)
        self._numbers += 1
        shown_ms = self._monotonic() * 1000.0
        request = SecretRequest(self._numbers, program, pid, prompt, device_id, phones, shown_ms, page)
        self._queue.append(request)
        self._mark()
        self._note(request, "waiting", "")
        if seen or self._confirm is None:
            request.confirmed.set()
        else:
            self._question(request, self._confirm)
        return request

    def end(self, request: SecretRequest) -> None:
        """End the request: answered, refused, timed out, or left by its program."""
        if request not in self._queue:
            return
        served = self._queue[0] is request
        self._queue.remove(request)
        if request.taken.is_set() and request.failure is None:
            self._again_until = self._monotonic() + AGAIN_S
            gevent.spawn_later(AGAIN_S, self._forget_last)
        else:
            failed = "" if request.failure is None else str(request.failure.msg)
            self._note(request, request.refused or failed or "ended", "")
            if served and (not request.refused or request.was_left):
                self._late_until = self._monotonic() + LATE_S
                self._permissions.close_wanted_since(request.shown_ms)  # that was meant for this request
        self._unmark()
        if request.question is not None:
            request.question.withdraw()
        if request.secret is not None:
            request.secret.wipe()

    def place(self, request: SecretRequest) -> int:
        """How many are served before it; -1 when it is over."""
        return self._queue.index(request) if request in self._queue else -1

    def for_device(self, device_id: str) -> SecretRequest | None:
        """Return the request that this device's next secret goes to; None for the focused window.

        Raises `Refused` where it may be for neither. What ends by waiting is `rate_limit`, which phones
        word as *wait*.
        """
        now = self._monotonic()
        if now < self._late_until:
            left = int(self._late_until - now) + 1
            raise Refused(Outcome.RATE_LIMIT, f"the program that asked has gone: send again in {left} s")
        if not self._queue:
            if now < self._again_until:
                left = int(self._again_until - now) + 1
                told = f"the program that asked has its secret: to type one, send again in {left} s"
                raise Refused(Outcome.RATE_LIMIT, told)
            return None
        request = self._queue[0]
        if request.device_id not in (None, device_id):
            raise Refused(Outcome.NOT_ARMED, request.called("{} waits for another device"))
        return request

    def await_owner(
        self, request: SecretRequest, secret: Secret, device_id: str | None, exchange: Exchange
    ) -> None:
        """Wait until the owner has confirmed the request; `Refused` where it may not have this secret.

        Where `device_id` was armed and approved before the request came, that was for a window. The owner is
        asked then, also about a request on a terminal.
        """
        self._refuse_second_tap(request, self._digest(secret))
        is_meant = request.is_allowed or device_id is None
        is_meant = is_meant or self._permissions.were_wanted_since(device_id or "", request.shown_ms)
        if request.confirmed.is_set() and not is_meant:
            if self._confirm is None:
                raise Refused(Outcome.NOT_ARMED, request.called("{} came after that: arm again, then send"))
            request.confirmed.clear()
            self._question(request, self._confirm)
        with exchange.waiting():
            confirmed = request.confirmed.wait(CONFIRM_S)
        if not confirmed:
            raise Refused(
                Outcome.NEEDS_APPROVE, request.called("{} is to be confirmed on the computer first")
            )
        self.refuse_over(request)

    def give(self, request: SecretRequest, secret: Secret, device_id: str = "") -> str:
        """Hand the secret over, after `await_owner`; what the phone is told.

        `Refused` where the request is over, or the program does not take it. Nothing else runs before the
        secret is on its way.
        """
        self.refuse_over(request)
        self._last_given, self._waited_then = self._digest(secret), self._numbers
        request.secret = secret.copy()
        request.given.set()
        request.taken.wait(request.take_s)
        request.settle(request.untaken())  # no effect where it is taken
        self.end(request)  # before the phone has its reply: its next secret is for the next one
        if request.failure is not None:
            raise request.failure
        self._note(request, request.success, device_id)
        return request.called_given()

    def approved(self) -> set[str]:
        """Return the devices that the owner has allowed to answer a request that waits."""
        return {device_id for request in self._queue for device_id in request.approved}

    def take_back(self, device_id: str) -> None:
        """Withdraw the owner's permission for this device; the requests themselves stay."""
        for request in self._queue:
            request.approved.discard(device_id)

    def refuse_over(self, request: SecretRequest) -> None:
        """Raise `Refused` if the request was answered or is over."""
        if request not in self._queue or request.refused or request.given.is_set():
            raise Refused(Outcome.NOT_ARMED, request.called("{} is over"))

    def refuse(self, request: SecretRequest, reason: str, problem: str) -> None:
        """End a request that was not given its secret. `reason` is a word for programs."""
        request.refused, request.refused_by = problem, reason
        request.confirmed.set()
        self.end(request)
        request.given.set()  # there is nothing to wait for any more

    def _refuse_second_tap(self, request: SecretRequest, digest: bytes) -> None:
        """Refuse the same secret twice within a moment: the second was meant for the program before.

        Another secret is meant for the next one, and a program that asks only now has its own question.
        """
        left = self._again_until - self._monotonic()
        if left > 0 and request.number <= self._waited_then and digest == self._last_given:
            told = f"the program before {{}} has this secret: send again in {int(left) + 1} s"
            raise Refused(Outcome.RATE_LIMIT, request.called(told))

    def _digest(self, secret: Secret) -> bytes:
        """Tell equal secrets apart from others within this process; it is forgotten after a moment."""
        return hashlib.blake2b(secret.view(), key=self._digest_key, digest_size=16).digest()

    def _forget_last(self) -> None:
        if self._monotonic() >= self._again_until:
            self._last_given = b""

    def _question(self, request: SecretRequest, confirm: Confirm) -> None:
        request.question = Prompt(lambda: self._ask_owner(request, confirm))

    def _ask_owner(self, request: SecretRequest, confirm: Confirm) -> None:
        reason = NOT_NOW
        try:
            allowed = confirm(request)
            problem = "" if allowed else "refused on the screen"
            reason = DENIED
            self._ignored.pop(request.program, None)
        except UnansweredError as error:
            problem = error.in_one_line
            self._ignore(request.program)
        except NovaKeyError as error:
            problem = error.in_one_line
        if problem:
            self.refuse(request, reason, problem)
            return
        request.is_allowed = True
        request.approved.update(request.phones)
        request.confirmed.set()

    def _refuse_ignored(self, program: str) -> None:
        left = self._ignored.get(program, (0.0, 0))[0] - self._monotonic()
        if left > 0:
            hint = f"ask again in {int(left) + 1} s"
            raise NovaKeyError("the last question of this program was not answered", hint)

    def _ignore(self, program: str) -> None:
        count = self._ignored.pop(program, (0.0, 0))[1]
        pause = min(AFTER_IGNORED_S * 2.0 ** min(count, 20), AFTER_IGNORED_MOST_S)
        self._ignored[program] = (self._monotonic() + pause, count + 1)
        if len(self._ignored) > MAX_IGNORED:
            del self._ignored[next(iter(self._ignored))]

    def _mark(self) -> None:
        if self._marker is not None:
            with contextlib.suppress(OSError):  # a full disk: only a restart in this very moment is unguarded
                self._marker.touch(mode=0o600)

    def _unmark(self) -> None:
        """Take the file away, at once or when nothing can be late any more."""
        if self._marker is None or self._queue:
            return
        left = self._late_until - self._monotonic()
        if left > 0:
            gevent.spawn_later(left, self._unmark)
            return
        with contextlib.suppress(OSError):
            self._marker.unlink()
