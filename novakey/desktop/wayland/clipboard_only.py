"""A Wayland session that lets no program type: the clipboard, and the person pastes."""

from __future__ import annotations

from novakey.desktop.base import Backend, CannotType, Delivery, DesktopError, Focus, Unusable
from novakey.desktop.wayland import selection, session
from novakey.desktop.wayland.selection import CLEARING_TRIES, SelectionOwner
from novakey.desktop.wayland.session import within
from novakey.secret import Secret

NO_PROGRAM = "this Wayland session lets no program type"


class ClipboardBackend(Backend):
    """The clipboard, where typing is refused to everybody."""

    name = "clipboard"

    def __init__(self) -> None:
        self._owner: SelectionOwner | None = None

    @classmethod
    def unavailable(cls) -> Unusable | None:
        """See `Backend.unavailable`."""
        found = session.probe()
        if isinstance(found, Unusable):
            return found
        if selection.offered_in(found):
            return None
        return Unusable("this compositor has no clipboard", "use another desktop session")

    def focus(self, deadline_s: float) -> Focus | None:
        """See `Backend.focus`: Wayland tells it to the compositor only."""
        return None

    def type_text(self, text: Secret, deadline_s: float, delivery: Delivery) -> None:
        """See `Backend.type_text`."""
        delivery.check_target(None)
        raise CannotType(NO_PROGRAM)

    def paste(self, text: Secret, deadline_s: float, delivery: Delivery) -> bool:
        """See `Backend.paste`: without typing there is no paste shortcut either."""
        delivery.check_target(None)
        raise CannotType(NO_PROGRAM)

    def copy(self, text: Secret, deadline_s: float) -> None:
        """See `Backend.copy`."""
        self.close()
        with within(deadline_s):
            try:
                self._owner = SelectionOwner(text)
            except KeyError:
                raise DesktopError("this compositor lets no program own the clipboard") from None

    def clear_clipboard(self) -> None:
        """See `Backend.clear_clipboard`."""
        self._let_go(CLEARING_TRIES)

    def close(self) -> None:
        """See `Backend.close`."""
        self._let_go(1)

    def _let_go(self, tries: int) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.close(tries)
