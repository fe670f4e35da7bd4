"""`import`: take over from the existing daemon; `import --undo`: everything is as it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from novakey.cli import common
from novakey.errors import NovaKeyError

if TYPE_CHECKING:
    import argparse

    from novakey.cli.common import Commands
    from novakey.config.adopt import Adopted
    from novakey.daemon.import_legacy import Unit
    from novakey.devices.import_record import ImportRecord


def add(commands: Commands) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "import",
        help="take over from the existing daemon; its phones keep working",
        description="Read the other daemon's server_config.yaml or .json, server_keys.json and devices.json "
        "and write ours, so that no phone has to pair again. Without DIR, look where its packages keep them. "
        "DIR is only read; in our own folder its files are moved aside. With --undo, put everything back.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", nargs="?")
    parser.add_argument("--undo", action="store_true", help="put everything back as it was")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    return _undo(args) if args.undo else _import(args)


def _import(args: argparse.Namespace) -> int:
    from novakey.daemon import import_legacy as importing

    paths, settings, say = common.paths(args), common.settings(args), common.printer()
    interrupted = importing.clear_interrupted(paths, settings)
    if interrupted is not None:
        _give_back_unit(interrupted, say)
    folder = args.folder or importing.find(paths)
    importing.read(folder, settings)  # refused at once, not after the question
    unit = _unit(args)
    try:
        done = importing.import_from(folder, paths, common.settings(args), unit)
    except NovaKeyError:
        if unit is not None:
            _start_unit(say)
        raise
    say(f"imported from {folder}: {done.devices} devices; their phones need not pair again")
    for target in done.aside:
        say(f"kept as it was: {target}")
    say(f"configuration: {done.config}" if done.config else _no_configuration(done.adopted))
    for warning in done.adopted.warnings if done.adopted else ():
        say(f"changed: {warning}")
    for left_out in done.adopted.left_out if done.adopted else ():
        say(f"not carried over: {left_out}")
    if done.still_runs:
        say(f"its service could not be stopped: {done.still_runs}")
    if done.still_runs is not None:
        say("stop the other daemon before starting this one")
    say("the way back, which forgets what is paired from now on: novakey.py import --undo")
    if unit is not None:
        say(f"it enables and starts {unit.path.name} of the other daemon again")
    return 0


def _no_configuration(adopted: Adopted | None) -> str:
    if adopted is None:
        return "configuration: nothing to take over"
    return "configuration: there is one of this daemon already, and it is kept"


def _unit(args: argparse.Namespace) -> Unit | None:
    """Its unit, where the owner agrees that it is stopped."""
    from novakey.daemon.import_legacy import Unit
    from novakey.setup import service

    path = service.of_other_daemon()
    if path is None:
        return None
    common.require_confirmation(
        args, f"{path} starts the other daemon: it is stopped, disabled and put aside"
    )

    return Unit(path, lambda: service.systemctl("disable", "--now", service.UNIT))


def _undo(args: argparse.Namespace) -> int:
    from novakey.daemon import import_legacy as importing

    paths, settings, say = common.paths(args), common.settings(args), common.printer()
    common.require_confirmation(
        args, "this forgets what was paired here since the import, and puts its files back"
    )
    undone = importing.undo(paths, settings)
    for source, _ in undone.moved:
        say(f"back again: {source}")
    _give_back_unit(undone, say)
    say("everything is as it was before the import")
    return 0


def _give_back_unit(undone: ImportRecord, say: common.Say) -> None:
    if undone.unit:
        _start_unit(say)


def _start_unit(say: common.Say) -> None:
    from novakey.setup import service

    why_not = service.systemctl("daemon-reload") or service.systemctl("enable", "--now", service.UNIT)
    say(f"its service is not started: {why_not}" if why_not else "its service runs again")
