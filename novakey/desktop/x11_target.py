"""Which window has the focus, and whose it is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Xlib import X

from novakey.desktop.base import DesktopError, Focus
from novakey.desktop.x11_connection import ERRORS, Connection

NO_FOCUS = "no window has the keyboard focus"
MAX_DEPTH = 64  # of windows in windows; a tree is never that deep


@dataclass(frozen=True)
class Target:
    """The window with the focus, and what is known of the top-level window that it is in."""

    window: int
    top: int
    focus: Focus
    answers_ping: bool


def find(connection: Connection) -> Target:
    """The window with the focus; `DesktopError` when there is none to type into."""
    focus = connection.display.get_input_focus().focus
    if isinstance(focus, int) or focus.id == connection.root.id:  # None and PointerRoot are numbers
        raise DesktopError(NO_FOCUS)
    top = _top_level(connection, focus)
    if top.get_attributes().map_state != X.IsViewable:
        raise DesktopError(NO_FOCUS)
    pid = _pid(connection, focus.id, top)
    protocols = connection.property(top, "WM_PROTOCOLS") or []
    return Target(
        window=focus.id,
        top=top.id,
        focus=Focus(
            window=top.id,
            pid=pid,
            program=_program(pid),
            classes=tuple(name.lower() for name in top.get_wm_class() or ()),
            title=_title(connection, top),
        ),
        answers_ping=connection.display.get_atom("_NET_WM_PING") in protocols,
    )


def _top_level(connection: Connection, window: Any) -> Any:
    """The window that the window manager manages (it has WM_STATE), or the topmost where there is no manager.

    A focused window that is in no managed window is the manager's own, or the desktop's:
    window managers put the focus there when no window has it.
    """
    managed = connection.property(connection.root, "_NET_SUPPORTING_WM_CHECK") is not None
    for _ in range(MAX_DEPTH):
        if managed and connection.property(window, "WM_STATE") is not None:
            return window
        parent = window.query_tree().parent
        if isinstance(parent, int) or parent.id == connection.root.id:
            if managed:
                raise DesktopError(NO_FOCUS)
            return window
        window = parent
    raise DesktopError(NO_FOCUS)


def _pid(connection: Connection, window: int, top: Any) -> int | None:
    """The process that made the window: from the server, which knows whose local connection it is.

    Only where the server cannot be asked, as the window claims, for this machine.
    """
    try:
        ids = connection.display.res_query_client_ids([{"client": window, "mask": 2}]).ids
        pids = [number for entry in ids for number in entry.value]
    except (AttributeError, *ERRORS):  # no X-Resource extension, or an old one
        machine = connection.property(top, "WM_CLIENT_MACHINE") or b""
        here = isinstance(machine, bytes) and machine.decode("latin-1") == os.uname().nodename
        pids = list(connection.property(top, "_NET_WM_PID") or []) if here else []
    return pids[0] if pids and pids[0] > 0 else None


def _title(connection: Connection, top: Any) -> str:
    for name in ("_NET_WM_NAME", "WM_NAME"):
        value = connection.property(top, name)
        if value:
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return ""


def _program(pid: int | None) -> str | None:
    if pid is None:
        return None
    try:
        path = Path(f"/proc/{pid}/exe").readlink()
    except OSError:
        return None
    return path.name.removesuffix(" (deleted)") or None
