"""What the owner sees and does while the daemon runs: status, devices, the gates, pause, log."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from novakey.cli import common

if TYPE_CHECKING:
    from novakey.cli.common import Commands

_DEVICE = "its id or name; may be left out where only one phone is paired"


def add(commands: Commands) -> None:
    """Add these commands to the command line."""
    status = commands.add_parser(
        "status",
        help="is a daemon running, how is pairing, who is armed",
        description="Say whether a daemon runs and how everything stands, why, and what leads on. Exits 1 "
        "when no daemon answers; pairing and the number of devices are then read from the files.",
    )
    _json(status)
    status.set_defaults(run=_status)
    _add_devices(commands)
    arm = commands.add_parser(
        "arm",
        help="arm a phone from here",
        description="Let one phone send for a moment, as its own arm message would. No other phone is armed.",
    )
    arm.add_argument("--ms", type=int, metavar="N", help="for N milliseconds (default: arm_duration_ms)")
    arm.add_argument("device", nargs="?", metavar="DEVICE", help=_DEVICE)
    _json(arm)
    arm.set_defaults(run=_gate, op="arm")
    disarm = commands.add_parser(
        "disarm",
        help="take back every arming and approval",
        description="Close both gates for every phone: what was allowed is not any more.",
    )
    _json(disarm)
    disarm.set_defaults(run=_close, op="disarm")
    approve = commands.add_parser(
        "approve",
        help="approve the next secret of a phone",
        description="Approve one phone for approve_window_ms, as its own approve message would.",
    )
    approve.add_argument("device", nargs="?", metavar="DEVICE", help=_DEVICE)
    _json(approve)
    approve.set_defaults(run=_gate, op="approve", ms=None)
    deny = commands.add_parser(
        "deny", help="take every approval back", description="Take every approval back; armed stays armed."
    )
    _json(deny)
    deny.set_defaults(run=_close, op="deny")
    _add_pause(commands)
    _add_log(commands)


def _add_pause(commands: Commands) -> None:
    pause = commands.add_parser(
        "pause",
        help="refuse every secret until resume",
        description="Close both gates for every phone, and refuse every secret until `resume` or a restart.",
    )
    resume = commands.add_parser(
        "resume", help="end a pause", description="Take secrets again. Every phone must arm again."
    )
    for op, parser in (("pause", pause), ("resume", resume)):
        _json(parser)
        parser.set_defaults(run=_pause, op=op)


def _add_log(commands: Commands) -> None:
    log = commands.add_parser(
        "log",
        help="follow the log, redacted",
        description="Show the last lines of the daemon's log and each new one, until Ctrl-C, or with "
        "--no-follow until the last of them.",
    )
    log.add_argument(
        "--lines", type=int, default=10, metavar="N", help="begin N lines back (10, at most 200)"
    )
    log.add_argument("--no-follow", action="store_true", help="stop after them")
    _json(log)
    log.set_defaults(run=_log)


def _add_devices(commands: Commands) -> None:
    parser = commands.add_parser(
        "devices",
        help="list, rename or revoke the paired phones",
        description="The paired phones. A revoked one is a stranger from the next byte on.",
    )
    parser.set_defaults(run=_devices, json=False)  # alone it lists
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    listing = actions.add_parser(
        "list",
        help="who is paired, since when, and when last heard",
        description="List the paired phones: when and from where they were paired, when they were last "
        "heard, how many messages were accepted and how many secrets delivered.",
    )
    listing.set_defaults(run=_devices)
    rename = actions.add_parser(
        "rename",
        help="call a phone something",
        description="Call a phone something. The empty name takes that back; its id never changes.",
    )
    rename.add_argument("device", metavar="DEVICE", help="its id or name")
    rename.add_argument("name", metavar="NAME", help="at most 64 characters")
    rename.set_defaults(run=_rename)
    revoke = actions.add_parser(
        "revoke",
        help="forget a phone",
        description="Forget a phone, durably and at once, also on a connection that is open. Revoking the "
        "last one opens no pairing window.",
    )
    revoke.add_argument("device", metavar="DEVICE", help="its id or name")
    revoke.set_defaults(run=_revoke)
    for action in (listing, rename, revoke):
        _json(action)


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one line of JSON")


def _ask(args: argparse.Namespace, op: str, **arguments: Any) -> dict[str, Any]:
    from novakey.control import client

    return client.ask(common.paths(args), op, **arguments)


def _status(args: argparse.Namespace) -> int:
    from novakey.control.client import NoDaemonError

    try:
        now = _ask(args, "status")
    except NoDaemonError as error:
        return _status_from_files(args, error)
    if args.json:
        print(json.dumps({"running": True, **now}))
        return 0
    from novakey.wire.uri import listener

    say = common.printer()
    since = common.when(now["since_unix"])
    say(f"daemon:   running since {since}, process {now['pid']}, version {now['version']}")
    say(f"address:  {now['host']} port {now['port']}")
    _say_pairing(say, now)
    if now["window"]:
        window = now["window"]
        say(f"          until {_clock(window['expires_unix'])}, attempts left: {window['attempts_left']}")
        say(f"          {window['picture']}")
        say(f"          {listener(window['host'], window['port'])}")
        if window["refused"]:
            say(f"          a phone cannot pair: {window['refused']}")
    say(f"devices:  {now['devices']}")
    for host in now["out_of_reach"]:
        say(f"warning:  phones were paired under {host}, which is no address of this computer now")
        say("          give it that address again, or pair again: novakey.py pair --add")
    if now["paused"]:
        say("paused:   no phone's secret is taken until: novakey.py resume")
    say(f"armed:    {_gate_text(now['armed'])}")
    say(
        f"approved: {_gate_text(now['approved']) if now['two_man'] else 'not needed, two_man_enabled is off'}"
    )
    for row in now["questions"]:
        say(f"waiting:  {_called(row['device'], row['name'])} to {row['purpose']}: approve or deny")
    for row in now["asks"]:
        say(f"asking:   {row['program']} (process {row['pid']}) for: {row['prompt']}")
    display = now["display"]
    say(f"display:  {display['backend'] or 'none: ' + display['problem']}")
    for number, row in enumerate(now["outcomes"]):
        who = _called(row["device"], row["name"]) if row["device"] else f"somebody at {row['from']}"
        head = "last:     " if number == 0 else "          "
        say(f"{head}{_clock(row['at_unix'])} {who}: {row['stage']} {row['reason']}")
    return 0


def _status_from_files(args: argparse.Namespace, error: Exception) -> int:
    from novakey.control.client import BusyError
    from novakey.pairing import status
    from novakey.system.folder_lock import FolderLock

    paths = common.paths(args)
    holder = FolderLock.holder(paths.data)
    found = status.read(paths, common.settings(args))
    if args.json:
        print(json.dumps({"running": isinstance(error, BusyError), "pid": holder, **found._asdict()}))
        return 1
    say = common.printer()
    say("daemon:   not running" if holder is None else f"daemon:   {error}".replace("\n", ": "))
    _say_pairing(say, found._asdict())
    say(f"devices:  {'unknown while the store is sealed' if found.devices is None else found.devices}")
    return 1


def _say_pairing(say: common.Say, found: dict[str, Any]) -> None:
    say(f"pairing:  {found['pairing']}" + (f" ({found['reason']})" if found["reason"] else ""))
    if found["way_out"]:
        say(f"          {found['way_out']}")


def _devices(args: argparse.Namespace) -> int:
    answer = _ask(args, "devices")
    if args.json:
        print(json.dumps(answer))
        return 0
    from novakey.system.paste import command

    say = common.printer()
    if not answer["devices"]:
        say("no phone is paired")
    for row in answer["devices"]:
        say(_called(row["id"], row["name"]))
        paired = common.when(row["paired_unix"]) if row["paired_unix"] else "not known"
        say(f"  paired:    {paired}" + (f" from {row['paired_from']}" if row["paired_from"] else ""))
        say(f"  last seen: {common.when(row['last_seen_unix']) if row['last_seen_unix'] else 'never'}")
        say(f"  messages:  {row['messages']}, secrets delivered: {row['delivered']}")
        if row["unheard"]:
            revoking = command("novakey.py", "devices", "revoke", foreign=row["name"] or row["id"])
            say(f"  not heard since a newer phone was paired. to forget it: {revoking}")
    return 0


def _rename(args: argparse.Namespace) -> int:
    answer = _ask(args, "rename", device=args.device, name=args.name)
    text = f"renamed: {answer['device']} is called {answer['name']}" if answer["name"] else "its name is gone"
    return _done(args, answer, text)


def _revoke(args: argparse.Namespace) -> int:
    answer = _ask(args, "revoke", device=args.device)
    return _done(
        args, answer, f"revoked: {_called(answer['revoked'], answer['name'])}, {answer['devices']} left"
    )


def _gate(args: argparse.Namespace) -> int:
    answer = _ask(args, args.op, device=args.device, **({} if args.ms is None else {"ms": args.ms}))
    what = "armed" if args.op == "arm" else "approved"
    until = f"{answer['ms']} ms, until {_clock(answer['until_unix'])}"
    if answer.get("program"):
        until += f", into {answer['program']}"
    return _done(args, answer, f"{what}: {_called(answer[what], answer['name'])} for {until}")


def _close(args: argparse.Namespace) -> int:
    answer = _ask(args, args.op)
    what = "disarmed" if args.op == "disarm" else "denied"
    return _done(args, answer, f"{what}: {', '.join(answer[what]) or 'nothing was open'}")


def _pause(args: argparse.Namespace) -> int:
    answer = _ask(args, args.op)
    text = "paused: no phone's secret is taken until: novakey.py resume" if answer["paused"] else "resumed"
    return _done(args, answer, text)


def _log(args: argparse.Namespace) -> int:
    from novakey.control.client import NoDaemonError

    try:
        return _follow(args)
    except NoDaemonError as error:
        cure = f"{error.cure}; the log file: {_log_file(args)}" if error.cure else str(_log_file(args))
        raise NoDaemonError(error.problem, cure) from None


def _log_file(args: argparse.Namespace) -> Path:
    from novakey.log import format as log
    from novakey.log import rotate

    settings = common.settings(args)
    return rotate.folder(settings, common.paths(args).log) / (settings.log_file or log.DEFAULT_FILE)


def _follow(args: argparse.Namespace) -> int:
    from novakey.control import client
    from novakey.wire.control import Event

    say = common.printer()
    arguments = {"lines": args.lines, "follow": not args.no_follow}
    with client.request(common.paths(args), "log", **arguments) as asked:
        while True:
            match asked.next(client.FOLLOW_S):
                case Event(members=members) if args.json:
                    print(json.dumps(members), flush=True)
                case Event(members=members):
                    say(members["text"])
                case None:
                    pass
                case _:
                    return 0


def _done(args: argparse.Namespace, answer: dict[str, Any], text: str) -> int:
    if args.json:
        print(json.dumps(answer))
    else:
        common.printer()(text)
    return 0


def _called(device_id: str, name: str) -> str:
    return f"{name} ({device_id})" if name else device_id


def _gate_text(rows: list[dict[str, Any]]) -> str:
    return (
        ", ".join(f"{_called(row['device'], row['name'])} until {_clock(row['until_unix'])}" for row in rows)
        or "no phone"
    )


def _clock(unix: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(unix))
