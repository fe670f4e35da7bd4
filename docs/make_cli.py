#!/usr/bin/env python3
"""Prints docs/cli.md, or with `man` docs/novakey.1; both are made from the parser of the command line."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from novakey import __version__
from novakey.cli.completion_scripts import own_names
from novakey.cli.parser import parser

HEAD = """\
# Commands

Made from the parser of the command line; after a change there:

<!-- not run: needs the packages that tests/run installs -->
```sh
.tools/venv/bin/python docs/make_cli.py > docs/cli.md
.tools/venv/bin/python docs/make_cli.py man > docs/novakey.1
```

The commands stand here as `novakey`; from a checkout they begin with `python3 novakey.py`. Options
before a command hold for all of them. The manual page [`novakey.1`](novakey.1) says the same.

"""


def commands(top: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each command with its whole name, in the order of the help."""
    yield name, top
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word in own_names(action):
                yield from commands(action.choices[word], f"{name} {word}")


def options(command: argparse.ArgumentParser) -> list[tuple[str, str]]:
    """Return the arguments of a command with their help; not its commands, and not `--help`."""
    rows = []
    for action in command._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        value = action.metavar or "|".join(map(str, action.choices or ())) or action.dest.upper()
        names = ", ".join(action.option_strings)
        words = f"{names} {value}" if names and action.nargs != 0 else names or str(value)
        rows.append((words, " ".join((action.help or "").split())))
    return rows


def about(command: argparse.ArgumentParser) -> str:
    """Return the description of a command, on one line."""
    return " ".join((command.description or "").split())


def page(top: argparse.ArgumentParser) -> str:
    """Return the page in Markdown."""
    parts = [HEAD]
    for name, command in commands(top, "novakey"):
        parts.append(f"## {name}\n\n{about(command)}\n\n")
        if rows := options(command):
            parts.append("| option | |\n| --- | --- |\n")
            parts += [f"| `{words}` | {text} |\n" for words, text in escaped(rows)]
            parts.append("\n")
    parts.append(f"## Exit codes\n\n{' '.join((top.epilog or '').split()).removeprefix('exit codes: ')}\n")
    return "".join(parts)


def escaped(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the rows with bars that do not end a cell."""
    return [(words.replace("|", "\\|"), text.replace("|", "\\|")) for words, text in rows]


def roff(text: str) -> str:
    """Quote a text for troff: no line begins with a control character, no hyphen becomes a dash."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^([.'])", r"\\&\1", text)


def manual(top: argparse.ArgumentParser) -> str:
    """Return the manual page (man-pages(7))."""
    lines = [f'.TH NOVAKEY 1 "" "novakey {__version__}" "User Commands"', ".SH NAME"]
    lines += ["novakey \\- a phone as a secure keyboard", ".SH SYNOPSIS", ".B novakey"]
    lines += ["[\\fIoptions\\fR] [\\fIcommand\\fR ...]", ".SH DESCRIPTION", roff(about(top)), ".SH COMMANDS"]
    for name, command in commands(top, "novakey"):
        if command is top:
            continue
        lines += [f".SS {roff(name)}", roff(about(command))]
        for words, text in options(command):
            lines += [".TP", f".B {roff(words)}", roff(text)]
    lines += [".SH OPTIONS"]
    for words, text in options(top):
        lines += [".TP", f".B {roff(words)}", roff(text)]
    codes = " ".join((top.epilog or "").split()).removeprefix("exit codes: ")
    return "\n".join([*lines, ".SH EXIT STATUS", roff(codes), ""])


if __name__ == "__main__":
    sys.argv[0] = "novakey"  # the page does not depend on how it is made
    made = parser()
    sys.stdout.write(manual(made) if sys.argv[1:] == ["man"] else page(made))
