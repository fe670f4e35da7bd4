"""Waiting for a secret from a phone: the asking program's side of pull mode, over the control socket."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from novakey.adapters import Ask, WaitedTooLong
from novakey.control import client
from novakey.paths import Paths
from novakey.secret import Secret
from novakey.wire.control import Done, Event

DEFAULT_S = 120.0
MAX_PROMPT = 500  # characters; what is shown on a phone-sized notification is far less


@dataclass(frozen=True)
class Waiting:
    """Where the request stands: its number, and how many are served before it."""

    number: int
    before: int


def waiter(
    paths: Paths,
    device: str | None = None,
    tell: Callable[[Waiting], None] = lambda waiting: None,
    default_s: float = DEFAULT_S,
) -> Ask:
    """An `Ask` of one installation."""

    def ask(prompt: str, seconds: float | None) -> Secret:
        return wait_for(paths, prompt, default_s if seconds is None else seconds, device, tell)

    return ask


def wait_for(
    paths: Paths, prompt: str, seconds: float, device: str | None, tell: Callable[[Waiting], None]
) -> Secret:
    """The secret that a phone sends within `seconds`; `NovaKeyError` when none comes."""
    until = time.monotonic() + seconds
    with client.asking(paths, "ask", prompt=prompt[:MAX_PROMPT], device=device) as asked:
        while (left := until - time.monotonic()) > 0:
            answer = asked.next(left)
            if isinstance(answer, Event):
                tell(Waiting(int(answer.members["number"]), int(answer.members["before"])))
            elif isinstance(answer, Done):
                return Secret(str(answer.members["secret"]).encode())
    raise WaitedTooLong(
        f"no phone sent a secret within {seconds:g} s", "arm the phone and send, or wait longer: --timeout"
    )
