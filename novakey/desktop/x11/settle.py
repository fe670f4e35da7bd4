"""When a window's program has read the keys that were typed into it.

A program looks up what a key means when it comes to handle the key, not when the
key was pressed: symbols must stay on borrowed keys until then. Most toolkits answer
`_NET_WM_PING` in the order of their events, so the answer says it (EWMH 1.5). Of the
others, as terminals and Tk, the process is watched: it does not go to sleep while there is
something to read. That takes no part of its own, but a program that waits for something
else in the middle of its work looks as if it had read everything.

A program may look keys up in a map that it is told about over another connection than the
one that its windows and their keys are on. Chromium does: it asks GTK, which has a connection
of its own, and comes to that whenever it comes to it. So a window of every connection of
the program is asked, and each answer comes after the news of the map on its own connection.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
from Xlib import X
from Xlib.protocol import event

from novakey.desktop.x11 import wire
from novakey.desktop.x11.connection import Connection
from novakey.desktop.x11.focus import Target

_POLL_S = 0.01
_QUIET_POLLS = 3  # asleep, and not run for so many polls
_ASLEEP_POLLS = 8  # a program that does a little all the time is never quiet, but was always found asleep
_NO_WAY_TO_TELL_S = 0.5
_MAX_THREADS = 256


class Listener:
    """Waits for the program of one target."""

    def __init__(self, connection: Connection, target: Target) -> None:
        self._connection = connection
        self._target = target
        self._ping = connection.atom("_NET_WM_PING")
        if target.answers_ping:
            # Qt 5 sends its answer to those who look at the root window's own structure.
            mask = X.SubstructureNotifyMask | X.StructureNotifyMask
            connection.root.change_attributes(event_mask=mask)

    def has_read_keys(self, until: float) -> bool:
        """Return whether it was seen to have read everything by `until` (monotonic seconds)."""
        if self._target.answers_ping:
            return self._pongs([self._target.top], until)
        return self._asleep(until)

    def knows_map(self, until: float) -> bool:
        """Return whether a program that answers pings has read the present meaning of the keys."""
        with self._connection.grabbed():  # no window goes away until then
            others = _windows_of_other_connections(self._connection, self._target.top)
        return self._pongs([self._target.top, *others], until)

    def _pongs(self, windows: Iterable[int], until: float) -> bool:
        display = self._connection.display
        missing = {self._send_ping(window) for window in windows}
        display.sync()
        while time.monotonic() < until:
            for _ in range(display.pending_events()):
                missing.discard(self._pong(display.next_event()))
            if not missing:
                return True
            gevent.sleep(_POLL_S / 5)
        return False

    def _send_ping(self, top: int) -> int:
        # The number comes back with the answer; the window manager has its own and ignores others.
        number = int.from_bytes(os.urandom(4), "little") | 1
        protocols = self._connection.atom("WM_PROTOCOLS")
        display = self._connection.display
        window = display.create_resource_object("window", top)
        data = (32, [self._ping, number, top, 0, 0])
        window.send_event(event.ClientMessage(window=window, client_type=protocols, data=data))
        return number

    def _pong(self, got: Any) -> int | None:
        """Return the number of the ping that this event answers."""
        if got.type != X.ClientMessage:
            return None
        kind, values = got.data
        return int(values[1]) if kind == 32 and values[0] == self._ping else None

    def _asleep(self, until: float) -> bool:
        start, focus = time.monotonic(), self._target.focus
        before = _threads(focus.pid)
        quiet = asleep = 0
        while time.monotonic() < until:
            gevent.sleep(_POLL_S)
            # One that waits for the server sleeps too: by now the server has served it as well as us.
            self._connection.sync()
            now = _threads(focus.pid)
            if not now:  # another machine's process, or no /proc: time is all there is
                gevent.sleep(max(0.0, min(until, start + _NO_WAY_TO_TELL_S) - time.monotonic()))
                return True
            asleep = asleep + 1 if all(thread.state == "S" for thread in now.values()) else 0
            quiet = quiet + 1 if asleep and now == before else 0
            before = now
            if quiet >= _QUIET_POLLS or asleep >= _ASLEEP_POLLS:
                return True
        return False


def _windows_of_other_connections(connection: Connection, window: int) -> list[int]:
    """One that answers pings of each further connection of the program that a window belongs to.

    Windows that are mapped may be in a frame of the window manager's. One that is not is there too:
    GTK has such a window on each of its connections.
    """
    if connection.resource is None:
        return []
    asked = connection.ask(wire.query_client_ids(connection.resource, 0))
    tree = connection.ask(wire.query_tree(connection.root.id))
    pids, client = wire.client_pids(asked.raw), connection.client_of(window)
    others = {other for other, pid in pids.items() if pid == pids.get(client) and other != client}
    protocols = {
        child: connection.ask(wire.get_property(child, connection.atom("WM_PROTOCOLS")))
        for child in wire.children(tree.raw)
        if connection.client_of(child) in others
    }
    ping = connection.atom("_NET_WM_PING")
    able = [child for child, reply in protocols.items() if ping in wire.property_numbers(reply.raw)]
    return list({connection.client_of(child): child for child in able}.values())


@dataclass(frozen=True)
class _Thread:
    state: str
    ran: str  # for how long, to the nanosecond


def _threads(pid: int | None) -> dict[str, _Thread]:
    """Return the threads of a process by their number; none when that is not to be known."""
    found = {}
    try:
        folders = sorted(Path(f"/proc/{pid}/task").iterdir())[:_MAX_THREADS] if pid else []
    except OSError:
        return {}
    for folder in folders:
        try:
            state = (folder / "stat").read_text(errors="replace").rpartition(") ")[2][:1]
            found[folder.name] = _Thread(state, (folder / "schedstat").read_text())
        except OSError:  # a thread that has just ended, or a kernel without these figures
            continue
    return found
