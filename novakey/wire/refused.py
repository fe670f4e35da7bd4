"""The message goes no further: its row of the reply table and a sentence for people."""

from __future__ import annotations

from novakey.wire.reply import Outcome

# One sentence for every cause: nothing here may tell a known device from an unknown or a revoked one.
UNAUTHENTIC = "the message does not authenticate"


class Sentence(str):
    """A sentence that leaves out the names of programs, as a phone gets it in clear; `full` has them.

    What is built from it loses the names, not the other way round.
    """

    full: str

    def __new__(cls, text: str, full: str) -> Sentence:
        """Make both forms."""
        self = super().__new__(cls, text)
        self.full = full
        return self


def full(msg: str) -> str:
    """Return the sentence for the owner."""
    return msg.full if isinstance(msg, Sentence) else msg


def filled(template: str, name: str) -> Sentence:
    """Return `template` with `name` in place of its `{}`, in both forms."""
    return Sentence(template.format(name), template.format(full(name)))


class Refused(Exception):
    """Raised where the reason is found; `Handler.answer` makes the reply of it.

    `program` is what had the focus, where that was looked at.
    """

    def __init__(self, outcome: Outcome, msg: str, program: str = "") -> None:
        super().__init__(msg)
        self.outcome = outcome
        self.msg = msg
        self.program = program


def target_refused(why: str) -> Refused:
    """Return the refusal of what has the focus; nothing was typed."""
    return Refused(Outcome.BAD_REQUEST, filled("target refused: {}", why))
