"""Which of the person's keyboard layouts is in effect, as GNOME's settings say.

GNOME's shell makes one keyboard map of all layouts and adds that of the locale. No program is told which of
them is in effect. The shell writes it down at each change: the source that was used last comes first.
"""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

SCHEMA = "org.gnome.desktop.input-sources"
READ_S = 1.0

Source = tuple[str, str]


def current() -> str | None:
    """Return the layout in effect, such as `de` or `de+nodeadkeys`; None where that is not known."""
    try:
        listed = subprocess.run(  # noqa: S603
            ["/usr/bin/gsettings", "list-recursively", SCHEMA],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=READ_S,
            check=True,
        )
        return in_effect(settings(listed.stdout.decode()))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def settings(listed: str) -> dict[str, Any]:
    """Return each key's value from what `gsettings` prints; those whose type is not needed are left out."""
    found = {}
    for line in listed.splitlines():
        schema, _, rest = line.partition(" ")
        key, _, value = rest.partition(" ")
        if schema == SCHEMA and key in ("sources", "mru-sources"):
            found[key] = ast.literal_eval(value.removeprefix("@a(ss) "))
        elif schema == SCHEMA and key == "per-window":
            found[key] = value
    return found


def in_effect(values: Mapping[str, Any]) -> str | None:
    """Return the layout in effect; None where each window has its own, or it belongs to an input method."""
    sources: Sequence[Source] = values.get("sources", ())
    if values.get("per-window") != "false" or not sources:
        return None
    used = [source for source in values.get("mru-sources", ()) if source in sources]
    kind, name = (used or sources)[0]
    return name if kind == "xkb" else None
