"""Which window has the focus, and whose it is."""

from __future__ import annotations

import os
from dataclasses import dataclass

from novakey.desktop.base import DesktopError, Focus
from novakey.desktop.x11 import wire
from novakey.desktop.x11.connection import Connection, Prefetch
from novakey.desktop.x11.machines import shows_another
from novakey.desktop.x11.snapshot import MAX_DEPTH, Snapshot
from novakey.desktop.x11.window import Window
from novakey.system.procfs import executable

NO_FOCUS = "no window has the keyboard focus"
UNDER_POINTER = f"{NO_FOCUS}, as no window manager runs: put the pointer into the window"


@dataclass(frozen=True)
class Target:
    """The window with the focus, and what is known of the top-level window that it is in."""

    window: int
    top: int
    focus: Focus
    answers_ping: bool

    @property
    def is_machine(self) -> bool:
        """Whether it shows another machine."""
        return shows_another(self.focus)


def find(connection: Connection, snapshot: Snapshot) -> Target:
    """Return the window with the focus; `DesktopError` when there is none to type into."""
    window = snapshot.focus
    if window in (0, connection.root.id):
        raise DesktopError(NO_FOCUS if snapshot.is_managed else UNDER_POINTER)
    whose = snapshot.owner_of(window)
    top = _top_level(connection, snapshot)
    if not top.is_viewable:
        raise DesktopError(NO_FOCUS)
    # The server knows whose local connection it is; where it cannot be asked, the window's word counts.
    pid = _claimed_pid(connection, top.id) if whose is None else wire.client_pid(whose.raw)
    protocols = top.numbers("WM_PROTOCOLS")
    classes = top.text("WM_CLASS").rstrip("\0").lower().split("\0")
    focus = Focus(
        window=top.id,
        pid=pid,
        program=executable(pid),
        classes=tuple(filter(None, classes)),
        title=top.text("_NET_WM_NAME") or top.text("WM_NAME"),
    )
    return Target(window, top.id, focus, answers_ping=connection.atom("_NET_WM_PING") in protocols)


def expect(connection: Connection) -> None:
    """Note what has the focus, for a delivery that comes soon: it then asks about that with all the rest."""
    keyboards = connection.ask(wire.xi_query_devices(connection.xinput))
    window = wire.focus_window(connection.ask(wire.get_input_focus()).raw)
    windows: list[int] = []
    while window not in (0, wire.POINTER_ROOT, connection.root.id) and len(windows) < MAX_DEPTH:
        windows.append(window)
        asked = Window(connection, window)
        window = asked.parent if asked.property("WM_STATE") is None else 0
    numbers = tuple(number for number, _ in wire.keyboards(keyboards.raw))
    connection.expected = Prefetch(tuple(windows), numbers)


def _top_level(connection: Connection, snapshot: Snapshot) -> Window:
    """Return the window with WM_STATE, or the topmost one without a window manager.

    A focused window that is in no managed window is the manager's own, or the desktop's:
    window managers put the focus there when no window has it.
    """
    window = snapshot.focus
    for _ in range(MAX_DEPTH):
        asked = snapshot.window(window)
        if snapshot.is_managed and asked.property("WM_STATE") is not None:
            return asked
        window = asked.parent
        if window in (0, connection.root.id):
            if snapshot.is_managed:
                raise DesktopError(NO_FOCUS)
            return asked
    raise DesktopError(NO_FOCUS)


def _claimed_pid(connection: Connection, top: int) -> int | None:
    """Return the process that the window claims, if it claims to be on this machine."""
    machine = connection.property(top, "WM_CLIENT_MACHINE")
    pids = connection.property(top, "_NET_WM_PID")
    here = isinstance(machine, bytes) and machine.decode("latin-1") == os.uname().nodename
    return pids[0] if here and isinstance(pids, list) and pids and pids[0] > 0 else None
