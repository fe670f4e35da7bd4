"""Which window has the focus, and whose it is."""

from __future__ import annotations

import os
from dataclasses import dataclass

from novakey.desktop import x11_wire
from novakey.desktop.base import DesktopError, Focus
from novakey.desktop.x11_connection import Connection
from novakey.desktop.x11_glance import Glance
from novakey.processes import executable

NO_FOCUS = "no window has the keyboard focus"
MAX_DEPTH = 64  # of windows in windows; a tree is never that deep

_POINTER_ROOT = 1


@dataclass(frozen=True)
class Target:
    """The window with the focus, and what is known of the top-level window that it is in."""

    window: int
    top: int
    focus: Focus
    answers_ping: bool


class _Window:
    """What is asked about a window, all of it at once."""

    def __init__(self, connection: Connection, window: int) -> None:
        self._connection = connection
        self.id = window
        self._tree = connection.ask(x11_wire.query_tree(window))
        self._attributes = connection.ask(x11_wire.get_window_attributes(window))
        names = ("WM_STATE", "WM_PROTOCOLS", "WM_CLASS", "_NET_WM_NAME", "WM_NAME")
        self._properties = {
            name: connection.ask(x11_wire.get_property(window, connection.atom(name))) for name in names
        }

    def parent(self) -> int:
        return x11_wire.parent(self._tree.raw)

    def is_viewable(self) -> bool:
        return x11_wire.map_state(self._attributes.raw) == x11_wire.VIEWABLE

    def property(self, name: str) -> list[int] | bytes | None:
        return x11_wire.property_value(self._properties[name].raw)

    def text(self, name: str) -> str:
        value = self.property(name)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def find(connection: Connection, glance: Glance) -> Target:
    """The window with the focus; `DesktopError` when there is none to type into."""
    window, managed = glance.focus, glance.is_managed
    if window in (0, _POINTER_ROOT, connection.root.id):
        raise DesktopError(NO_FOCUS)
    resource = connection.resource
    whose = None if resource is None else connection.ask(x11_wire.query_client_ids(resource, window))
    top = _top_level(connection, window, managed)
    if not top.is_viewable():
        raise DesktopError(NO_FOCUS)
    # The server knows whose local connection it is; where it cannot be asked, the window's word counts.
    pid = _claimed_pid(connection, top.id) if whose is None else x11_wire.client_pid(whose.raw)
    protocols = top.property("WM_PROTOCOLS") or []
    classes = top.text("WM_CLASS").rstrip("\0").lower().split("\0")
    focus = Focus(
        window=top.id,
        pid=pid,
        program=executable(pid),
        classes=tuple(filter(None, classes)),
        title=top.text("_NET_WM_NAME") or top.text("WM_NAME"),
    )
    return Target(window, top.id, focus, answers_ping=connection.atom("_NET_WM_PING") in protocols)


def _top_level(connection: Connection, window: int, managed: bool) -> _Window:
    """The window that the window manager manages (it has WM_STATE), or the topmost where there is no manager.

    A focused window that is in no managed window is the manager's own, or the desktop's:
    window managers put the focus there when no window has it.
    """
    for _ in range(MAX_DEPTH):
        asked = _Window(connection, window)
        if managed and asked.property("WM_STATE") is not None:
            return asked
        window = asked.parent()
        if window in (0, connection.root.id):
            if managed:
                raise DesktopError(NO_FOCUS)
            return asked
    raise DesktopError(NO_FOCUS)


def _claimed_pid(connection: Connection, top: int) -> int | None:
    """The process that the window claims, if it claims to be on this machine."""
    machine = connection.property(top, "WM_CLIENT_MACHINE")
    pids = connection.property(top, "_NET_WM_PID")
    here = isinstance(machine, bytes) and machine.decode("latin-1") == os.uname().nodename
    return pids[0] if here and pids and pids[0] > 0 else None
