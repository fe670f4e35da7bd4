"""Which window has the focus, whose it is, and when it has read what was typed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
from Xlib import X
from Xlib.protocol import event

from novakey.desktop.base import DesktopError, Focus
from novakey.desktop.x11_connection import ERRORS, Connection

NO_FOCUS = "no window has the keyboard focus"
MAX_DEPTH = 64  # of windows in windows; a tree is never that deep

_POLL_S = 0.01
_QUIET_POLLS = 3  # a sleeping process that has not run for so many polls has read its events
_NO_WAY_TO_TELL_S = 0.5


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


class Listener:
    """Finds out when a window's program has read the keys sent to it.

    A program looks up what a key means when it comes to handle the key, not when the
    key was pressed: symbols must stay on borrowed keys until then. Most toolkits answer
    `_NET_WM_PING` in the order of their events, so the answer says it. For the others a local
    process is watched until it sleeps and no longer runs, which takes no part of its own.
    """

    def __init__(self, connection: Connection, target: Target) -> None:
        self._connection = connection
        self._target = target
        self._ping = connection.display.get_atom("_NET_WM_PING")
        if target.answers_ping:
            connection.root.change_attributes(event_mask=X.SubstructureNotifyMask)

    def wait(self, until: float) -> bool:
        """True when it has read everything; False when that was not seen by then (monotonic seconds)."""
        if self._target.answers_ping:
            return self._pong(until)
        return self._quiet(until)

    def _pong(self, until: float) -> bool:
        # The number comes back with the answer; the window manager has its own and ignores others.
        number = int.from_bytes(os.urandom(4), "little") | 1
        display = self._connection.display
        protocols = display.get_atom("WM_PROTOCOLS")
        window = display.create_resource_object("window", self._target.top)
        data = (32, [self._ping, number, self._target.top, 0, 0])
        window.send_event(event.ClientMessage(window=window, client_type=protocols, data=data))
        display.sync()
        while time.monotonic() < until:
            for _ in range(display.pending_events()):
                if self._is_pong(display.next_event(), number):
                    return True
            gevent.sleep(_POLL_S / 5)
        return False

    def _is_pong(self, got: Any, number: int) -> bool:
        if got.type != X.ClientMessage:
            return False
        kind, values = got.data
        return bool(kind == 32 and values[0] == self._ping and values[1] == number)

    def _quiet(self, until: float) -> bool:
        before, quiet = None, 0
        end = min(until, time.monotonic() + _NO_WAY_TO_TELL_S)
        while time.monotonic() < until:
            gevent.sleep(_POLL_S)
            now = _running(self._target.focus.pid)
            if now is None:  # another machine's process, or no /proc: time is all there is
                gevent.sleep(max(0.0, end - time.monotonic()))
                return True
            quiet = quiet + 1 if now == before and now[0] == "S" else 0
            before = now
            if quiet >= _QUIET_POLLS:
                return True
        return False


def _running(pid: int | None) -> tuple[str, str] | None:
    """State of a process and how long it has run, to the nanosecond; None when that is not to be known."""
    if pid is None:
        return None
    try:
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2][:1]
        return state, Path(f"/proc/{pid}/schedstat").read_text()
    except OSError:
        return None
