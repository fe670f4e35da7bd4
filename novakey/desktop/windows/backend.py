"""Windows: typing through SendInput, in process; nothing to install.

Not yet run on a real machine: proved against doubles that do what the Win32 API
reference says of the calls.

Known limits. Nothing can be grabbed, so up to one chunk may reach a window that comes to
the front in the middle. A program that hooks the keyboard sees the text. A person who lets
go of a modifier in the microseconds between our look and the call finds it held until it is
pressed again. An app of the Windows Store shows as the process that frames it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from novakey.desktop.base import Backend, Delivery, DesktopError, Focus, NoDisplayError, Unusable
from novakey.desktop.chunks import lines, type_chunks
from novakey.desktop.windows import calls as windows_calls
from novakey.desktop.windows import focus as windows_focus
from novakey.desktop.windows.calls import Calls
from novakey.desktop.windows.clipboard import Clipboard
from novakey.desktop.windows.keyboard import Keyboard
from novakey.secret import Secret
from novakey.wire.refused import Refused

CLEAR_S = 0.3  # at exit; the daemon ends within half a second


class WindowsBackend(Backend):
    """The desktop of a person who is logged in to Windows."""

    name = "windows"

    def __init__(self) -> None:
        self._clipboard: Clipboard | None = None

    @classmethod
    def unavailable(cls) -> Unusable | None:
        """See `Backend.unavailable`."""
        try:
            return windows_focus.why_no_desktop(windows_calls.load())
        except NoDisplayError as error:
            return Unusable(str(error), "set desktop_backend: auto")

    def focus(self, deadline_s: float) -> Focus | None:
        """See `Backend.focus`."""
        try:
            return windows_focus.read(_calls())
        except DesktopError:
            return None

    def type_text(self, text: Secret, deadline_s: float, delivery: Delivery) -> None:
        """See `Backend.type_text`."""
        calls = _calls()
        self._type(calls, lines(text.text()), time.monotonic() + deadline_s, delivery, Keyboard(calls).type)

    def paste(self, text: Secret, deadline_s: float, delivery: Delivery) -> bool:
        """See `Backend.paste`: Control+V.

        True when the keys went to that window. Whether its program fetched the text cannot be seen.
        """
        calls, until = _calls(), time.monotonic() + deadline_s
        keyboard = Keyboard(calls)
        focus = windows_focus.read(calls)
        if focus is not None:
            delivery.check_target(focus)
        self._copy(calls, text, until)
        try:
            self._type(calls, "v", until, delivery, lambda _: keyboard.paste())
        except Refused:
            self.close()
            raise
        except DesktopError:
            return False
        return True

    def copy(self, text: Secret, deadline_s: float) -> None:
        """See `Backend.copy`."""
        self._copy(_calls(), text, time.monotonic() + deadline_s)

    def clear_clipboard(self) -> None:
        """See `Backend.clear_clipboard`."""
        if self._clipboard is not None:
            self._clipboard.clear(time.monotonic() + CLEAR_S)

    def close(self) -> None:
        """Take the clipboard back, if it is still ours."""
        self.clear_clipboard()

    def _copy(self, calls: Calls, text: Secret, until: float) -> None:
        if self._clipboard is None:
            self._clipboard = Clipboard(calls)
        self._clipboard.put(text, until)

    def _type(
        self, calls: Calls, text: str, until: float, delivery: Delivery, send: Callable[[str], None]
    ) -> None:
        def check(focus: Focus) -> None:
            delivery.check_target(focus)
            windows_focus.refuse_higher_rights(calls, focus)

        type_chunks(text, until, check, lambda: windows_focus.read(calls), send)


def _calls() -> Calls:
    try:
        return windows_calls.load()
    except NoDisplayError as error:
        raise DesktopError(str(error)) from None
