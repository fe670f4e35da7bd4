"""Pull mode's commands: ask, exec, askpass, pinentry, agent."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, BinaryIO

from novakey.cli import common
from novakey.errors import ConfigError
from novakey.pull import write

if TYPE_CHECKING:
    from collections.abc import Callable

    from novakey.cli.common import Commands
    from novakey.pull.client import Waiter

MOST_S = 86_400


def add(commands: Commands) -> None:
    """Add these commands to the command line."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--device", metavar="ID", help="take it from this device only")
    shared.add_argument(
        "--timeout", type=float, metavar="S", default=120.0, help="give up after S seconds (default: 120)"
    )
    ask = commands.add_parser(
        "request",
        aliases=["ask"],
        parents=[shared],
        help="wait for a secret from a phone and print it",
        description="Wait until a paired phone sends a secret, and print it to standard output. What is "
        "waited for is said on standard error. Exits 1 when none comes.",
    )
    ask.add_argument("--prompt", default="a secret", metavar="TEXT", help="what the secret is for")
    ask.add_argument("--newline", action="store_true", help="print a line end after it")
    ask.set_defaults(run=_ask)
    execute = commands.add_parser(
        "exec",
        parents=[shared],
        help="run a program with a secret from a phone",
        description="Wait for a secret, then become COMMAND, which finds it in a variable or on a "
        "descriptor. It is never on disk. The environment of a process can be read by other processes of "
        "the same user: prefer --fd where the program can read one.",
    )
    execute.add_argument("--prompt", metavar="TEXT", help="what the secret is for (default: COMMAND)")
    where = execute.add_mutually_exclusive_group(required=True)
    where.add_argument("--env", metavar="NAME", help="in the variable NAME")
    where.add_argument("--fd", type=int, metavar="N", help="to be read from descriptor N")
    execute.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="what to run, with its arguments"
    )
    execute.set_defaults(run=_exec)
    askpass = commands.add_parser(
        "askpass",
        help="SSH_ASKPASS, GIT_ASKPASS, SUDO_ASKPASS: answer a prompt from a phone",
        description="Answer PROMPT with a secret from a phone, as ssh, git and sudo -A want it. Questions "
        "with yes and no are shown to the person at the computer instead. Programs want one word in the "
        "variable: make a link called novakey-askpass to novakey.py, and name that.",
    )
    askpass.add_argument("prompt", nargs="*", metavar="PROMPT", help="what the program asks")
    askpass.set_defaults(run=_askpass)
    pinentry = commands.add_parser(
        "pinentry",
        help="a pinentry for gpg-agent",
        description="Speak the Assuan protocol of a pinentry on standard input and output. Make a link "
        "called novakey-pinentry to novakey.py, and name it in gpg-agent.conf as the pinentry-program.",
    )
    pinentry.add_argument("ignored", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    pinentry.set_defaults(run=_pinentry)
    agent = commands.add_parser(
        "password-agent",
        aliases=["agent"],
        help="a password agent for systemd-ask-password",
        description="Answer what systemd-ask-password asks for (services, encrypted disks) from a phone, "
        "until SIGTERM. Run as root for the system's questions, which are in /run/systemd/ask-password.",
    )
    agent.set_defaults(run=_agent)


def _waiter(args: argparse.Namespace, tell: Callable[[object], object], prints: bool = False) -> Waiter:
    from novakey.pull.client import DEFAULT_S, Waiter

    seconds = getattr(args, "timeout", DEFAULT_S)
    if not 0 < seconds <= MOST_S:
        raise ConfigError(f"--timeout {seconds:g} is not possible", f"give 1 to {MOST_S} seconds")
    reader = sys.stdout.fileno() if prints else None
    return Waiter(common.paths(args), getattr(args, "device", None), tell, seconds, reader)


def _output() -> BinaryIO:
    """Return standard output without a buffer, in which a secret would stay."""
    sys.stdout.flush()
    return open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)


def _say(line: object) -> None:
    common.echo(str(line), sys.stderr)


def _ask(args: argparse.Namespace) -> int:
    secret = _waiter(args, _say, prints=True)(args.prompt, None)
    try:
        write(_output(), secret, b"\n" if args.newline else b"")
    finally:
        secret.wipe()
    return 0


def _exec(args: argparse.Namespace) -> int:
    from novakey.pull import exec_child

    argv = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not argv:
        raise ConfigError("there is no command to run", "give it after --, as in: exec --env NAME -- COMMAND")
    exec_child.check_program(argv[0])
    if args.env is not None:
        exec_child.check_variable(args.env)
    else:
        exec_child.check_descriptor(args.fd)
    secret = _waiter(args, _say)(args.prompt or f"a secret for {argv[0]}", None)
    if args.env is not None:
        exec_child.with_variable(argv, args.env, secret)
    exec_child.with_descriptor(argv, args.fd, secret)


def _askpass(args: argparse.Namespace) -> int:
    from novakey.pull.askpass import askpass
    from novakey.pull.person import UserPrompt

    prompt = " ".join(args.prompt)
    ask = _waiter(args, _say, prints=True)
    return askpass(prompt, os.environ, _output(), ask, UserPrompt())


def _pinentry(args: argparse.Namespace) -> int:
    from novakey.pull.person import UserPrompt
    from novakey.pull.pinentry import Pinentry

    person = UserPrompt()
    waiter = _waiter(args, lambda waiting: person.say(str(waiting)), prints=True)
    Pinentry(waiter, person).serve(sys.stdin.buffer, _output())
    return 0


def _agent(args: argparse.Namespace) -> int:
    import signal

    import gevent

    from novakey.pull.password_agent import PasswordAgent, folders

    found = folders(dict(os.environ), os.geteuid())
    if not found:
        raise ConfigError("there is no folder to watch", "set XDG_RUNTIME_DIR, or run it as root")
    agents = [gevent.spawn(PasswordAgent(folder, _waiter(args, _say)).run) for folder in found]
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, gevent.killall, agents, block=False)
    _say(f"novakey: answering what is asked in {', '.join(map(str, found))}")
    gevent.joinall(agents)
    failed = [agent.exception for agent in agents if agent.exception is not None]
    if failed:
        raise failed[0]
    return 0
