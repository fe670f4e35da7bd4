"""Pull mode: programs that wait for a secret from a phone. One is served at a time, the others queue.

The next secret goes to the program at the head of the queue instead of the
focused window. A request lives as long as the connection of the program that
made it. A secret that comes just after its request has gone must not end up in
whatever has the focus now, so for a moment nothing is delivered at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import gevent
from gevent.event import Event

from novakey.desktop.base import Focus
from novakey.errors import NovaKeyError
from novakey.messages.gates import Gates
from novakey.messages.refused import Refused
from novakey.secret import Secret
from novakey.wire.reply import Outcome

MAX_WAITING = 32  # a program that asks in a loop must not fill the memory
LATE_S = 10.0  # from the tap on the phone to the message here it is a second or two
TAKE_S = 2.0  # the program that asked reads from a local socket
CONFIRM_S = 8.0  # waiting for the owner while the phone waits, below its patience


@dataclass(eq=False)
class Asking:
    """One program that waits. `prompt` is what it says that it needs; it is shown, never trusted."""

    number: int
    program: str
    pid: int
    prompt: str
    device_id: str | None
    confirmed: Event = field(default_factory=Event, repr=False)
    given: Event = field(default_factory=Event, repr=False)
    taken: Event = field(default_factory=Event, repr=False)
    secret: Secret | None = field(default=None, repr=False)
    refused: str = ""

    @property
    def named(self) -> str:
        """How it is called in replies and on the screen."""
        return f"request {self.number} of {self.program} (process {self.pid})"

    @property
    def focus(self) -> Focus:
        """What an approval for it is bound to: this request and no window."""
        return Focus(window=f"request {self.number}", pid=self.pid, program=self.program)


Confirm = Callable[[Asking], bool]
"""Asks the owner whether the program may have a secret; blocks. `NovaKeyError` when nobody can be asked."""


class Asks:
    """The queue. `confirm` is asked as soon as a request is made; None lets every request have its secret."""

    def __init__(
        self,
        gates: Gates,
        confirm: Confirm | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gates = gates
        self._confirm = confirm
        self._monotonic = monotonic
        self._queue: list[Asking] = []
        self._numbers = 0
        self._ended_at = float("-inf")

    def waiting(self) -> list[Asking]:
        """The requests, the one that is served first."""
        return list(self._queue)

    def begin(
        self, program: str, pid: int, prompt: str, device_id: str | None = None, seen: bool = False
    ) -> Asking:
        """Queue a request. `seen` is one that its owner sees anyway, on the terminal that it came from."""
        if len(self._queue) >= MAX_WAITING:
            raise NovaKeyError(
                f"{MAX_WAITING} requests wait for a secret already", "answer or end some: novakey.py status"
            )
        self._numbers += 1
        asking = Asking(self._numbers, program, pid, prompt, device_id)
        self._queue.append(asking)
        if seen or self._confirm is None:
            asking.confirmed.set()
        else:
            gevent.spawn(self._ask_owner, asking, self._confirm)
        return asking

    def end(self, asking: Asking) -> None:
        """The request is over: answered, timed out, or the program has gone."""
        if asking not in self._queue:
            return
        served = self._queue[0] is asking
        self._queue.remove(asking)
        if served and not asking.taken.is_set():
            self._ended_at = self._monotonic()
            self._gates.close_all()  # whoever armed meanwhile armed for this request
        if asking.secret is not None:
            asking.secret.wipe()

    def place(self, asking: Asking) -> int:
        """How many are served before it; -1 when it is over."""
        return self._queue.index(asking) if asking in self._queue else -1

    def for_device(self, device_id: str) -> Asking | None:
        """The request that a secret of this device goes to now; None when it is for the focused window.

        Raises `Refused` where it may be for neither.
        """
        if not self._queue:
            left = self._ended_at + LATE_S - self._monotonic()
            if left > 0:
                told = f"the program that asked has gone: to type instead, send again in {int(left) + 1} s"
                raise Refused(Outcome.NOT_ARMED, told)
            return None
        asking = self._queue[0]
        if asking.device_id not in (None, device_id):
            raise Refused(Outcome.NOT_ARMED, f"{asking.named} waits for another device")
        return asking

    def give(self, asking: Asking, secret: Secret, check: Callable[[], None] = lambda: None) -> str:
        """Hand the secret over; what the phone is told. `Refused` where the program does not take it.

        `check` is called when the owner has confirmed, and raises `Refused` where it may not be given.
        """
        if not asking.confirmed.wait(CONFIRM_S):
            raise Refused(Outcome.NEEDS_APPROVE, f"{asking.named} is to be confirmed on the computer first")
        if asking not in self._queue or asking.refused or asking.given.is_set():
            raise Refused(Outcome.NOT_ARMED, f"{asking.named} is over")
        check()
        asking.secret = Secret(secret.reveal())
        asking.given.set()
        if not asking.taken.wait(TAKE_S):
            self.end(asking)
            raise Refused(Outcome.INTERNAL_ERROR, f"{asking.named} did not take the secret")
        return f"given to {asking.named}"

    def _ask_owner(self, asking: Asking, confirm: Confirm) -> None:
        try:
            allowed = confirm(asking)
            problem = "" if allowed else "refused on the screen"
        except NovaKeyError as error:
            problem = str(error)
        asking.refused = problem
        asking.confirmed.set()
        if problem:
            asking.given.set()  # there is nothing to wait for any more
            self.end(asking)
