"""The command line: words in, exit code out.

0 done, 1 refused or failed, 2 usage or configuration, 3 store or keys unusable,
4 environment. The commands are in `novakey.commands`; an error becomes a
message here and nowhere else.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from novakey import __version__, process
from novakey.errors import NovaKeyError

_EXIT_CODES = """\
exit codes: 0 done, 1 refused or failed, 2 usage or configuration,
            3 store or keys unusable, 4 environment
"""

# The modules of `novakey.commands`, in the order of the help, and the words that each adds.
COMMANDS = {
    "setup": {"setup"},
    "owner": {"serve", "config", "doctor", "import", "reset"},
    "pair": {"pair"},
    "control": {"status", "arm", "disarm", "approve", "deny", "log", "devices", "rename", "revoke"},
    "audit": {"audit"},
    "ask": {"ask", "exec", "askpass", "pinentry", "agent"},
    "phone": {"phone"},
    "completion": {"completion"},
}

# Programs that want one word for a command get a link of this name to the launch script.
_BY_NAME = {"novakey-askpass": "askpass", "novakey-pinentry": "pinentry"}


def main(argv: Sequence[str]) -> int:
    """Run one command; its exit code."""
    process.close_up()
    command = _BY_NAME.get(Path(sys.argv[0]).name)
    # What such a program is given is never an option: a prompt may begin as one does.
    words = _parse(argv if command is None else [command, "--", *argv])
    try:
        return int(words.run(words))
    except NovaKeyError as error:
        print(f"novakey: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130  # what a shell expects after Ctrl-C
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """The words of the command line, with only those commands made whose names are among them.

    All of them take longer to make than the daemon takes to start, and are needed for help and for errors.
    """
    named = [module for module, words in COMMANDS.items() if not words.isdisjoint(argv)]
    if {"-h", "--help"}.isdisjoint(argv):
        try:
            return parser(named, _Part).parse_args(argv)
        except _NotInPart:
            pass
    return parser().parse_args(argv)


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


class _NotInPart(Exception):
    """A part of the command line cannot be what was meant, or it is wrong; the whole can tell."""


class _Part(_Parser):
    """Leaves help and errors to the whole command line, so it need not know how wide the terminal is."""

    def _get_formatter(self) -> argparse.HelpFormatter:
        return argparse.HelpFormatter(self.prog, width=80)

    def error(self, message: str) -> NoReturn:
        raise _NotInPart


def parser(
    modules: Iterable[str] = COMMANDS, kind: type[argparse.ArgumentParser] = _Parser
) -> argparse.ArgumentParser:
    """The command line of these modules; completion is made from the whole of it."""
    top = kind(
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
    top.set_defaults(run=_serve, yes=False, command_line=parser)  # completion reads the whole
    commands = top.add_subparsers(title="commands", metavar="COMMAND", prog=top.prog)
    for module in modules:
        import_module(f"novakey.commands.{module}").add(commands)
    return top


def _serve(words: argparse.Namespace) -> int:
    from novakey.commands import owner

    return owner.serve(words)
