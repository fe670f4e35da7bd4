"""`completion`: the words of this command line, for the shells."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from novakey.cli.common import Commands


def add(commands: Commands) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "completion",
        help="print the script that completes these commands in a shell",
        description="Print a completion script for novakey, novakey.py and python3 novakey.py. bash: source "
        "it. zsh: put it as _novakey into a folder of $fpath. fish: put it as novakey.fish into "
        "~/.config/fish/conf.d.",
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))
    parser.set_defaults(run=_completion)


def _completion(words: argparse.Namespace) -> int:
    from novakey.cli import completion_scripts

    makers = {"bash": completion_scripts.bash, "zsh": completion_scripts.zsh, "fish": completion_scripts.fish}
    print(makers[words.shell](list(completion_scripts.places(words.command_line))), end="")
    return 0
