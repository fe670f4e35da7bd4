"""Text that others chose, made fit to be shown. A leaf.

Peers, files, programs and old stores choose parts of what is logged and
printed. Every output passes here last: no text forges a line, moves a
terminal's cursor or turns what follows around.
"""

from __future__ import annotations


def one_line(text: str) -> str:
    """Text with every control, format, bidirectional and separator character written as an escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def lines(text: str) -> str:
    """Text as `one_line` makes it, whose lines stay lines."""
    return "\n".join(one_line(line) for line in text.splitlines())


def escape(text: str, limit: int = 64) -> str:
    """Text that a peer chose: quoted, escaped and cut to `limit` characters, fit for a line of the log."""
    cut = text[:limit].replace("\\", "\\\\").replace('"', '\\"')
    return f'"{one_line(cut)}"' + ("..." if len(text) > limit else "")


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
