"""What a terminal can show, and text that it can show.

Peers and old stores choose parts of what is printed (device ids, names), so
all text for a terminal goes through `printable`.
"""

from __future__ import annotations

import os
import sys
from typing import NamedTuple, TextIO

from novakey.system.sanitize import one_line


class Screen(NamedTuple):
    """The output as it is now. `moves` is whether the cursor can be moved."""

    columns: int
    rows: int
    utf8: bool
    colour: bool
    moves: bool

    @classmethod
    def of(cls, stream: TextIO) -> Screen:
        """Describe the terminal behind `stream`. `NO_COLOR` (no-color.org) and `TERM=dumb` count."""
        import shutil  # where there is a terminal only; it pulls in three compressors

        terminal = stream.isatty()
        moves = terminal and os.environ.get("TERM", "dumb") != "dumb"
        size = shutil.get_terminal_size()
        colour = moves and not os.environ.get("NO_COLOR")
        return cls(size.columns, size.lines, _is_utf8(stream), colour, moves)

    def fits(self, columns: int, rows: int) -> bool:
        """Whether so much can be seen at once; a dumb terminal is paper, which has rows enough."""
        return columns <= self.columns and (rows <= self.rows or not self.moves)


def printable(text: str, screen: Screen) -> str:
    """Escape everything in the text that this screen cannot show, or must not obey."""
    safe = one_line(text)
    return safe if screen.utf8 else safe.encode("ascii", "backslashreplace").decode("ascii")


def _is_utf8(stream: TextIO) -> bool:
    """Whether the locale says UTF-8. Python may write it (PEP 540) where the terminal cannot show it."""
    if (stream.encoding or "").lower().replace("-", "") != "utf8":
        return False
    names = ["LC_ALL", "LC_CTYPE", "LANG"]
    if sys.flags.utf8_mode:  # the locale is C, and Python itself may have set LC_CTYPE (PEP 538)
        names.remove("LC_CTYPE")
    chosen = next((os.environ[name] for name in names if os.environ.get(name)), "")
    # Where nothing at all is said, as in a container, the terminal at the other end knows UTF-8 today.
    return not chosen or "utf8" in chosen.lower().replace("-", "")
