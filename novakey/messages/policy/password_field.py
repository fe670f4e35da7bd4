"""`require_password_field`: a secret goes only into a field that shows dots instead of it.

Asked in two steps. The objects with the focus are looked for before the delivery, since
programs answer for themselves and may need the display for that; and once the display stands
still for the first key, the window with the focus must be of the same program. Somebody who moves
from the password field to another one of that window within those milliseconds is not noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from novakey.config.settings import Settings
from novakey.desktop.base import Focus
from novakey.wire.refused import target_refused

if TYPE_CHECKING:
    from novakey.session.atspi import FocusedObject


class PasswordField:
    """Looks for the focused field of each delivery. `look` is what finds the focused objects."""

    def __init__(
        self,
        settings: Settings,
        look: Callable[[], Sequence[FocusedObject]] | None = None,
    ) -> None:
        self._required = settings.require_password_field
        self._look = look

    def find(self) -> Sequence[FocusedObject]:
        """Return the objects with the focus, none where that does not matter; `Refused` where none tells."""
        if not self._required:
            return ()
        from novakey.session.atspi import focused_objects  # costs a daemon without this setting nothing
        from novakey.session.dbus import BusError

        try:
            focused = (self._look or focused_objects)()
        except BusError as error:
            raise target_refused(f"password fields cannot be told from others: {error}") from None
        if not focused:
            raise target_refused("no program tells which field has the focus")
        return focused

    def check(self, found: Sequence[FocusedObject], focus: Focus | None) -> None:
        """Raise `Refused` unless what was found in the focused program is a password field."""
        if not self._required:
            return
        pid = None if focus is None else focus.pid
        # Where the session hides whose window it is, every program that claims the focus must be right.
        fields = [field for field in found if pid is None or field.pid == pid]
        if not fields:
            raise target_refused("the focused program does not tell which field has the focus")
        if not all(field.is_password for field in fields):
            raise target_refused("the focused field is no password field")
