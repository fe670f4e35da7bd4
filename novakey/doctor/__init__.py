"""Checks in order: what was found, why it matters, and the command that repairs it.

    finding   what a line of the report is
    storage   Python, folders, pairing, store and keys, the sealing backend
    network   port, the address that phones are given, firewall, clock
    session   display, focus, clipboard, notifications, screen lock, the owner's socket, service
    browser   browsers that may ask for a secret
    canary    awkward characters, typed and compared (`--type`)
    window    where they are typed into on X11
    line      where they are typed into elsewhere

A check changes nothing that it finds.
"""

from __future__ import annotations

from collections.abc import Iterator

from novakey.config.settings import Settings
from novakey.doctor import browser, network, session, storage
from novakey.doctor.finding import Check, Finding, Verdict
from novakey.system.paths import Paths

__all__ = ["Finding", "Verdict", "examine", "sealing", "typing"]

CHECKS: tuple[Check, ...] = (*storage.CHECKS, *network.CHECKS, *session.CHECKS, *browser.CHECKS)


def sealing(paths: Paths, settings: Settings) -> Finding:
    """Whether a device could be stored at all."""
    return storage.sealing(paths, settings)


def typing(settings: Settings) -> Finding:
    """Whether awkward characters arrive as they are typed; takes the focus for a moment."""
    from novakey.doctor import canary

    return canary.examine(settings)


def examine(paths: Paths, settings: Settings) -> Iterator[Finding]:
    """Run every check, in the order in which one builds on another."""
    for check in CHECKS:
        yield check(paths, settings)
