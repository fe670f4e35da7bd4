"""The command line: words in, exit code out.

0 done, 1 refused or failed, 2 usage or configuration, 3 store or keys unusable,
4 environment. Each command is one function; errors become a message here only.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from novakey import __version__, config
from novakey.config import Settings
from novakey.errors import NovaKeyError
from novakey.paths import Paths
from novakey.secret import Secret

_EXIT_CODES = """\
exit codes: 0 done, 1 refused or failed, 2 usage or configuration,
            3 store or keys unusable, 4 environment
"""


def main(argv: Sequence[str]) -> int:
    """Run one command; its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except NovaKeyError as error:
        print(f"novakey: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130  # what a shell expects after Ctrl-C
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="novakey.py",
        description="NovaKey: a phone as a secure keyboard. Without a command, the daemon starts.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"novakey {__version__}")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration, YAML or JSON")
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="keep everything under DIR instead of the user's folders"
    )
    parser.set_defaults(run=_serve)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="run the daemon (the default)",
        description="Run the daemon until SIGTERM or Ctrl-C. Where no phone is paired it shows a QR to scan.",
    )
    serve.set_defaults(run=_serve)
    _config_parser(commands)
    _phone_parser(commands)
    return parser


def _config_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "config",
        help="check or show the configuration",
        description="`check` reports every fault at once, with file, line and key, and exits 2 if there is "
        "one. `show` prints every key with its value and where that came from.",
    )
    parser.add_argument("action", choices=("check", "show"))
    parser.add_argument("--json", action="store_true", help="print JSON (with show)")
    parser.set_defaults(run=_config)


def _phone_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    phone = commands.add_parser(
        "phone",
        help="be a phone: pair, arm, approve, send",
        description="The reference phone. It pairs with a daemon and sends it messages, as a phone does.",
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--profile", type=Path, metavar="FILE", help="where the phone keeps its pairing (holds its key)"
    )
    shared.add_argument("--json", action="store_true", help="print the outcome as one line of JSON")
    actions = phone.add_subparsers(title="actions", metavar="ACTION", required=True)
    pair = actions.add_parser(
        "pair",
        parents=[shared],
        help="pair by the daemon's QR",
        description="Pair by a QR: its picture, its URI on standard input, or --uri. Arguments can be seen "
        "by other users of the machine, so prefer the first two.",
    )
    source = pair.add_mutually_exclusive_group()
    source.add_argument("--png", type=Path, metavar="FILE", help="the picture (needs zbarimg)")
    source.add_argument("--uri", metavar="URI", help="the URI itself")
    source.add_argument("stdin", nargs="?", choices=("-",), help="read the URI from standard input (default)")
    pair.add_argument("--device-id", metavar="ID", help="the name to pair under (default: a random one)")
    pair.set_defaults(run=_phone_pair)
    for name, about in (
        ("arm", "open the gate for one device for a moment"),
        ("disarm", "close it again"),
        ("approve", "approve the next secret (two-man approval)"),
        ("send", "send a secret; asked for without echo, or taken from standard input"),
    ):
        action = actions.add_parser(name, parents=[shared], help=about, description=about.capitalize() + ".")
        action.set_defaults(run=_phone_message, action=name, ms=None)
        if name == "arm":
            action.add_argument("--ms", type=int, metavar="N", help="for N milliseconds")


def _paths(arguments: argparse.Namespace) -> Paths:
    folder = arguments.data_dir or os.environ.get("NOVAKEY_DATA_DIR")
    return Paths.under(Path(folder)) if folder else Paths.of_platform()


def _settings(arguments: argparse.Namespace) -> Settings:
    return config.load(arguments.config, os.environ, _paths(arguments).config)


def _serve(arguments: argparse.Namespace) -> int:
    from novakey import app

    app.serve(_settings(arguments), _paths(arguments))
    return 0


def _config(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    if arguments.action == "check":
        print("the configuration is good")
        return 0
    rows = config.effective(settings)
    if arguments.json:
        print(json.dumps({name: {"value": value, "from": origin} for name, value, origin in rows}))
        return 0
    for name, value, origin in rows:
        shown = list(value) if isinstance(value, tuple) else value
        print(f"{name}: {json.dumps(shown, ensure_ascii=False)}  # {origin}")
    return 0


def _profile_path(arguments: argparse.Namespace) -> Path:
    return arguments.profile or _paths(arguments).data / "phone.json"


def _phone_pair(arguments: argparse.Namespace) -> int:
    from novakey import phone
    from novakey.wire.pair import valid_device_id

    if arguments.device_id is not None and not valid_device_id(arguments.device_id):
        raise NovaKeyError("--device-id must be 1 to 64 bytes of printable text without separators")
    if arguments.png is not None:
        text = phone.read_picture(arguments.png)
    else:
        text = arguments.uri or _standard_input("pairing URI: ").reveal().decode("utf-8", "replace")
    profile = phone.pair_with(text, arguments.device_id)
    path = _profile_path(arguments)
    profile.save(path)
    outcome = {"paired": profile.device_id, "profile": str(path)}
    print(json.dumps(outcome) if arguments.json else f"paired: {profile.device_id}, kept in {path}")
    return 0


def _phone_message(arguments: argparse.Namespace) -> int:
    from novakey import phone
    from novakey.wire.message import MessageType

    profile = phone.load_profile(_profile_path(arguments))
    payload = Secret(b"")
    if arguments.action == "send":
        payload = _standard_input("secret: ")
    elif arguments.ms is not None:
        payload = Secret(json.dumps({"ms": arguments.ms}).encode())
    kind = MessageType.INJECT if arguments.action == "send" else MessageType[arguments.action.upper()]
    reply = phone.send(profile, kind, payload)
    if arguments.json:
        print(reply.encode().decode().rstrip("\n"))
    else:
        print(f"{reply.outcome.reason}: {reply.msg}")
    return 0 if reply.outcome.success else 1


def _standard_input(prompt: str) -> Secret:
    """A line asked for without echo, or all of standard input less one line end."""
    from getpass import getpass

    if sys.stdin.isatty():
        return Secret(getpass(prompt).encode("utf-8", "surrogateescape"))
    data = sys.stdin.buffer.read(65536)
    return Secret(data[:-1].removesuffix(b"\r") if data.endswith(b"\n") else data)
