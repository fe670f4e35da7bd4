"""Typing under a wlroots compositor: a few keys, a look at the focus, and on.

No client can hold the focus where it is, so it is looked at before the first key
and after every `CHUNK` keys. When it has moved, at most those keys went astray,
and typing ends there with an error.
"""

from __future__ import annotations

from itertools import islice

import gevent

from novakey.desktop.base import Delivery, DesktopError, Focus
from novakey.desktop.keysyms import typed_characters
from novakey.desktop.wayland.focus import FocusReader
from novakey.desktop.wayland.keymap import Stroke, next_keymap
from novakey.desktop.wayland.virtual_keyboard import VirtualKeyboard
from novakey.secret import Secret

CHUNK = 8
# A compositor hangs up on a program that leaves too much unread in its socket. So many chunks fit in well;
# beyond them a program must read as it goes.
BURST_CHUNKS = 64
PAUSE_S = 0.01
# Through an input method, which may hand on a key after a later one that it lets pass.
ONE_BY_ONE_S = 0.012
X11_ONLY_ASCII = "the window is an X11 program under Xwayland, into which only ASCII can be typed safely"
NO_FOCUS = "no window has the keyboard focus"


class Typist:
    """Types once. `sent` counts the characters that may have reached a window."""

    def __init__(
        self,
        keyboard: VirtualKeyboard,
        focus: FocusReader | None,
        delivery: Delivery,
        one_by_one: bool = False,
    ) -> None:
        self._keyboard = keyboard
        self._focus = focus
        self._delivery = delivery
        self._one_by_one = one_by_one
        self._window: int | str | None = None
        self.sent = 0
        self.whole = False  # every key went out to the window

    def aim(self) -> Focus | None:
        """Check the window with the focus, which is the one that is typed into."""
        focus = None
        if self._focus is not None:
            focus = self._focus.read()
            if focus is None:
                raise DesktopError(NO_FOCUS)
            self._window = focus.window
        self._delivery.check_target(focus)
        return focus

    def type(self, text: Secret) -> None:
        """Type all of a text, whose first window `aim` has found."""
        # Such a program asks what a key means when it comes to handle it, and by then the map may have
        # changed again; xterm has been seen to crash over it. For ASCII the map does not change.
        is_ascii = all(character.isascii() for character in text.characters())
        if self._focus is not None and self._focus.is_x11 and not is_ascii:
            raise DesktopError(X11_ONLY_ASCII)
        total = sum(1 for _ in typed_characters(text))
        for at, character in enumerate(typed_characters(text), 1):
            stroke = self._keyboard.stroke(character)
            if stroke is None:
                self._keyboard.use(next_keymap(islice(typed_characters(text), at - 1, None)))
                stroke = self._keyboard.stroke(character)
            assert stroke is not None
            self._tap(stroke)
            if self._one_by_one:
                self._keyboard.settle()
                gevent.sleep(ONE_BY_ONE_S)
            if at % CHUNK and at < total:
                continue
            self._keyboard.settle()
            self.whole = at == total
            self._still_there()
            if at > BURST_CHUNKS * CHUNK:
                gevent.sleep(PAUSE_S)

    def press(self, stroke: Stroke) -> None:
        """Press one key with its modifiers, such as a shortcut."""
        self._tap(stroke)
        self._keyboard.settle()
        self._still_there()

    def _tap(self, stroke: Stroke) -> None:
        # From here on it is unknown whether it came through, should the compositor hang.
        self.sent += 1
        self._keyboard.tap(stroke)

    def _still_there(self) -> None:
        if self._focus is None:
            return
        focus = self._focus.read()
        if focus is None or focus.window != self._window:
            raise DesktopError("another window took the focus", self.sent)
