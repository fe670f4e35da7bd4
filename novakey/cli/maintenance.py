"""The commands of the person who runs the daemon: serve, config, doctor, reset."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

from novakey.cli import common
from novakey.config import load

if TYPE_CHECKING:
    import argparse

    from novakey.cli.common import Commands


def add(commands: Commands) -> None:
    """Add these commands to the command line."""
    _add_serve(commands)
    _add_config(commands)
    doctor = commands.add_parser(
        "doctor",
        help="check everything, and name the cure of what is wrong",
        description="Check packages, folders, pairing, store, keys, sealing, network, clock, display, "
        "notifications and service, in order. Each line says what was found and, where something is to be "
        "done, why it matters and what repairs it. Changes nothing. Exits 1 when something is wrong.",
    )
    doctor.add_argument(
        "--type",
        action="store_true",
        help="also type awkward characters into a window of its own (elsewhere than on X11: into this "
        "terminal), and compare",
    )
    doctor.add_argument("--json", action="store_true", help="print a line of JSON for each check")
    doctor.set_defaults(run=_doctor)
    reset = commands.add_parser(
        "reset",
        help="the full uninstall of pairing: devices, keys and locks",
        description="Remove the device store, the server keys, the sealing key (also in the keyring), the QR "
        "and the pairing state. Every phone must pair again. The daemon must be stopped. Nothing else lifts "
        "a lock.",
    )
    reset.add_argument("--yes", action="store_true", help="do not ask")
    reset.set_defaults(run=_reset)


def _add_serve(commands: Commands) -> None:
    parser = commands.add_parser(
        "serve",
        help="run the daemon (the default)",
        description="Run the daemon until SIGTERM or Ctrl-C. Where no phone is paired it shows a QR to scan.",
    )
    parser.add_argument(
        "--yes",
        action="store_true",
        help="agree to drop the paired devices where rotate_kyber_keys asks for it",
    )
    parser.add_argument(
        "--with-session",
        action="store_true",
        help="end with the graphical session that it was started in",
    )
    parser.set_defaults(run=serve)


def _add_config(commands: Commands) -> None:
    parser = commands.add_parser(
        "config",
        help="check or show the configuration",
        description="`check` reports every fault at once, with file, line and key, and exits 2 if there is "
        "one. `show` prints every key with its value and where that came from. `example` prints a file "
        "with every key, its default and its meaning, to begin your own with.",
    )
    parser.add_argument("action", choices=("check", "show", "example"))
    parser.add_argument("--json", action="store_true", help="print JSON (with show)")
    parser.set_defaults(run=_config)


def serve(args: argparse.Namespace) -> int:
    """Run the daemon."""
    from novakey.daemon import app

    app.serve(
        common.settings(args),
        common.paths(args),
        lambda question: args.yes or common.agree(question),
        args.with_session,
    )
    return 0


def _config(args: argparse.Namespace) -> int:
    if args.action == "example":
        from novakey.setup import configuration

        common.echo(configuration.shipped("novakey.yaml").read_text().rstrip("\n"))
        return 0
    settings = common.settings(args)
    if args.action == "check":
        found = settings.read_from
        common.echo(f"the configuration is good: {found}" if found else _no_file(args))
        return 0
    rows = load.effective(settings)
    if args.json:
        print(json.dumps({name: {"value": value, "from": origin} for name, value, origin in rows}))
        return 0
    say = common.printer()
    for name, value, origin in rows:
        shown = list(value) if isinstance(value, tuple) else value
        say(f"{name}: {json.dumps(shown, ensure_ascii=False)}  # {origin}")
    return 0


def _no_file(args: argparse.Namespace) -> str:
    folder, origins = common.paths(args).config, common.settings(args).origins.values()
    variables = sorted(origin for origin in origins if origin.startswith(load.PREFIX))
    but = f", but for {', '.join(variables)}" if variables else ""
    return f"the configuration is good: there is no file in {folder}, so the defaults are in force{but}"


def _doctor(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from novakey import doctor

    good, say = True, common.printer()
    paths, settings = common.paths(args), common.settings(args)
    typing = (doctor.typing(settings) for _ in range(int(args.type)))
    for finding in itertools.chain(doctor.examine(paths, settings), typing):
        good = good and finding.verdict is not doctor.Verdict.FAULT
        if args.json:
            print(json.dumps({**asdict(finding), "verdict": finding.verdict.name.lower()}))
            continue
        say(f"{finding.verdict.value:<4} {finding.check}: {finding.found}")
        if finding.verdict is not doctor.Verdict.OK:
            say(f"     why it matters: {finding.why}")
            if finding.cure:
                say(f"     to repair it: {finding.cure}")
    return 0 if good else 1


def _reset(args: argparse.Namespace) -> int:
    from novakey.daemon import audit, reset

    paths, settings = common.paths(args), common.settings(args)
    reset.refuse_running(paths)
    common.require_confirmation(args, "this forgets every paired phone, all keys and any lock", "reset")
    reset.reset(paths, settings)
    audit.note(settings, paths.log, "reset")
    print("reset: no phone is paired, and the next start opens a pairing window")
    return 0
