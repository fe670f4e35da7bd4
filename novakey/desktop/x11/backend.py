"""X11: typing through XTEST, the clipboard by owning it. In process; no helper sees the text.

This module loads without python-xlib; the modules that use it (`x11_connection`,
`x11_target`, `x11_typist`, `x11_clipboard`) are imported when a display is reached for.

Known limit: an input method that turns keys into other characters sees these keys too.
"""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import gevent

from novakey.desktop import keysyms
from novakey.desktop.base import OUTSIDE_SESSION, Backend, Delivery, DesktopError, Focus, Unusable
from novakey.secret import Secret
from novakey.wire.refused import Refused

if TYPE_CHECKING:
    from novakey.desktop.x11.connection import Connection
    from novakey.desktop.x11.focus import Target
    from novakey.desktop.x11.recovery import Notes
    from novakey.desktop.x11.selection import SelectionOwner
    from novakey.desktop.x11.typing import Typist

PROBE_S = 2.0
FETCH_S = 1.0  # how long a program has to fetch what it was told to paste
SETTLE_S = 0.02  # a program that watches the clipboard fetches at once; that is no paste
STOP_S = 3.0  # to restore the keyboard when the daemon stops, which waits 5 s for its deliveries
RESERVE_S = 0.5  # of a deadline, kept to give borrowed keys back

# Terminals whose Shift+Insert pastes PRIMARY and which have no other shortcut: they get it there too.
# All others are given Ctrl+V; a terminal that passes it on fetches nothing, and `paste` says so.
_PASTE_BY_INSERT = frozenset({"xterm", "uxterm", "urxvt", "rxvt", "st-256color"})


class X11Backend(Backend):
    """An X server that lets us press keys (XTEST)."""

    name = "x11"

    def __init__(self) -> None:
        self._owner: SelectionOwner | None = None
        self._key: bytes | None = None
        self._made: Notes | None = None

    @property
    def _notes(self) -> Notes:
        from novakey.desktop.x11.recovery import Notes

        self._made = self._made or Notes(self._key)
        return self._made

    def sign_with(self, key: bytes) -> None:
        """See `Backend.sign_with`."""
        self._key, self._made = key, None

    @classmethod
    def unavailable(cls) -> Unusable | None:
        """See `Backend.unavailable`."""
        if not os.environ.get("DISPLAY"):
            return Unusable("DISPLAY is not set", OUTSIDE_SESSION)
        try:
            with _within(PROBE_S):
                _probe()
        except DesktopError as error:
            return Unusable(str(error), OUTSIDE_SESSION)
        return None

    def focus(self, deadline_s: float) -> Focus | None:
        """See `Backend.focus`."""
        try:
            target = self._target(deadline_s)
        except DesktopError:
            return None
        return target.focus

    def type_text(self, text: Secret, deadline_s: float, delivery: Delivery) -> None:
        """See `Backend.type_text`. Borrowed keys are given back before it returns."""
        wanted = _keysyms(text)
        try:
            self._type(wanted, deadline_s, delivery)
        finally:
            for at in range(len(wanted)):
                wanted[at] = 0

    def paste(self, text: Secret, deadline_s: float, delivery: Delivery) -> bool:
        """See `Backend.paste`: Ctrl+V, or Shift+Insert in terminals that know only that."""
        until = time.monotonic() + deadline_s
        try:
            target = self._target(deadline_s)
        except DesktopError:  # nowhere to paste; the person will choose where
            self._own(text, until - time.monotonic())
            return False
        delivery.check_target(target.focus)
        by_insert = bool(_PASTE_BY_INSERT.intersection(target.focus.classes))
        # Only the focused program counts: a clipboard manager fetches everything.
        fetched = self._own(text, until - time.monotonic(), primary=by_insert).expect(target.window)
        gevent.sleep(SETTLE_S)
        fetched.clear()
        shortcut = ([keysyms.INSERT], keysyms.SHIFTS) if by_insert else ([ord("v")], keysyms.CONTROLS)
        try:
            self._type(shortcut[0], until - time.monotonic(), delivery, shortcut[1])
        except Refused:
            self.clear_clipboard()
            raise
        except DesktopError:
            return False
        return bool(fetched.wait(min(FETCH_S, max(0.0, until - time.monotonic()))))

    def copy(self, text: Secret, deadline_s: float) -> None:
        """See `Backend.copy`."""
        self._own(text, deadline_s)

    def prepare(self) -> None:
        """See `Backend.prepare`."""
        from novakey.desktop.x11.warm import WARM

        WARM.make()

    def recover(self) -> None:
        """See `Backend.recover`."""
        _recover(self._notes, PROBE_S)

    def clear_clipboard(self) -> None:
        """See `Backend.clear_clipboard`."""
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.close()

    def close(self) -> None:
        """See `Backend.close`."""
        from novakey.desktop.x11.warm import WARM

        self.clear_clipboard()
        WARM.close()

    def _target(self, deadline_s: float) -> Target:
        from novakey.desktop.x11 import focus as x11_target
        from novakey.desktop.x11.snapshot import Snapshot

        with _within(deadline_s):
            connection = _connect()
            try:
                with connection.grabbed():
                    return x11_target.find(connection, Snapshot(connection))
            finally:
                connection.close()

    def _own(self, text: Secret, deadline_s: float, primary: bool = False) -> SelectionOwner:
        from novakey.desktop.x11 import selection

        wanted = [selection.CLIPBOARD, *([selection.PRIMARY] if primary else [])]
        with _within(deadline_s):
            owner = selection.SelectionOwner(text, wanted)
        self.clear_clipboard()
        self._owner = owner
        return owner

    def _type(
        self,
        wanted: Sequence[int],
        deadline_s: float,
        delivery: Delivery,
        modifiers: frozenset[int] = frozenset(),
    ) -> None:
        from novakey.desktop.x11.typing import Typist
        from novakey.desktop.x11.warm import WARM

        end = time.monotonic() + deadline_s
        typist: Typist | None = None
        try:
            with _within(deadline_s - RESERVE_S):
                connection = _connect()
                try:
                    typist = Typist(connection, delivery, self._notes)
                    with _returning(typist):
                        typist.type(wanted, end - 2 * RESERVE_S, modifiers)
                finally:
                    connection.close()
                    WARM.prewarm()
        except BaseException as error:  # also when the greenlet is ended: the keys are not ours to keep
            stopped = isinstance(error, gevent.GreenletExit)
            if typist is not None:
                _recover(self._notes, STOP_S if stopped else end - time.monotonic())
            sent, tapped = (typist.sent, typist.tapped) if typist is not None else (0, 0)
            if stopped:
                raise DesktopError("the daemon is stopping", sent, tapped == len(wanted)) from None
            if isinstance(error, DesktopError):
                error.typed, error.whole = sent, tapped == len(wanted)
            raise


