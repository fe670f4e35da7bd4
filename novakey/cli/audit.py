"""The record of decisions as a table. It is read from the files, so no daemon need run."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from novakey.cli import common
from novakey.errors import ConfigError

if TYPE_CHECKING:
    from novakey.cli.common import Commands

_LINES = 20
_GAP = "  "
_SHORT = ("waiting", "given", "filled", "ended")
_HEAD = ("time", "device", "what", "outcome", "program")


def add(commands: Commands) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "audit",
        help="what was decided about each message",
        description="Show the last entries of the record, the oldest first: when, which phone, what it "
        "wanted, what became of it, and the program with the focus. No content and no window title is in it.",
    )
    parser.add_argument(
        "--lines", type=int, default=_LINES, metavar="N", help=f"so many entries ({_LINES} if not given)"
    )
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each entry")
    parser.set_defaults(run=_audit)


def _audit(args: argparse.Namespace) -> int:
    from novakey.daemon import audit
    from novakey.log import rotate

    if args.lines < 1:
        raise ConfigError("--lines must be at least 1")
    folder = rotate.folder(common.settings(args), common.paths(args).log)
    entries = audit.read(folder, args.lines)
    if args.json:
        for entry in entries:
            print(json.dumps(entry))
        return 0
    say = common.printer()
    if not entries:
        say("nothing is recorded yet")
        return 0
    for line in _table([_row(entry) for entry in entries]):
        say(line)
    return 0


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry["at"]))
    event = str(entry.get("event", ""))
    if event in ("paired", "paired again"):
        event = f"{event} from {entry.get('from') or '?'}"
    if event == "locked":
        event = f"{event}: {entry.get('reason') or '?'}"
    what, outcome = event or str(entry.get("stage", "")), str(entry.get("outcome", ""))
    if event == "ask" and outcome not in _SHORT:
        outcome = "refused"  # the reason is a sentence; it is in the JSON
    more = entry.get("more", 0)
    if isinstance(more, int) and more > 0:
        outcome = f"{outcome}, and {more} more"
    program, site = str(entry.get("program") or ""), str(entry.get("site") or "")
    if site:
        program = f"{program} for {site}"
    return when, str(entry["device"]), what, outcome, program


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    """Columns where they fit beside each other; else each entry takes lines of its own."""
    from novakey.terminal import Screen

    screen = Screen.of(sys.stdout)
    widths = [max(len(row[column]) for row in [_HEAD, *rows]) for column in range(len(_HEAD))]
    if sum(widths) + len(_GAP) * (len(widths) - 1) <= screen.columns or not screen.moves:
        return [
            _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in [_HEAD, *rows]
        ]
    return [line for row in rows for line in _stacked(row)]


def _stacked(row: tuple[str, ...]) -> list[str]:
    when, device, what, outcome, program = row
    lines = [when, f"{_GAP}{device}", f"{_GAP}{what} {outcome}".rstrip()]
    return [*lines, f"{_GAP}into {program}"] if program else lines
