"""Whether browsers find the host of the extension."""

from __future__ import annotations

import os

from novakey.config.settings import Settings
from novakey.doctor.finding import About, Check, Finding
from novakey.pull import browser_manifests
from novakey.system.paths import Paths


def _browsers(paths: Paths, settings: Settings) -> Finding:
    about = About("browsers", "their extension fills fields of web pages from the phone")
    rows = browser_manifests.status(paths)
    ours = [row.browser.name for row in rows if row.manifest == browser_manifests.OURS]
    script = paths.browser_host
    if ours and not os.access(script, os.X_OK):
        return about.fault(f"{script}, which they start, is not there", "novakey.py browser install")
    others = [row.browser.name for row in rows if row.manifest == browser_manifests.OTHER]
    if others:
        return about.note(
            f"{', '.join(others)}: the manifest there belongs to another installation",
            "see the path: novakey.py browser status --json",
        )
    boxed = browser_manifests.sandboxed()
    if boxed:
        return about.note(
            f"{', '.join(boxed)}: a browser in a sandbox starts no program outside of it",
            "use the browser of your distribution or its maker; Firefox as a snap asks for it by the desktop "
            "portal, where that portal is new enough",
        )
    if ours:
        return about.ok(f"{', '.join(ours)} can ask")
    return about.ok("none may ask")


CHECKS: tuple[Check, ...] = (_browsers,)
