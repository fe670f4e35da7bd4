"""The command line: words in, exit code out.

0 done, 1 refused or failed, 2 usage or configuration, 3 store or keys unusable,
4 environment. An error becomes a message here and nowhere else.

    parser              the words of the command line, and their help
    common              the settings in force and the folders, for every command
    maintenance         serve, config, doctor, reset
    moving              import and its way back
    backup              backup and restore
    setup               setup and its way back
    pair                the QR, live
    status              status, devices, arm, disarm, approve, deny, pause, resume, log
    audit               the record of decisions as a table
    request             request, exec, askpass, pinentry, password-agent
    phone               the reference phone
    completion          the shells
    completion_scripts  their scripts, made from the parser

Each command's module has `add(commands)`, which adds its words, and one function a
command, which takes the parsed words and returns an exit code.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from novakey.errors import NovaKeyError
from novakey.system import process

if TYPE_CHECKING:
    from argparse import Namespace

# Programs that want one word for a command get a link of this name to the launch script.
_BY_NAME = {"novakey-askpass": "askpass", "novakey-pinentry": "pinentry"}


def main(argv: Sequence[str]) -> int:
    """Run one command; its exit code."""
    process.harden()
    command = _BY_NAME.get(Path(sys.argv[0]).name)
    # What such a program is given is never an option: a prompt may begin as one does.
    args = parse(argv if command is None else [command, "--", *argv])
    try:
        with _interruptible():
            return int(args.run(args))
    except NovaKeyError as error:
        from novakey.cli import common

        common.echo(f"novakey: {error}", sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        # The cursor stands behind a prompt, or behind the ^C that the terminal shows: end that line.
        if interrupt.args or sys.stderr.isatty():
            print(*interrupt.args, file=sys.stderr)
        return 130  # what a shell expects after Ctrl-C
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Raise `KeyboardInterrupt` of Ctrl-C in the command itself, whether it computes, reads or waits.

    Python raises it at any point of the program. While the command waits, that is inside gevent's hub,
    which prints it, or in another greenlet, which ends in its place.
    """
    import gevent

    command, loop = gevent.getcurrent(), gevent.get_hub().loop

    def interrupt(number: int, frame: object) -> None:
        if gevent.getcurrent() is command:
            raise KeyboardInterrupt  # perhaps in a read of the terminal, which blocks everything else
        loop.run_callback(command.throw, KeyboardInterrupt)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def parse(argv: Sequence[str]) -> Namespace:
    """Parse the command line; `SystemExit` with a message if it has no meaning."""
    from novakey.cli import parser

    return parser.parser().parse_args(parser.usual(argv))
