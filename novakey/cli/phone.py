"""The reference phone's commands: pair, arm, disarm, approve, send."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from novakey.cli import common
from novakey.errors import ConfigError, NovaKeyError
from novakey.secret import Secret

if TYPE_CHECKING:
    from novakey.cli.common import Commands
    from novakey.like_app import Shown


def add(commands: Commands) -> None:
    """Add these commands to the command line."""
    parser = commands.add_parser(
        "phone",
        help="be a phone: pair, arm, approve, send",
        description="The reference phone. It pairs with a daemon and sends it messages, as a phone does.",
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--profile", type=Path, metavar="FILE", help="where the phone keeps its pairing (holds its key)"
    )
    shared.add_argument("--json", action="store_true", help="print the outcome as one line of JSON")
    like_app = argparse.ArgumentParser(add_help=False)
    like_app.add_argument(
        "--like-app", action="store_true", help="do what the app in the field does, and show what it shows"
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    pair = actions.add_parser(
        "pair",
        parents=[shared, like_app],
        help="pair by the daemon's QR",
        description="Pair by a QR: its picture, its URI on standard input, or --uri. Arguments can be seen "
        "by other users of the machine, so prefer the first two.",
    )
    source = pair.add_mutually_exclusive_group()
    source.add_argument("--png", type=Path, metavar="FILE", help="the picture (needs zbarimg)")
    source.add_argument("--uri", metavar="URI", help="the URI itself")
    source.add_argument("stdin", nargs="?", choices=("-",), help="read the URI from standard input (default)")
    pair.add_argument(
        "--listener",
        metavar="HOST:PORT",
        help="with --like-app: the listener as typed into the app, which compares it with the QR",
    )
    pair.add_argument("--device-id", metavar="ID", help="the name to pair under (default: a random one)")
    pair.add_argument("--replace", action="store_true", help="forget the pairing that the profile holds")
    pair.set_defaults(run=_pair)
    for name, about in (
        ("arm", "open the gate for one device for a moment"),
        ("disarm", "close it again"),
        ("approve", "approve the next secret (two-man approval)"),
        ("send", "send a secret; asked for without echo, or taken from standard input"),
    ):
        # The app has no button for approve: each send does it.
        parents = [shared] if name == "approve" else [shared, like_app]
        action = actions.add_parser(name, parents=parents, help=about, description=about.capitalize() + ".")
        action.set_defaults(run=_message, action=name, ms=None, like_app=False)
        if name == "arm":
            action.add_argument("--ms", type=int, metavar="N", help="for N milliseconds")


def _profile_path(args: argparse.Namespace) -> Path:
    return args.profile or common.paths(args).phone


def _pair(args: argparse.Namespace) -> int:
    from novakey import phone
    from novakey.wire.pair import ID_RULE, valid_device_id

    if args.listener is not None and not args.like_app:
        raise ConfigError("only the app knows a listener", "use --listener with --like-app")
    if args.device_id is not None and not valid_device_id(args.device_id):
        raise ConfigError(f"--device-id {ID_RULE}")
    path = _profile_path(args)
    if os.path.lexists(path) and not args.replace:
        raise NovaKeyError(
            f"the profile {path} holds a pairing already", "--profile FILE for a second phone, or --replace"
        )
    if args.png is not None:
        text = phone.read_picture(args.png)
    else:
        text = args.uri or _standard_input("pairing URI: ").reveal().decode("utf-8", "replace")
    if args.like_app:
        return _pair_like_app(args, path, text)
    profile = phone.pair_with(text, args.device_id)
    profile.save(path)
    outcome = {"paired": profile.device_id, "profile": str(path)}
    common.echo(json.dumps(outcome) if args.json else f"paired: {profile.device_id}, kept in {path}")
    return 0


def _pair_like_app(args: argparse.Namespace, path: Path, text: str) -> int:
    """Pair as the app does, under the id of the profile that is replaced: a phone keeps its id."""
    from novakey import like_app, phone

    device_id = args.device_id
    if device_id is None:
        device_id = phone.load_profile(path).device_id if path.exists() else like_app.new_device_id()
    shown = like_app.pair_with(text, device_id, args.listener)
    if shown.profile is not None:
        shown.profile.save(path)
    return _show(args, shown)


def _show(args: argparse.Namespace, shown: Shown) -> int:
    """Print each message with its reply, and what the app would show."""
    replies = [(step.kind.name.lower(), step.reply) for step in shown.steps]
    if args.json:
        steps = [
            {"sent": sent, "reason": reply.outcome.reason, "msg": reply.msg} if reply else {"sent": sent}
            for sent, reply in replies
        ]
        print(json.dumps({"shows": shown.text, "success": shown.success, "steps": steps}))
    else:
        for sent, reply in replies:
            common.echo(f"{sent}: {reply.outcome.reason}: {reply.msg}" if reply else f"{sent}: no reply")
        common.echo(f"the app shows: {shown.text}" if shown.text else "the app shows no message")
    return 0 if shown.success else 1


def _message_like_app(args: argparse.Namespace) -> int:
    from novakey import like_app, phone

    profile = phone.load_profile(_profile_path(args))
    if args.ms is not None:
        raise ConfigError("the app arms for 15 s always", "leave --ms out, or --like-app")
    if args.action == "send":
        return _show(args, like_app.send(profile, _standard_input("secret: ")))
    return _show(args, like_app.arm(profile) if args.action == "arm" else like_app.disarm(profile))


def _message(args: argparse.Namespace) -> int:
    from novakey import phone
    from novakey.wire.message import MessageType

    if args.like_app:
        return _message_like_app(args)
    profile = phone.load_profile(_profile_path(args))
    payload = Secret(b"")
    if args.action == "send":
        payload = _standard_input("secret: ")
    elif args.ms is not None:
        payload = Secret(json.dumps({"ms": args.ms}).encode())
    kind = MessageType.INJECT if args.action == "send" else MessageType[args.action.upper()]
    reply = phone.send(profile, kind, payload)
    if args.json:
        print(json.dumps(json.loads(reply.encode())))
    else:
        common.echo(f"{reply.outcome.reason}: {reply.msg}")
    return 0 if reply.outcome.success else 1


def _standard_input(prompt: str) -> Secret:
    """Return a line asked for without echo, or all of standard input less one line end."""
    if sys.stdin.isatty():
        from getpass import getpass

        from novakey.system.tty import restored

        with restored(sys.stdin.fileno()):
            typed = getpass(prompt)
        return Secret(typed.encode("utf-8", "surrogateescape"))
    data = sys.stdin.buffer.read(65536)
    return Secret(data[:-1].removesuffix(b"\r") if data.endswith(b"\n") else data)
