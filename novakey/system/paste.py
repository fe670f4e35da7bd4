"""Commands that we print for a person to paste into a shell. A leaf.

Names of phones, files and programs are chosen by others. A pasted line must not
run what they say, and must not take it for an option.
"""

from __future__ import annotations

from pathlib import Path
from shlex import quote


def command(*words: str | Path | int, foreign: str | Path | None = None) -> str:
    """Return the command as one line for a POSIX shell; `foreign` is its last argument.

    A `--` goes before `foreign`, unless it begins with `/` and so cannot be an option.
    """
    line = [_quoted(str(word)) for word in words]
    if foreign is not None:
        text = str(foreign)
        line += [_quoted(text)] if text.startswith("/") else ["--", _quoted(text)]
    return " ".join(line)


def choices(texts: list[str]) -> str:
    """Return the texts as a list in which each one can be pasted as an argument."""
    return ", ".join(map(_quoted, texts))


def _quoted(text: str) -> str:
    """Quote for the shell; what does not print is written in the `$'…'` of bash, zsh and POSIX 2024."""
    if text.isprintable():
        return quote(text)
    body = "".join(f"\\{char}" if char in "\\'" else _escaped(char) for char in text)
    return f"$'{body}'"


def _escaped(char: str) -> str:
    if char.isprintable():
        return char
    return "".join(f"\\{byte:03o}" for byte in char.encode("utf-8", "surrogateescape"))
