"""`backup` and `restore`: every pairing in one file under a passphrase, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from novakey.cli import common
from novakey.errors import NovaKeyError

if TYPE_CHECKING:
    import argparse

    from novakey.cli.common import Commands
    from novakey.daemon.backup import Difference
    from novakey.devices.sealing.passphrase_source import Source

_OPTION = "--passphrase-file"


def add(commands: Commands) -> None:
    """Add these commands to the command line."""
    backup = commands.add_parser(
        "backup",
        help="keep every pairing in a file under a passphrase",
        description="Write phones, server keys and configuration to FILE, sealed under a passphrase that is "
        "asked for. With it, `restore` brings the pairings back on this computer or another.",
    )
    backup.set_defaults(run=_backup)
    restore = commands.add_parser(
        "restore",
        help="bring the pairings of a backup back",
        description="Put the phones and keys of FILE in place of those that are here, whose files are kept "
        "beside. An older backup is refused without --older: it brings revoked phones back.",
    )
    restore.add_argument("--older", action="store_true", help="also where this store was changed since")
    restore.add_argument("--yes", action="store_true", help="do not ask")
    restore.set_defaults(run=_restore)
    for parser in (backup, restore):
        parser.add_argument("file", type=Path, metavar="FILE", help="the backup")
        parser.add_argument(
            _OPTION, type=Path, metavar="PATH", help="take the passphrase from this owner-only file"
        )


def _source(args: argparse.Namespace) -> Source:
    from novakey.devices.sealing.passphrase_source import PassphraseFile, Terminal

    if args.passphrase_file is not None:
        return PassphraseFile(args.passphrase_file, _OPTION)
    return Terminal(what="the backup", named_by=_OPTION)


def _backup(args: argparse.Namespace) -> int:
    from novakey.daemon import backup

    count = backup.save(args.file, common.paths(args), common.settings(args), _source(args))
    common.echo(f"{_phones(count)} in {args.file}")
    common.echo("the way back: novakey.py restore FILE; it opens only with the passphrase")
    return 0


def _restore(args: argparse.Namespace) -> int:
    from novakey.daemon import audit, backup, reset

    paths, settings, say = common.paths(args), common.settings(args), common.printer()
    reset.refuse_running(paths, "restored")
    found = backup.read(args.file, _source(args))
    _agree(args, backup.compare(found, paths, settings))
    done = backup.restore(found, paths, settings, lambda: common.settings(args))
    audit.note(common.settings(args), paths.log, "restored")
    say(f"restored from {args.file}: {_phones(done.devices)}, made {common.when(found.made_unix)}")
    if done.aside is not None:
        say(f"what was here is kept: {done.aside}")
    if done.config is not None:
        say(f"configuration: {done.config}")
    return 0


def _agree(args: argparse.Namespace, difference: Difference) -> None:
    if difference.older and not args.older:
        raise NovaKeyError(
            "the backup is older than the store that is here, so nothing was restored",
            "to restore it all the same, give --older",
        )
    if difference.unknown:
        common.require_confirmation(
            args, "the store here does not open: the backup may bring revoked phones back"
        )
    elif difference.returning:
        names = ", ".join(difference.returning)
        common.require_confirmation(
            args, f"the backup brings phones back that are not paired here any more: {names}"
        )


def _phones(count: int) -> str:
    return f"{count} phone{'' if count == 1 else 's'}"
