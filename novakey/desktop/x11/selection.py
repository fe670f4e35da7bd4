"""Owning the clipboard on X11 (ICCCM 2.0, section 2): the text stays with us until somebody asks.

The server keeps no copy: a program that pastes asks the owner, over its own connection,
served by a greenlet of its own. Ours ends when another program takes the
selection, or at `close`. A requestor may wait without end for an answer, so
`close` gives the selection up first and answers every earlier request.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gevent
import gevent.event
from Xlib import X, Xatom
from Xlib.protocol import event
from Xlib.protocol.request import SetSelectionOwner

from novakey.desktop.base import DesktopError
from novakey.desktop.x11.connection import ERRORS, NONSENSE, Connection, ServerError
from novakey.secret import Secret, erase

CLIPBOARD, PRIMARY = "CLIPBOARD", "PRIMARY"
# KDE's clipboard manager, and others that follow it, keep no copy of what has this target.
MANAGER_HINT = "x-kde-passwordManagerHint"
_UTF8 = ("UTF8_STRING", "text/plain;charset=utf-8")
_TEXTS = (*_UTF8, "STRING")  # the last in Latin-1

CLOSE_S = 1.0  # for the answers to earlier requests, if the server is slow

_log = logging.getLogger(__name__)


class SelectionOwner:
    """Owns selections with one text. Keeps a copy of the secret, wiped at the end."""

    def __init__(self, text: Secret, selections: Sequence[str] = (CLIPBOARD,)) -> None:
        self._connection = Connection()
        self._display = self._connection.display
        self._text = text.copy()
        self._is_latin = all(character <= "\xff" for character in text.characters())
        self._fetched: dict[int, gevent.event.Event] = {}
        self._wake = gevent.event.Event()
        self._wake.set()  # for the events that came while the selection was acquired
        self._closing = False
        self._server: gevent.Greenlet | None = None
        try:
            self._atoms = {name: self._atom(name) for name in (*_TEXTS, "TARGETS", "TIMESTAMP", MANAGER_HINT)}
            self._window = self._connection.hidden_window(X.PropertyChangeMask)
            self._since = self._server_time()
            self._owned = {self._own(name) for name in selections}
        except BaseException:
            self.close()
            raise
        self._server = gevent.spawn(self._serve)

    def close(self) -> None:
        """Give up the selections, and wait until every earlier request is answered."""
        self._closing = True
        self._wake.set()
        try:
            if self._server is not None:
                self._server.join(CLOSE_S)
                self._server.kill()
        finally:
            self._end()

    def expect(self, window: int) -> gevent.event.Event:
        """Set when the program with this window fetches the text; any other one does not count."""
        return self._fetched.setdefault(self._client(window), gevent.event.Event())

    def _client(self, resource: int) -> int:
        """All resources of a client share these bits."""
        return int(resource & ~self._display.display.info.resource_id_mask)

    def _atom(self, name: str) -> int:
        return int(self._display.get_atom(name))

    def _server_time(self) -> int:
        """Return a time of the server, as ICCCM 2.1 wants it: from an event, not `CurrentTime`."""
        self._window.change_property(Xatom.WM_NAME, Xatom.STRING, 8, b"")
        while True:
            got = self._display.next_event()
            if got.type == X.PropertyNotify and got.window.id == self._window.id:
                return int(got.time)

    def _own(self, name: str) -> int:
        atom = self._atom(name)
        self._window.set_selection_owner(atom, self._since)
        owner = self._display.get_selection_owner(atom)
        if getattr(owner, "id", owner) != self._window.id:
            raise DesktopError("another program took the clipboard at the same moment")
        return atom

    def _serve(self) -> None:
        try:
            with self._display.display.alone(), self._woken_by_the_server():
                while self._owned:
                    self._wake.wait()
                    self._wake.clear()
                    if self._closing:
                        self._give_up()
                    self._take_events()
        except (ServerError, *ERRORS, *NONSENSE) as error:
            _log.info("the clipboard is no longer served: %s", type(error).__name__)
        self._end()

    @contextmanager
    def _woken_by_the_server(self) -> Iterator[None]:
        """Wait outside python-xlib, where `close` can wake the greenlet between two exchanges."""
        arrival = gevent.get_hub().loop.io(self._display.fileno(), 1)
        arrival.start(self._wake.set)
        try:
            yield
        finally:
            arrival.stop()
            arrival.close()

    def _give_up(self) -> None:
        """Give up the selections. The server sends a SelectionClear after all earlier requests."""
        display = self._display
        for atom in self._owned:
            SetSelectionOwner(display=display.display, window=X.NONE, selection=atom, time=self._since)
        display.flush()

    def _take_events(self) -> None:
        display = self._display
        while self._owned and display.pending_events():
            got = display.next_event()
            if got.type == X.SelectionClear:
                self._owned.discard(got.atom)
            elif got.type == X.SelectionRequest:
                self._answer(got)
            gevent.sleep(0)  # a client may ask without a pause

    @property
    def ended(self) -> bool:
        """Whether nothing is owned any more."""
        return self._server is None or self._server.dead

    def _end(self) -> None:
        self._connection.close()
        self._text.wipe()

    def _answer(self, request: Any) -> None:
        """Write what was asked for to the requestor's window, or refuse."""
        place = request.property or request.target  # an old client names no property
        found = self._convert(request.target)
        if found is None or request.selection not in self._owned or self._is_older(request.time):
            place = X.NONE
        else:
            kind, width, data = found
            if isinstance(data, bytearray):
                self._connection.write_text(request.requestor.id, place, kind, data)
            else:
                request.requestor.change_property(place, kind, width, data)
        request.requestor.send_event(
            event.SelectionNotify(
                time=request.time,
                requestor=request.requestor,
                selection=request.selection,
                target=request.target,
                property=place,
            )
        )
        self._display.sync()
        if place and request.target in (self._atoms[name] for name in _TEXTS):
            waiting = self._fetched.get(self._client(request.requestor.id))
            if waiting is not None:
                waiting.set()

    def _is_older(self, time: int) -> bool:
        """Whether a time lies before we became the owner; server times wrap after 49 days."""
        return time != X.CurrentTime and (time - self._since) % 2**32 >= 2**31

    def _convert(self, target: int) -> tuple[int, int, Any] | None:
        """Type, width and data for a target; None when we do not offer it."""
        if target == self._atoms["TARGETS"]:
            offered = [atom for atom in self._atoms.values() if self._convert_is_offered(atom)]
            return Xatom.ATOM, 32, offered
        if target == self._atoms["TIMESTAMP"]:
            return Xatom.INTEGER, 32, [struct.unpack("=i", struct.pack("=I", self._since))[0]]
        if target == self._atoms[MANAGER_HINT]:
            return self._atoms[MANAGER_HINT], 8, b"secret"
        data = self._encoded(target)
        return None if data is None else (target, 8, data)

    def _convert_is_offered(self, target: int) -> bool:
        return target != self._atoms["STRING"] or self._is_latin

    def _encoded(self, target: int) -> bytearray | None:
        """Return the text in a target's encoding, to be wiped; None if that is unknown or cannot hold it."""
        if target == self._atoms["STRING"] and self._is_latin:
            latin = bytearray(len(self._text))
            count = 0
            for count, character in enumerate(self._text.characters(), 1):
                latin[count - 1] = ord(character)
            del latin[count:]
            return latin
        if target in (self._atoms[name] for name in _UTF8):
            text = self._text.reveal()
            try:
                return bytearray(text)
            finally:
                erase(text)
        return None
