"""What a backend asks in a delivery, without the rules of the product."""

from __future__ import annotations

from collections.abc import Callable

from novakey.desktop.base import Focus


class Checks:
    """A delivery that calls `check` about each target; one without allows every target."""

    def __init__(self, check: Callable[[Focus | None], None] = lambda focus: None) -> None:
        self._check = check
        self.is_open = False

    def check_target(self, focus: Focus | None) -> None:
        """See `desktop.base.Delivery`."""
        self._check(focus)
        self.is_open = True

    def check_copy(self, focus: Focus | None) -> None:
        """See `messages.output.Checked`."""
        self.check_target(focus)


anywhere = Checks()
