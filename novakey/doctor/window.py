"""A small X11 window that reads keys as programs without XKB do (X Window System Protocol, 5).

What a key means is read from the core map at the moment the key is handled, which is
another way than the one by which it was chosen for typing. `_NET_WM_PING` is answered in
the order of events, so typing knows when it was read (EWMH 1.5).
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

import gevent
from Xlib import X, Xatom
from Xlib.protocol import event

from novakey.desktop import keysyms
from novakey.desktop.base import DesktopError, Focus
from novakey.desktop.x11.connection import ERRORS
from novakey.desktop.x11.display import DELIVERY, GuardedDisplay
from novakey.wire.refused import Refused
from novakey.wire.reply import Outcome

TITLE = "NovaKey doctor"
FOCUS_S = 10.0
_AGAIN_S = 0.5
_LOOK_S = 0.005
_BY_THE_USER = 2  # EWMH's source indication: a direct action, which is not taken for stealing the focus
_UNICODE = 0x01000000
_EVENTS = DELIVERY | {X.FocusIn, X.FocusOut, X.MapNotify, X.KeyPress}


class Window:
    """The window; a context manager that waits for its focus."""

    def __enter__(self) -> Window:
        try:
            self._display = GuardedDisplay(wanted=_EVENTS)
        except ERRORS as error:
            raise DesktopError(f"the x server cannot be reached: {type(error).__name__}") from None
        self._text: list[str] = []
        self._focused = self._had_focus = self._shown = False
        self._serving = gevent.Greenlet(self._serve)
        try:
            self._make()
            self._serving.start()  # from here on python-xlib is used by that greenlet only
            self._wait_for_focus()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._serving.kill()
        self._display.close()

    def check_target(self, focus: Focus | None) -> None:
        """Raise `Refused` for every other window."""
        if focus is None or focus.window != self._window.id:
            raise Refused(Outcome.BAD_REQUEST, "another window took the focus, so nothing was typed")

    def received(self) -> str:
        """See `canary.Place`."""
        return "".join(self._text)

    def _make(self) -> None:
        display = self._display
        screen = display.screen()
        self._root = screen.root
        self._ping, self._protocols = display.get_atom("_NET_WM_PING"), display.get_atom("WM_PROTOCOLS")
        self._window = screen.root.create_window(
            60, 60, 360, 80, 1, screen.root_depth, background_pixel=screen.white_pixel,
            event_mask=X.KeyPressMask | X.FocusChangeMask | X.StructureNotifyMask,
        )  # fmt: skip
        self._window.set_wm_name(TITLE)
        self._window.set_wm_class("novakey-doctor", "NovaKeyDoctor")
        self._window.set_wm_protocols([self._ping])
        self._window.set_wm_hints(flags=1, input=1)  # InputHint: the manager may give it the focus
        self._window.change_property(display.get_atom("_NET_WM_PID"), Xatom.CARDINAL, 32, [os.getpid()])
        self._window.map()
        display.flush()

    def _wait_for_focus(self) -> None:
        until = time.monotonic() + FOCUS_S
        while not self._focused:
            if time.monotonic() > until or self._serving.ready():
                raise DesktopError("the test window did not get the focus: click into it, and try again")
            gevent.sleep(_LOOK_S)

    def _ask_for_focus(self) -> None:
        display, window = self._display, self._window
        if self._root.get_full_property(display.get_atom("_NET_SUPPORTING_WM_CHECK"), X.AnyPropertyType):
            wanted = display.get_atom("_NET_ACTIVE_WINDOW")
            data = (32, [_BY_THE_USER, X.CurrentTime, 0, 0, 0])
            told = event.ClientMessage(window=window, client_type=wanted, data=data)
            self._root.send_event(told, X.SubstructureRedirectMask | X.SubstructureNotifyMask)
        else:
            window.set_input_focus(X.RevertToParent, X.CurrentTime)
        display.flush()

    def _serve(self) -> None:
        """Ask for the focus until it came once; a manager that never gives it leaves it to the person."""
        ask_at = time.monotonic()
        with contextlib.suppress(*ERRORS):
            while True:
                for _ in range(self._display.pending_events()):
                    self._handle(self._display.next_event())
                if not self._had_focus and self._shown and time.monotonic() >= ask_at:
                    self._ask_for_focus()
                    ask_at = time.monotonic() + _AGAIN_S
                gevent.sleep(_LOOK_S)

    def _handle(self, got: Any) -> None:
        if got.type in (X.FocusIn, X.FocusOut):
            self._focused = got.type == X.FocusIn
            self._had_focus |= self._focused
        elif got.type == X.MapNotify:
            self._shown = True
        elif got.type == X.KeyPress:
            self._text.append(_character(self._keysym(got.detail, got.state)))
        elif got.type == X.ClientMessage and got.client_type == self._protocols:
            kind, values = got.data
            if kind == 32 and values[0] == self._ping:
                answer = event.ClientMessage(window=self._root, client_type=self._protocols, data=got.data)
                self._root.send_event(answer, X.SubstructureRedirectMask | X.SubstructureNotifyMask)
                self._display.flush()

    def _keysym(self, keycode: int, state: int) -> int:
        """Return the key's present keysym: group, level three, Shift (XKB core map, 12.4)."""
        row = list(self._display.get_keyboard_mapping(keycode, 1)[0])
        group = 2 * (state >> 13 & 1)
        first = group + (4 if state & self._level_three() else 0)
        row += [0] * (first + 2 - len(row))
        plain, shifted = row[first], row[first + 1]
        return int(shifted if state & X.ShiftMask and shifted else plain)

    def _level_three(self) -> int:
        """Return the bits of the modifiers that AltGr sets."""
        codes = {code for code, _ in self._display.keysym_to_keycodes(keysyms.LEVEL3_SHIFT)}
        mapping = self._display.get_modifier_mapping()
        return sum(1 << index for index, held in enumerate(mapping) if codes.intersection(held))


def _character(keysym: int) -> str:
    """Return the character of a keysym; none for a modifier."""
    if 0xFFE1 <= keysym <= 0xFFEE or keysym in (0, keysyms.LEVEL3_SHIFT, keysyms.LEVEL5_SHIFT):
        return ""
    code = keysyms.canonical(keysym)
    code = code - _UNICODE if code > _UNICODE else code
    return chr(code) if code < 0x110000 and (code < 0xFE00 or code > 0xFFFF) else "\ufffd"
