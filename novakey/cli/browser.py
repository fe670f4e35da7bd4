"""`browser`: lets the extension of a browser ask the phone, and the host that the browser starts for it."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from novakey.cli import common

if TYPE_CHECKING:
    from novakey.cli.common import Commands


def add(commands: Commands) -> None:
    """Add these commands to the command line."""
    browser = commands.add_parser(
        "browser",
        help="let a browser's extension ask the phone",
        description="The NovaKey extension fills the field of a page from a paired phone. `install` lets a "
        "browser of this user start the program that its extension talks to.",
    )
    actions = browser.add_subparsers(title="actions", metavar="ACTION", required=True)
    install = actions.add_parser(
        "install",
        help="write the manifest that a browser looks for",
        description="Write the manifest for each BROWSER, or for all that have run here: chromium, chrome, "
        "brave, edge, vivaldi, firefox, librewolf.",
    )
    status = actions.add_parser(
        "status",
        help="which browsers are there, and have the manifest",
        description="List the browsers that have run here, and whether each has the manifest of the host.",
    )
    status.add_argument("--json", action="store_true", help="print JSON")
    uninstall = actions.add_parser(
        "uninstall",
        help="remove the manifests again",
        description="Remove the manifest of each BROWSER, or of all, where this installation wrote it.",
    )
    for parser in (install, uninstall):
        parser.add_argument("browser", nargs="*", metavar="BROWSER", help="the browser's name")
    host = actions.add_parser(
        "host",
        help="what a browser starts (native messaging); not for people",
        description="Speak native messaging on standard input and output, for the NovaKey extension only. "
        "A link called novakey-browser to novakey.py does the same.",
    )
    host.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="what the browser gives")
    for parser, run in ((install, _install), (status, _status), (uninstall, _uninstall), (host, _host)):
        parser.set_defaults(run=run)


def _install(args: argparse.Namespace) -> int:
    from novakey.pull import browser_manifests
    from novakey.setup import service

    paths = common.paths(args)
    program = service.program()
    if paths.data == paths.config:  # everything under one folder, which a browser does not know of
        program += ["--data-dir", str(paths.data)]
    for browser in browser_manifests.install(paths, args.browser, program):
        common.echo(f"{browser.name}: {browser.manifest}")
    common.echo(
        "its extension is no part of this version yet: docs/browser.md; restart the browser if it runs"
    )
    return 0


def _status(args: argparse.Namespace) -> int:
    from novakey.pull import browser_manifests

    found = browser_manifests.status(common.paths(args))
    if args.json:
        for row in found:
            members = {"browser": row.browser.name, "is_there": row.is_there, "manifest": row.manifest}
            print(json.dumps({**members, "path": str(row.browser.manifest)}))
        return 0
    for row in found:
        there = "has run here" if row.is_there else "has not run here"
        common.echo(f"{row.browser.name:<10} {there:<17} manifest: {row.manifest}")
    return 0


def _uninstall(args: argparse.Namespace) -> int:
    from novakey.pull import browser_manifests

    removed = browser_manifests.remove(common.paths(args), args.browser)
    common.echo("removed: " + (", ".join(browser.name for browser in removed) or "nothing was there"))
    return 0


def _host(args: argparse.Namespace) -> int:
    from novakey.pull import browser, browser_pipe
    from novakey.wire import Malformed

    browser.check_caller(args.arguments)
    # Nothing but frames may reach the browser.
    with browser_pipe.standard() as pipe:
        try:
            browser.Host(common.paths(args), pipe).serve()
        except Malformed as error:
            common.echo(f"novakey: the browser broke the protocol: {error}", sys.stderr)
            return 1
    return 0
