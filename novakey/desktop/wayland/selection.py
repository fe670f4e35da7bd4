"""Owning the clipboard under Wayland, in process: by data control, or else by a moment of focus.

A program that pastes is given a pipe, and a greenlet of ours writes into it. That ends when
another program copies something, or at `close`. Some compositors (GNOME's) keep a
copy of what is copied, and give that out when its owner is gone: so before letting go,
the text is replaced by nothing, if it is still ours.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence, Set
from typing import Any

import gevent
import gevent.event

from novakey.desktop.base import DesktopError
from novakey.desktop.pipe import close_now, write_and_close
from novakey.desktop.wayland import protocol
from novakey.desktop.wayland.focus_window import NEEDED, MomentaryWindow
from novakey.desktop.wayland.session import connect, within
from novakey.desktop.wayland.wire import ERRORS, Handler, OwnedFile, ProtocolError
from novakey.secret import Secret, erase

# ext-data-control-v1, and wlr-data-control-unstable-v1 from which it came: requests and events are the same.
MANAGERS = ("ext_data_control_manager_v1", "zwlr_data_control_manager_v1")
# KDE's clipboard manager, and others that follow it, keep no copy of what has this type.
MANAGER_HINT = "x-kde-passwordManagerHint"
TEXTS = ("text/plain;charset=utf-8", "text/plain", "UTF8_STRING", "TEXT", "STRING")

NOTHING = ("application/x-nothing",)  # a type that no program wants and no compositor keeps

_FORGET_S = 3.0
CLEARING_TRIES = 10

_log = logging.getLogger(__name__)


def offered_in(interfaces: Set[str]) -> bool:
    """Whether the clipboard can be owned under a compositor with these interfaces."""
    return not interfaces.isdisjoint(MANAGERS) or interfaces >= NEEDED


class SelectionOwner:
    """Owns the clipboard with one text. Keeps a copy of the secret, wiped at the end.

    `fetched` is set whenever a program fetches the text. Raises `KeyError` where the
    compositor lets no program own it; only inside `wayland_session.within`.
    """

    def __init__(self, text: Secret) -> None:
        self._text = text.copy()
        self._server: gevent.Greenlet | None = None
        self.fetched = gevent.event.Event()
        self._ours = True
        self._told = 0  # how many times what is on the clipboard
        self._connection = connect()
        try:
            self._own()
        except BaseException:
            self.close()
            raise
        self._server = gevent.spawn(self._serve)

    def close(self, tries: int = 1) -> None:
        """Let go of the clipboard. Where the compositor is too busy to take our nothing, try again."""
        if self._server is not None and not self._server.dead:
            self._server.kill()
            self._text.wipe()
            if not any(self._replace() for _ in range(tries)):
                _log.warning("the compositor may still have a text that was copied: copy something else")
        self._end()

    def _replace(self) -> bool:
        """Put nothing in place of the text, if it is still ours; return False where that failed."""
        try:
            with within(_FORGET_S):
                self._connection.roundtrip()  # another program may have copied something just now
                if self._ours:
                    self._offer(NOTHING)
        except DesktopError as error:
            _log.info("the clipboard is not taken back yet: %s", error)
            return False
        return True

    @property
    def ended(self) -> bool:
        """Whether the clipboard is no longer ours."""
        return self._server is None or self._server.dead

    def _own(self) -> None:
        connection = self._connection
        self._seat = connection.bind("wl_seat", 1, ("u", "s"), lambda opcode, values: None)
        self._family = next((name for name in MANAGERS if name in connection.globals), None)
        if self._family is None:
            self._manager = connection.bind("wl_data_device_manager", 1, (), lambda opcode, values: None)
            events: tuple[str, ...] = ("n", "uoffo", "", "uff", "", "o")
            get = protocol.DATA_DEVICE_MANAGER_GET_DEVICE
        else:
            self._manager = connection.bind(self._family, 1, (), lambda opcode, values: None)
            events = ("n", "o", "", "o")
            get = protocol.DATA_CONTROL_GET_DEVICE
        handler = self._on_offer if self._family is None else self._on_device
        self._device = connection.make(
            self._manager, get, "clipboard device", events, handler, after=(self._seat,)
        )
        self._offer((*TEXTS, MANAGER_HINT))

    def _offer(self, kinds: Sequence[str]) -> None:
        """Put a source with these types on the clipboard, in place of any other."""
        if self._family is None:
            while not self._offer_by_focus(kinds):
                pass  # another window came in between; the deadline ends it
            return
        source = self._source(kinds, ("sh", ""), self._on_source)
        self._connection.request(self._device, protocol.DATA_CONTROL_SET_SELECTION, source)
        self._connection.roundtrip()

    def _offer_by_focus(self, kinds: Sequence[str]) -> bool:
        """Whether it was accepted: the one with the focus, which is us, is then told what is there."""
        connection = self._connection
        source = self._source(kinds, ("s", "sh", ""), self._on_plain_source)
        window = MomentaryWindow(connection, self._seat)
        try:
            connection.roundtrip()  # the focus itself brings word of what was there before
            told = self._told
            connection.request(self._device, protocol.DATA_DEVICE_SET_SELECTION, source, window.serial)
            connection.roundtrip()
            accepted = self._told > told
        finally:
            window.close()
        connection.roundtrip()
        return accepted

    def _source(self, kinds: Sequence[str], events: tuple[str, ...], handler: Handler) -> int:
        if self._family is None:
            create, offer = protocol.DATA_DEVICE_MANAGER_CREATE_SOURCE, protocol.DATA_SOURCE_OFFER
        else:
            create, offer = protocol.DATA_CONTROL_CREATE_SOURCE, protocol.DATA_CONTROL_OFFER
        source = self._connection.make(self._manager, create, "clipboard source", events, handler)
        for kind in kinds:
            self._connection.request(source, offer, kind)
        return source

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

    def _on_offer(self, opcode: int, values: list[Any]) -> None:
        if opcode == 0:  # what is on the clipboard; its list of types is of no interest
            self._connection.adopt(int(values[0]), "data offer", ("s",), lambda event, got: None)
        elif opcode == 5:
            self._told += 1

    def _on_device(self, opcode: int, values: list[Any]) -> None:
        self._on_offer(opcode, values)
        if opcode == 2:
            self._ours = False

    def _on_plain_source(self, opcode: int, values: list[Any]) -> None:
        if opcode:  # the first is for dragging
            self._on_source(opcode - 1, values)

    def _on_source(self, opcode: int, values: list[Any]) -> None:
        if opcode == 1:  # another program copied something
            self._ours = False
            return
        kind, handle = values
        if kind in NOTHING:
            close_now(handle)
            return
        gevent.spawn(self._give, kind, handle)

    def _give(self, kind: str, handle: OwnedFile) -> None:
        if kind == MANAGER_HINT:
            write_and_close(handle, b"secret")
            return
        text = self._text.reveal()
        try:
            write_and_close(handle, text)
        finally:
            erase(text)
        if kind in TEXTS:
            self.fetched.set()
