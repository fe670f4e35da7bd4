"""wlroots compositors (sway and its relatives): typing through a keyboard of our own, in process.

Known limits. A window that hangs gets its keys when it wakes, unknown to us;
the answer says that they were sent to it. Into X11 programs under Xwayland only ASCII
is typed, where the compositor tells that they are such.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import gevent

from novakey.desktop.base import Backend, CannotType, Delivery, DesktopError, Focus, Unusable
from novakey.desktop.wayland import focus as wayland_focus
from novakey.desktop.wayland import selection, session, virtual_keyboard
from novakey.desktop.wayland.keymap import CONTROL, SHIFT, Keymap, Stroke
from novakey.desktop.wayland.selection import SelectionOwner
from novakey.desktop.wayland.session import within
from novakey.desktop.wayland.typing import NO_FOCUS, Typist
from novakey.desktop.wayland.virtual_keyboard import VirtualKeyboard
from novakey.secret import Secret
from novakey.session.input_method import InputMethods

FETCH_S = 1.0  # how long a program has to fetch what it was told to paste
SETTLE_S = 0.02  # a program that watches the clipboard fetches at once; that is no paste

# Terminals, in which Ctrl+V means something else: they paste with Shift as well.
_PASTE_WITH_SHIFT = frozenset(
    {
        *("foot", "footclient", "alacritty", "kitty", "org.wezfurlong.wezterm", "com.mitchellh.ghostty"),
        *("org.gnome.terminal", "gnome-terminal-server", "org.gnome.console", "org.gnome.ptyxis"),
        *("org.kde.konsole", "konsole", "xfce4-terminal", "terminator", "tilix", "com.raggesilver.blackbox"),
    }
)


class WlrootsBackend(Backend):
    """A compositor that lets a client have a keyboard."""

    name = "wlroots"

    def __init__(self) -> None:
        self._owner: SelectionOwner | None = None
        self._input_methods = InputMethods()

    @classmethod
    def unavailable(cls) -> Unusable | None:
        """See `Backend.unavailable`."""
        found = session.probe()
        if isinstance(found, Unusable):
            return found
        if virtual_keyboard.MANAGER in found:
            return None
        return Unusable(
            "this compositor lets no client have a keyboard (zwp_virtual_keyboard_v1)",
            "leave desktop_backend at auto, which looks for another way",
        )

    def focus(self, deadline_s: float) -> Focus | None:
        """See `Backend.focus`."""
        try:
            with within(deadline_s), session.connect() as connection:
                reader = wayland_focus.reader(connection)
                if reader is None:
                    return None
                try:
                    return reader.read()
                finally:
                    reader.close()
        except DesktopError:
            return None

    def type_text(self, text: Secret, deadline_s: float, delivery: Delivery) -> None:
        """See `Backend.type_text`."""
        until = time.monotonic() + deadline_s
        one_by_one = self._input_methods.is_active()
        with _typist(until - time.monotonic(), delivery, one_by_one) as typist:
            typist.aim()
            typist.type(text)

    def paste(self, text: Secret, deadline_s: float, delivery: Delivery) -> bool:
        """See `Backend.paste`: Ctrl+V, or Ctrl+Shift+V in terminals."""
        until = time.monotonic() + deadline_s
        owner = None
        try:
            with _typist(deadline_s, delivery) as typist:
                try:
                    focus = typist.aim()
                except DesktopError as error:
                    if str(error) != NO_FOCUS:
                        raise
                    self.copy(text, until - time.monotonic())  # the person will choose where
                    return False
                owner = self._own(text, until - time.monotonic())
                gevent.sleep(SETTLE_S)
                owner.fetched.clear()
                typist.press(_paste_shortcut(focus))
        except DesktopError:
            if owner is None:
                raise
            return False
        return bool(owner.fetched.wait(min(FETCH_S, max(0.0, until - time.monotonic()))))

    def copy(self, text: Secret, deadline_s: float) -> None:
        """See `Backend.copy`."""
        self._own(text, deadline_s)

    def clear_clipboard(self) -> None:
        """See `Backend.clear_clipboard`."""
        self._let_go(selection.CLEARING_TRIES)

    def close(self) -> None:
        """See `Backend.close`."""
        self._let_go(1)
        self._input_methods.close()

    def _let_go(self, tries: int) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.close(tries)

    def _own(self, text: Secret, deadline_s: float) -> SelectionOwner:
        self.close()
        with within(deadline_s):
            try:
                self._owner = owner = selection.SelectionOwner(text)
            except KeyError:
                raise DesktopError("this compositor lets no program own the clipboard") from None
        return owner


@contextmanager
def _typist(deadline_s: float, delivery: Delivery, one_by_one: bool = False) -> Iterator[Typist]:
    """Make a typist for one delivery; an error carries the number of characters sent."""
    typist: Typist | None = None
    try:
        with within(deadline_s), session.connect() as connection:
            try:
                keyboard = VirtualKeyboard(connection)
            except KeyError:
                raise CannotType("this compositor lets no client have a keyboard") from None
            focus = wayland_focus.reader(connection)
            try:
                typist = Typist(keyboard, focus, delivery, one_by_one)
                yield typist
            finally:
                if focus is not None:
                    focus.close()
    except CannotType as error:
        if typist is None or not typist.sent:
            raise
        raise DesktopError(str(error), typist.sent, typist.whole) from None
    except DesktopError as error:
        if typist is not None:
            error.typed, error.whole = typist.sent, typist.whole
        raise


def _paste_shortcut(focus: Focus | None) -> Stroke:
    plain = Keymap().stroke("v")
    assert plain is not None
    with_shift = focus is not None and not _PASTE_WITH_SHIFT.isdisjoint(focus.classes)
    return Stroke(plain.code, CONTROL | SHIFT if with_shift else CONTROL)
