"""The first line of a connection names the route; anything else is closed unanswered."""

from __future__ import annotations

from enum import Enum


class Route(Enum):
    """The two routes of the one port, each with the exact line that opens it."""

    PAIR = b"NOVAK/1 /pair\n"
    MSG = b"NOVAK/1 /msg\n"


def parse(line: bytes) -> Route | None:
    """Return the route that `line`, with its line end, opens; None for anything else."""
    try:
        return Route(line)
    except ValueError:
        return None
