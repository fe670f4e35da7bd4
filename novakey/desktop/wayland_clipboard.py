"""Owning the clipboard under Wayland, in process (ext-data-control-v1, or wlr-data-control-unstable-v1).

The compositor keeps no copy: whoever pastes is given a pipe, and a greenlet of ours
writes into it. That ends when another program copies something, or at `close`.
Hanging up takes back the selection only while it is still ours.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import gevent
import gevent.event

from novakey.desktop.piped import write_and_close
from novakey.desktop.wayland_session import connect
from novakey.desktop.wayland_wire import ERRORS, Connection, OwnedFile, ProtocolError
from novakey.secret import Secret

# The second is the first one's older name; requests and events are the same.
MANAGERS = ("ext_data_control_manager_v1", "zwlr_data_control_manager_v1")
# KDE's clipboard manager, and others that follow it, keep no copy of what has this type.
MANAGER_HINT = "x-kde-passwordManagerHint"
TEXTS = ("text/plain;charset=utf-8", "text/plain", "UTF8_STRING", "TEXT", "STRING")

_log = logging.getLogger(__name__)


def offered_in(interfaces: Iterable[str]) -> bool:
    """Whether the clipboard can be owned under a compositor with these interfaces."""
    return not set(MANAGERS).isdisjoint(interfaces)


class SelectionOwner:
    """Owns the clipboard with one text. Keeps a copy of the secret, wiped at the end.

    `fetched` is set whenever a program fetches the text. Raises `KeyError` where the
    compositor lets nobody own it; only inside `wayland_session.within`.
    """

    def __init__(self, text: Secret) -> None:
        self._text = Secret(text.reveal())
        self._server: gevent.Greenlet | None = None
        self.fetched = gevent.event.Event()
        self._ours = True
        self._connection = connect()
        try:
            self._own(self._connection)
        except BaseException:
            self.close()
            raise
        self._server = gevent.spawn(self._serve)

    def close(self) -> None:
        """Let go of the clipboard; the compositor drops it with the connection."""
        if self._server is not None:
            self._server.kill()
        self._end()

    @property
    def ended(self) -> bool:
        """Whether the clipboard is no longer ours."""
        return self._server is None or self._server.dead

    def _own(self, connection: Connection) -> None:
        name = next((name for name in MANAGERS if name in connection.globals), MANAGERS[0])
        manager = connection.bind(name, 1, (), lambda opcode, values: None)
        seat = connection.bind("wl_seat", 1, ("u", "s"), lambda opcode, values: None)
        family = name.replace("_manager_", "_%s_")
        source = connection.make(manager, 0, family % "source", ("sh", ""), self._on_source)
        for kind in (*TEXTS, MANAGER_HINT):
            connection.request(source, 0, "s", kind)
        events = ("n", "o", "", "o")
        device = connection.make(manager, 1, family % "device", events, self._on_device, after=(seat,))
        connection.request(device, 0, "o", source)
        connection.roundtrip()

    def _serve(self) -> None:
        try:
            while self._ours:
                self._connection.dispatch()
        except (ProtocolError, *ERRORS) as error:
            _log.info("the clipboard is no longer served: %s", type(error).__name__)
        self._end()

    def _end(self) -> None:
        self._connection.close()
        self._text.wipe()

    def _on_device(self, opcode: int, values: list[Any]) -> None:
        if opcode == 0:  # what is on the clipboard; its list of types is of no interest
            self._connection.adopt(int(values[0]), "data control offer", ("s",), lambda event, got: None)
        elif opcode == 2:
            self._ours = False

    def _on_source(self, opcode: int, values: list[Any]) -> None:
        if opcode == 1:  # another program copied something
            self._ours = False
            return
        kind, handle = values
        gevent.spawn(self._give, kind, handle)

    def _give(self, kind: str, handle: OwnedFile) -> None:
        write_and_close(handle, b"secret" if kind == MANAGER_HINT else self._text.reveal())
        if kind in TEXTS:
            self.fetched.set()
