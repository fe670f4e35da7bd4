"""`pair`: the window's QR on the terminal, live, until a phone has paired or the window is over."""

from __future__ import annotations

import argparse
import base64
import ipaddress
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from novakey.cli import common
from novakey.errors import NovaKeyError

if TYPE_CHECKING:
    from novakey.cli.common import Commands
    from novakey.control.client import Asked
    from novakey.terminal import Screen
    from novakey.wire.uri import PairingUri

_START_S = 20.0  # a service that is starting
_LOOK_S = 0.25  # how soon a resized terminal is redrawn
# Control sequences of xterm: the other screen, which no scrolling back brings back, without the cursor.
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_REDRAW, _END_LINE, _END_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def add(commands: Commands) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "pair",
        help="show the pairing QR here, until a phone has paired",
        description="Show the pairing window's QR with the time left; where none is open and no phone is "
        "paired, open one. Ends with `paired: DEVICE`, or with the reason why not and exit code 1. "
        "Ctrl-C ends the showing, not the window.",
    )
    parser.add_argument("--add", action="store_true", help="open a window although a phone is paired")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument(
        "--blob",
        action="store_true",
        help="pair a device made here, and print the JSON that the app takes in place of a scan",
    )
    shown.add_argument(
        "--link",
        action="store_true",
        help="print the QR's text for a phone without a camera, and wait until it has paired; "
        "treat the text like a password",
    )
    shown.add_argument(
        "--json",
        action="store_true",
        help="print a line of JSON for each event; the first holds the QR's text",
    )
    parser.set_defaults(run=_pair)


def _pair(args: argparse.Namespace) -> int:
    from novakey.control import client

    with client.request(common.paths(args), "pair", add=args.add) as asked:
        if args.blob:
            return _blob(args, asked)
        try:
            show = _print_events if args.json else _print_link if args.link else _show
            result = show(asked)
        except KeyboardInterrupt:
            told = "the window stays open until its time is over; to see it again: novakey.py pair"
            raise KeyboardInterrupt(told) from None
    if not args.json:
        _say_paired(result)
    return 0


def _say_paired(result: dict[str, Any]) -> None:
    """Say who paired, and offer to revoke a device that this one may replace."""
    from novakey.system.paste import command

    say = common.printer()
    say(f"{'paired again' if result['again'] else 'paired'}: {result['paired']} from {result['from']}")
    for row in [] if result["again"] else result["others"]:
        seen = f"last heard {common.when(row['last_seen_unix'])}" if row["last_seen_unix"] else "never heard"
        called = row["name"] or row["id"]
        revoking = command("novakey.py", "devices", "revoke", foreign=called)
        say(f"also paired: {called}, {seen}. if the new phone replaces it: {revoking}")


def _blob(args: argparse.Namespace, asked: Asked) -> int:
    """Pair as a phone does, by the open window and over loopback, and print what the phone would keep.

    The window's rules hold for it as for a scan. The key is printed once and kept in the store only.
    """
    from novakey import phone
    from novakey.control import client
    from novakey.system.paste import command
    from novakey.wire import uri
    from novakey.wire.control import Event

    bound = client.ask(common.paths(args), "status")
    window = asked.next(client.FOLLOW_S)
    if not isinstance(window, Event):
        raise NovaKeyError("the daemon showed no window", "see: novakey.py status")
    shown = uri.decode(window.members["uri"])
    here = shown._replace(host=_loopback(bound["host"]), port=bound["port"])
    made = phone.pair_with(here.encode())
    host = f"[{shown.host}]" if ":" in shown.host else shown.host
    blob = {
        "v": uri.VERSION,
        "device_id": made.device_id,
        "device_key_hex": made.device_key.reveal().hex(),
        "server_addr": f"{host}:{shown.port}",
        "server_kyber768_pub": base64.b64encode(made.public).decode(),
    }
    print(json.dumps(blob), flush=True)
    revoking = command("novakey.py", "devices", "revoke", foreign=made.device_id)
    common.echo(uri.listener(shown.host, shown.port), sys.stderr)
    common.echo(f"this text lets its reader send: treat it like a password. to undo: {revoking}", sys.stderr)
    return 0