@contextmanager
def _returning(typist: Typist) -> Iterator[None]:
    """Give borrowed keys back at the end; not after a timeout, when the connection is of no more use."""
    try:
        yield
    except Exception:
        typist.give_back()
        raise
    typist.give_back()


def _recover(notes: Notes, deadline_s: float) -> None:
    """Undo what a broken delivery has changed, over a new connection."""
    try:
        with _within(deadline_s):
            connection = _connect()
            try:
                with connection.grabbed():
                    notes.recover(connection)
            finally:
                connection.close()
    except DesktopError:
        return  # the server still hangs; the next delivery does it


def _probe() -> None:
    from novakey.desktop.x11.warm import WARM

    WARM.probe()


def _connect() -> Connection:
    from novakey.desktop.x11.warm import WARM

    return WARM.take()


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Set a deadline, and turn every error of the connection into a `DesktopError`."""
    from novakey.desktop.x11.connection import ERRORS, NONSENSE, ServerError

    with gevent.Timeout(max(0.001, seconds)) as timer:
        try:
            yield
        except gevent.Timeout as expired:
            if expired is not timer:
                raise
            raise DesktopError("the x server did not answer in time") from None
        except ServerError as error:
            raise DesktopError(str(error)) from None
        except ERRORS as error:
            raise DesktopError(f"the x server cannot be reached: {_one_line(error)}") from None
        except NONSENSE as error:  # its words could quote what was read
            raise DesktopError(f"the x server gave a reply that is none ({type(error).__name__})") from None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _keysyms(text: Secret) -> memoryview[int]:
    """Return the text as keysyms, to be wiped. A line end of two characters is one key."""
    found = array("I", bytes(4 * len(text)))
    count = 0
    for count, character in enumerate(keysyms.typed_characters(text), 1):
        found[count - 1] = keysyms.of_character(character)
    return memoryview(found)[:count]
