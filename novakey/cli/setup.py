"""`setup`: three questions, then everything is in place; `setup --uninstall`: it is all gone."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from novakey.cli import common, maintenance
from novakey.errors import ConfigError, NovaKeyError

PASSPHRASE_FILE = "NOVAKEY_PASSPHRASE_FILE"  # noqa: S105  # a variable's name

if TYPE_CHECKING:
    from novakey.cli.common import Commands
    from novakey.config.settings import Settings
    from novakey.setup.answers import Answers
    from novakey.system.paths import Paths

_TRIES = 5


def add(commands: Commands) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "setup",
        help="set everything up with three questions, or take it away",
        description="Ask who may reach this computer, how strict to be, and whether to start with the "
        "session; write a commented configuration, install the user service, and show the QR. What is given "
        "as an option is not asked. An older configuration is kept. With --uninstall, take all of it away.",
    )
    parser.add_argument(
        "--listen",
        "--reach",
        metavar="WHO",
        help="network, here (this computer only), or one address of this computer",
    )
    parser.add_argument(
        "--profile", "--strict", metavar="NAME", help="how strict: relaxed, standard, strict or vault"
    )
    parser.add_argument(
        "--service", action=argparse.BooleanOptionalAction, default=None, help="start with the session"
    )
    parser.add_argument("--uninstall", action="store_true", help="take away what setup made")
    parser.add_argument("--yes", action="store_true", help="ask nothing, and take the defaults")
    parser.set_defaults(run=_setup)


def _setup(args: argparse.Namespace) -> int:
    from novakey.devices import other_daemon
    from novakey.setup import configuration, installation

    if args.config is not None:
        raise ConfigError("setup writes the configuration in its own folder", "leave --config out")
    paths, say = common.paths(args), common.printer()
    if args.uninstall:
        installation.removable(paths, common.settings(args))  # refused at once, not after the question
        common.require_confirmation(
            args, "this forgets every phone, all keys, the logs and the configuration"
        )
        installation.uninstall(paths, common.settings(args), say)
        return 0
    other_daemon.refuse(paths, common.settings(args))
    answers = _answers(args)
    there = configuration.existing(paths.config)
    if there:
        common.require_confirmation(
            args, f"there is a configuration already: {there[0]}\nit is kept under another name"
        )
    elsewhere = args.data_dir is not None or "NOVAKEY_DATA_DIR" in os.environ
    arguments = ["--data-dir", str(paths.data)] if elsewhere else []
    by_service = installation.install(paths, answers, arguments, say)
    args.yes, unattended = False, args.yes  # to `serve` it means something else
    settings = common.settings(args)
    if not _can_be_sealed(paths, settings, say):
        return 1
    return _go(args, answers, by_service, unattended)


def _answers(args: argparse.Namespace) -> Answers:
    from novakey.setup import answers
    from novakey.setup.answers import HERE, NETWORK, PROFILES, Answers

    for given, check in ((args.listen, answers.reach), (args.profile, answers.strict)):
        if given is not None:
            check(given)
    if not args.yes and not sys.stdin.isatty():
        raise NovaKeyError("there is no terminal to ask on", "give --yes, and what you want as options")
    usual = Answers()
    reach = _one(
        args,
        args.listen,
        answers.reach,
        usual.reach,
        "Who may reach this computer?",
        {
            NETWORK: "phones on its networks",
            HERE: "this computer only",
            "ADDRESS": "one address of this computer",
        },
    )
    strict = _one(args, args.profile, answers.strict, usual.strict, "How strict should it be?", PROFILES)
    by_itself = "no" if strict in answers.NEEDS_PASSPHRASE or sys.platform != "linux" else "yes"
    given = None if args.service is None else "yes" if args.service else "no"
    service = _one(args, given, _yes_or_no, by_itself, "Should it start with your session?", {})
    return Answers(reach, strict, service == "yes")


def _one(
    args: argparse.Namespace,
    given: str | None,
    check: Callable[[str], str],
    usual: str,
    question: str,
    choices: dict[str, str],
) -> str:
    """One answer: as given, the usual one where nothing is to be asked, or from the terminal."""
    if given is not None or args.yes:
        return check(given or usual)
    print(f"\n{question}")
    for name, meaning in choices.items():
        print(f"  {name:<10}{meaning}")
    for _ in range(_TRIES):
        try:
            return check(input(f"[{usual}] ").strip() or usual)
        except ConfigError as error:
            common.echo(str(error))
        except EOFError:
            break
    raise NovaKeyError("nothing was done")


def _yes_or_no(text: str) -> str:
    found = {"y": "yes", "n": "no"}.get(text.lower(), text.lower())
    if found not in ("yes", "no"):
        raise ConfigError(f"{text!r} is neither yes nor no")
    return found


def _can_be_sealed(paths: Paths, settings: Settings, say: common.Say) -> bool:
    """Whether a phone could be stored at all: better said now than when one pairs."""
    from novakey import doctor

    if _asks_for_passphrase(settings) and sys.stdin.isatty():
        return True  # the start asks for it, and for a new one twice: trying would do so too
    finding = doctor.sealing(paths, settings)
    if finding.verdict is not doctor.Verdict.FAULT:
        return True
    say(f"but no phone can be stored: {finding.found}")
    say(f"to repair it: {finding.cure}")
    say("then see: novakey.py doctor")
    return False


def _asks_for_passphrase(settings: Settings) -> bool:
    return settings.device_store == "passphrase" and not os.environ.get(PASSPHRASE_FILE)


def _go(args: argparse.Namespace, answers: Answers, by_service: bool, unattended: bool) -> int:
    """Show the QR, where that can be done from here."""
    from novakey.setup import installation
    from novakey.system.folder_lock import FolderLock

    say = common.printer()
    holder = FolderLock.holder(common.paths(args).data)
    if answers.service and _asks_for_passphrase(common.settings(args)):
        say("what starts by itself has no person to ask for the passphrase, so it is not started")
        say(f"write it to a file that only you can read, set {PASSPHRASE_FILE} to its path, and set up again")
        return 1
    if by_service:
        why_not = installation.start_service()
        if why_not is None:
            say("the service runs, and starts with your session")
            say("to pair a phone: novakey.py pair")
            return 0 if unattended else _pair(args)
        say(f"the service is not started: {why_not}")
        say("inside your session: systemctl --user enable --now novakey")
    if holder is not None:
        say(f"a daemon runs already (process {holder}): restart it for the new configuration")
        return 0
    if unattended or by_service:
        say("to start it now, and see the QR: novakey.py serve")
        return 0
    say("this is the daemon; Ctrl-C ends it, and novakey.py starts it again")
    return maintenance.serve(args)


def _pair(args: argparse.Namespace) -> int:
    from novakey.cli import pair

    return pair.when_it_runs(args)
