"""macOS: typing through Quartz events, in process; nothing to install.

Not yet run on a real machine: proved against doubles that do what Apple's references say
of the calls.

Known limits. Nothing can be grabbed, so up to one chunk may reach a window that comes to the
front in the middle. A program may ignore an event's text and look at its key code
(CGEventKeyboardSetUnicodeString, discussion), as remote desktops do, and an input method may turn
it into other characters: that is why `macos_prefer_clipboard` is on unless switched off.
While a program does not say which window has the focus, the daemon waits for it, up to
`macos_focus.ANSWER_S` a question.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from novakey.desktop.base import Backend, CannotType, Delivery, DesktopError, Focus, NoDisplayError, Unusable
from novakey.desktop.chunks import lines, type_chunks
from novakey.desktop.macos import calls as macos_calls
from novakey.desktop.macos.calls import Calls
from novakey.desktop.macos.focus import FocusReader
from novakey.desktop.macos.keyboard import Keyboard
from novakey.desktop.macos.pasteboard import Pasteboard
from novakey.secret import Secret
from novakey.wire.refused import Refused

NOT_TRUSTED = "this program may not control the computer"
TRUST = (
    "allow the program that NovaKey runs in under System Settings, Privacy & Security, "
    "Accessibility, and start again"
)

_log = logging.getLogger(__name__)


class MacBackend(Backend):
    """The desktop of a person who is logged in to macOS."""

    name = "macos"

    def __init__(self) -> None:
        self._desktop: _Desktop | None = None

    @classmethod
    def unavailable(cls) -> Unusable | None:
        """See `Backend.unavailable`."""
        try:
            calls = macos_calls.load()
        except NoDisplayError as error:
            return Unusable(str(error), "set desktop_backend: auto")
        return None if calls.AXIsProcessTrusted() else Unusable(NOT_TRUSTED, TRUST)

    def focus(self, deadline_s: float) -> Focus | None:
        """See `Backend.focus`."""
        try:
            return self._reached().reader.read()
        except DesktopError:
            return None

    def type_text(self, text: Secret, deadline_s: float, delivery: Delivery) -> None:
        """See `Backend.type_text`."""
        desktop = self._reached()
        desktop.type(lines(text.text()), time.monotonic() + deadline_s, delivery, desktop.keyboard.type)

    def paste(self, text: Secret, deadline_s: float, delivery: Delivery) -> bool:
        """See `Backend.paste`: Command+V.

        True when the keys went to that window. Whether its program fetched the text cannot be seen.
        """
        desktop, until = self._reached(), time.monotonic() + deadline_s
        focus = desktop.reader.read()
        if focus is not None:
            delivery.check_target(focus)
        desktop.pasteboard.put(text)
        try:
            desktop.type("v", until, delivery, lambda _: desktop.keyboard.paste())
        except Refused:
            desktop.pasteboard.clear()
            raise
        except DesktopError:
            return False
        return True

    def copy(self, text: Secret, deadline_s: float) -> None:
        """See `Backend.copy`."""
        self._reached().pasteboard.put(text)

    def clear_clipboard(self) -> None:
        """See `Backend.clear_clipboard`."""
        desktop = self._desktop
        if desktop is not None:
            desktop.pasteboard.clear()

    def close(self) -> None:
        """Take the clipboard back, if it is still ours, and forget the window."""
        desktop, self._desktop = self._desktop, None
        if desktop is not None:
            desktop.reader.close()
            desktop.pasteboard.clear()

    def _reached(self) -> _Desktop:
        if self._desktop is None:
            try:
                self._desktop = _Desktop(macos_calls.load())
            except NoDisplayError as error:
                raise DesktopError(str(error)) from None
        return self._desktop


class _Desktop:
    """The parts of a desktop that can be reached."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self.reader = FocusReader(calls)
        self.keyboard = Keyboard(calls)
        self.pasteboard = Pasteboard(calls)

    def type(self, text: str, until: float, delivery: Delivery, send: Callable[[str], None]) -> None:
        """Type into the window that `delivery` allows. Raises as `Backend.type_text`."""

        def check(focus: Focus) -> None:
            delivery.check_target(focus)
            # The right may be taken away while we run, and CGEventPost would drop the keys without a word.
            if not self._calls.AXIsProcessTrusted():
                raise CannotType(NOT_TRUSTED)
            if self._calls.IsSecureEventInputEnabled():
                _log.info("secure keyboard entry is on: a password field, or a program that keeps it on")

        type_chunks(text, until, check, self.reader.read, send)
