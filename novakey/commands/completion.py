"""`completion`: the words of this command line, for the shells."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from novakey.commands.base import Commands


def add(commands: Commands) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "completion",
        help="print the script that completes these commands in a shell",
        description="Print a completion script. bash: source it. zsh: put it as _novakey into a folder of "
        "$fpath. fish: put it as novakey.fish into ~/.config/fish/completions.",
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))
    parser.set_defaults(run=_completion)


def _completion(words: argparse.Namespace) -> int:
    from novakey import completion

    makers = {"bash": completion.bash, "zsh": completion.zsh, "fish": completion.fish}
    print(makers[words.shell](list(completion.places(words.command_line))), end="")
    return 0
