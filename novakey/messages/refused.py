"""The message goes no further: its row of the reply table and a sentence for people."""

from __future__ import annotations

from novakey.wire.reply import Outcome

# One sentence for every cause: nothing here may tell a known device from an unknown or a revoked one.
UNAUTHENTIC = "the message does not authenticate"


class Refused(Exception):
    """Raised where the reason is found; `Handler.answer` makes the reply of it.

    `program` is what had the focus, where that was looked at.
    """

    def __init__(self, outcome: Outcome, msg: str, program: str = "") -> None:
        super().__init__(msg)
        self.outcome = outcome
        self.msg = msg
        self.program = program
