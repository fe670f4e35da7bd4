"""One secret on its way to the screen: what is still allowed, and where it goes.

Between the checks of a message and its first key the owner may take back what was allowed, and
another window may come to the front. So the desktop calls `check_target` for the very window that it
types into, right before the first key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from novakey.desktop.base import Focus
from novakey.messages.exchange import Exchange
from novakey.messages.recent import window_of
from novakey.messages.rules import Rules
from novakey.messages.targets import WindowTarget, program_of

if TYPE_CHECKING:
    from novakey.session.atspi import FocusedObject


class Delivery:
    """A `desktop.base.Delivery` that asks all rules, and remembers which window it was asked about."""

    def __init__(self, rules: Rules, device_id: str, digest: bytes, armed: bool, exchange: Exchange) -> None:
        self.device_id = device_id
        self.armed = armed
        self.program = ""
        self.window: int | str | None = None
        self.is_open = False
        self._rules = rules
        self._approvals = rules.approvals
        self._digest = digest
        self._exchange = exchange
        self._fields: Sequence[FocusedObject] = ()

    def prepare(self) -> None:
        """Check what needs no window, and find the fields with the focus. Both take a moment."""
        self._rules.check_disarmed(self.device_id, self.armed)
        self._approvals.check(self.device_id, self._digest)
        self._rules.check_screen(self._digest)
        self.check_revoked()
        self._fields = self._rules.find_fields(self._digest)

    def check_revoked(self) -> None:
        """Raise `Refused` if somebody took back what was allowed, or the phone no longer waits."""
        self._rules.check_revoked(self.device_id, self.armed)
        self._exchange.refuse_over()

    def check_target(self, focus: Focus | None) -> None:
        """Raise `Refused` unless the secret may be typed into this window. A key may follow at once."""
        self._check_window(focus)
        self.is_open = True

    def check_copy(self, focus: Focus | None) -> None:
        """Raise `Refused` where typing is refused: the secret could be pasted there."""
        self._rules.check_screen(self._digest)
        self._check_window(focus)
        self.check_revoked()  # reading the lock takes a moment
        self.is_open = True

    def _check_window(self, focus: Focus | None) -> None:
        self.program, self.window = program_of(focus), window_of(focus)
        self.check_revoked()
        self._rules.check_window(self._digest, focus, self._fields)
        self._approvals.check_target(self.device_id, WindowTarget.of(focus))
