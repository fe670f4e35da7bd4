"""The words of the command line and their help; the commands themselves are in `novakey.cli`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from novakey import __version__
from novakey.cli import audit, backup, completion, maintenance, moving, pair, phone, request, setup, status

_EXIT_CODES = """\
exit codes: 0 done, 1 refused or failed, 2 usage or configuration,
            3 store or keys unusable, 4 environment, 130 interrupted by Ctrl-C;
            exec: 126 and 127 as in a shell, and otherwise those of its command
"""


class _Parser(argparse.ArgumentParser):
    """Suggests the nearest word for a mistyped one, also among a command's actions."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = list(action.choices or ())
        if isinstance(value, str) and choices and value not in choices:
            import difflib  # for a person's slip only

            near = difflib.get_close_matches(value[:100], choices, n=1)
            if near:
                raise argparse.ArgumentError(action, f"there is no {value!r}; did you mean {near[0]}?")
        super()._check_value(action, value)


def usual(argv: Sequence[str]) -> Sequence[str]:
    """Return the arguments with `help` and `version`, as other programs have them, as options."""
    match list(argv):
        case ["version", *rest]:
            return ["--version", *rest]
        case ["help", *rest]:
            return [*rest, "--help"]
    return argv


def parser() -> argparse.ArgumentParser:
    """Return the whole command line; completion is made from it."""
    top = _Parser(
        prog="novakey" if Path(sys.argv[0]).name == "novakey" else "novakey.py",
        description="NovaKey: a phone as a secure keyboard. Without a command, the daemon starts.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"novakey {__version__}")
    top.add_argument("--config", type=Path, metavar="FILE", help="the configuration, YAML or JSON")
    top.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="keep everything under DIR instead of the user's folders"
    )
    top.set_defaults(run=maintenance.serve, yes=False, with_session=False)
    top.set_defaults(command_line=top)  # completion reads it
    commands = top.add_subparsers(title="commands", metavar="COMMAND")
    for module in (setup, maintenance, moving, backup, pair, status, audit, request, phone, completion):
        module.add(commands)
    return top