def _loopback(host: str) -> str:
    """Where a daemon is reached that listens on `host`."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def when_it_runs(args: argparse.Namespace) -> int:
    """Show the window of a daemon that has just been started."""
    from novakey.control import client
    from novakey.control.client import NoDaemonError

    until = time.monotonic() + _START_S
    while True:
        try:
            if client.ask(common.paths(args), "status")["devices"]:
                common.printer()("a phone is paired already; for another: novakey.py pair --add")
                return 0
            break
        except NoDaemonError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
    args.add = args.json = args.link = args.blob = False
    return _pair(args)


def _print_events(asked: Asked) -> dict[str, Any]:
    from novakey.control import client
    from novakey.wire.control import Done, Event

    while True:
        match asked.next(client.FOLLOW_S):
            case Event(name, members):
                print(json.dumps({"event": name, **members}), flush=True)
            case Done(members):
                print(json.dumps(members), flush=True)
                return dict(members)


def _print_link(asked: Asked) -> dict[str, Any]:
    """Print the link; what is said to the person goes to standard error, so that the link can be piped."""
    from novakey.control import client
    from novakey.wire import uri
    from novakey.wire.control import Done, Event

    while True:
        match asked.next(client.FOLLOW_S):
            case Event("window", members):
                code = uri.decode(members["uri"])
                common.echo(uri.listener(code.host, code.port), sys.stderr)
                common.echo(members["uri"])
            case Event("refused", members):
                common.echo(_refused(members), sys.stderr)
            case Done(members):
                return dict(members)


def _show(asked: Asked) -> dict[str, Any]:
    """Show the window in the way that standard output can, until the end."""
    from novakey.terminal import Screen

    screen = Screen.of(sys.stdout)
    if not screen.moves:
        return _print(asked, sys.stdout.isatty())
    try:
        sys.stdout.write(_ENTER)
        return _Live().run(asked)
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()


class _Live:
    """The window on a terminal whose cursor moves: redrawn each second, and when the terminal changes."""

    def __init__(self) -> None:
        self._uri: PairingUri | None = None
        self._picture = Path()
        self._note = ""
        self._screen: Screen | None = None
        self._drawn_at = 0

    def run(self, asked: Asked) -> dict[str, Any]:
        from novakey.wire import uri
        from novakey.wire.control import Done, Event

        while True:
            match asked.next(_LOOK_S):
                case Event("window", members):
                    if self._uri is not None:
                        self._note = "The address of this computer changed: scan this QR."
                    self._uri, self._picture = uri.decode(members["uri"]), Path(members["picture"])
                case Event("attempt", members):
                    self._note = _attempt(members["attempts_left"])
                case Event("refused", members):
                    self._note = _refused(members)
                case Done(members):
                    return dict(members)
            self._draw()

    def _draw(self) -> None:
        from novakey.pairing.display import page
        from novakey.terminal import Screen

        if self._uri is None:
            return
        now, screen = int(time.time()), Screen.of(sys.stdout)
        if (now, screen) == (self._drawn_at, self._screen):
            return
        body = f"{_END_LINE}\r\n".join(page(self._uri, self._picture, now, screen, self._note))
        # Erasing first would flicker each second; a terminal of another size has moved what was there.
        erase = "" if screen == self._screen else _END_SCREEN
        self._screen, self._drawn_at = screen, now
        sys.stdout.write(f"{_REDRAW}{erase}{body}{_END_LINE}{_END_SCREEN}")
        sys.stdout.flush()


def _print(asked: Asked, terminal: bool) -> dict[str, Any]:
    """Show the window on paper: the QR once without control sequences, or else its file."""
    from novakey.control import client
    from novakey.pairing.display import page, time_left
    from novakey.terminal import Screen
    from novakey.wire import uri
    from novakey.wire.control import Done, Event

    while True:
        match asked.next(client.FOLLOW_S):
            case Event("window", members):
                code = uri.decode(members["uri"])
                left = time_left(code, int(time.time()))
                paper = page(code, Path(members["picture"]), int(time.time()), Screen.of(sys.stdout))
                scanning = [f"Scan {members['picture']}", uri.listener(code.host, code.port), left]
                common.echo("\n".join(paper if terminal else scanning))
            case Event("attempt", members):
                common.echo(_attempt(members["attempts_left"]))
            case Event("refused", members):
                common.echo(_refused(members))
            case Done(members):
                return dict(members)


def _refused(members: Mapping[str, Any]) -> str:
    return f"A phone at {members['from']} cannot pair: {members['why']}"


def _attempt(left: int) -> str:
    return f"A phone began and did not finish. Attempts left: {left}."
