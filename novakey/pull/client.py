"""Waiting for a secret from a phone: the asking program's side of pull mode, over the control socket."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gevent import monkey

from novakey.control import client
from novakey.errors import NovaKeyError
from novakey.log.format import one_line
from novakey.pull import WaitedTooLong
from novakey.secret import Secret
from novakey.system.paths import Paths
from novakey.wire.control import Done, Event

DEFAULT_S = 120.0
MAX_PROMPT = 300  # characters; what is shown in a notification is far less
_GONE_POLL_S = 0.5


@dataclass(frozen=True)
class Waiting:
    """The state of a request: its prompt, its number, and how many are served `before` it.

    It is `confirmed` when it may have a secret; until then the owner is asked.
    """

    prompt: str
    number: int
    before: int
    confirmed: bool = True

    def __str__(self) -> str:
        place = f", {self.before} before it" if self.before > 0 else ""
        whom = "a phone" if self.confirmed else "an answer on the screen, then for a phone"
        return f"novakey: waiting for {whom} (request {self.number}{place}): {self.prompt}"


@dataclass(frozen=True)
class Waiter:
    """A `SecretSource` of one installation.

    `reader` is the descriptor that the secret will be written to: once no program reads
    there any more, the request ends, so that no secret is sent for nothing.
    """

    paths: Paths
    device: str | None = None
    tell: Callable[[Waiting], object] = lambda waiting: None
    default_s: float = DEFAULT_S
    reader: int | None = None

    def __call__(self, prompt: str, seconds: float | None) -> Secret:
        """Return the secret that a phone sends in time; `NovaKeyError` when none comes."""
        seconds = self.default_s if seconds is None else seconds
        shown = one_line(" ".join(prompt.split()))[:MAX_PROMPT]
        until = time.monotonic() + seconds
        with client.request(self.paths, "ask", prompt=shown, device=self.device) as asked:
            while (left := until - time.monotonic()) > 0:
                answer = asked.next(min(left, _GONE_POLL_S))
                if isinstance(answer, Event):
                    number, before = int(answer.members["number"]), int(answer.members["before"])
                    self.tell(Waiting(shown, number, before, bool(answer.members["confirmed"])))
                elif isinstance(answer, Done):
                    return asked.secret(answer)
                elif self.reader is not None and has_gone(self.reader):
                    raise NovaKeyError("the program that asked has gone")
        raise WaitedTooLong(
            f"no phone sent a secret within {seconds:g} s",
            "send from the phone in time, or wait longer: --timeout",
        )


def has_gone(descriptor: int) -> bool:
    """Whether no program reads any more what would be written to this pipe, socket or terminal (poll(2))."""
    poll: Callable[[], Any] = monkey.get_original("select", "poll")
    poller = poll()
    poller.register(descriptor, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poller.poll(0))
