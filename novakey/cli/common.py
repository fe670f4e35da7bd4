"""What every command needs: where things are, and the settings in force."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from novakey.config import load
from novakey.config.settings import Settings
from novakey.errors import NovaKeyError
from novakey.system.paths import Paths
from novakey.system.sanitize import lines

Say = Callable[[str], None]

if TYPE_CHECKING:
    import argparse

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def paths(args: argparse.Namespace) -> Paths:
    """Return the folders: `--data-dir`, else `$NOVAKEY_DATA_DIR`, else the platform's."""
    folder = args.data_dir or os.environ.get("NOVAKEY_DATA_DIR")
    return Paths.under(Path(folder)) if folder else Paths.of_platform()


def settings(args: argparse.Namespace) -> Settings:
    """Return the settings in force; `ConfigError` lists every fault."""
    return load.load(args.config, os.environ, paths(args).config)


def agree(question: str, word: str = "yes") -> bool:
    """Ask on the terminal to type `word`; False where there is no terminal or another answer."""
    if not sys.stdin.isatty():
        return False
    try:
        answer = input(f"{lines(question)}\ntype {word} to go on: ").strip().lower()
    except EOFError:
        return False
    return answer == word or (word == "yes" and answer == "y")


def require_confirmation(args: argparse.Namespace, question: str, word: str = "yes") -> None:
    """Go on with `--yes` or the typed word only; else `NovaKeyError`, and nothing was done."""
    if not args.yes and not agree(question, word):
        raise NovaKeyError("nothing was done", f"type {word} when asked, or give --yes")


def echo(text: str, stream: TextIO | None = None) -> None:
    """Print lines that may hold what others chose: as the stream can show them, and not obeyed."""
    from novakey.terminal import Screen, printable

    stream = stream or sys.stdout
    screen = Screen.of(stream)
    print("\n".join(printable(line, screen) for line in text.splitlines()), file=stream, flush=True)


def printer() -> Say:
    """Return a function that prints a line as `echo` does."""
    from novakey.terminal import Screen, printable

    screen = Screen.of(sys.stdout)
    return lambda line: print(printable(line, screen), flush=True)


def when(unix: float) -> str:
    """Return a point of time as people read it."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(unix))
