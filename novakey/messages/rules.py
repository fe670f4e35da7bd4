"""The rules about a secret: each is a check that raises `Refused` with its reason.

They are asked in this order: the device is known, it is armed, the text is safe, the screen is
not locked, the window may receive it, the owner has approved it. A device that was armed or
approved stays so for its delivery unless somebody takes it back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from novakey.config.settings import Settings
from novakey.desktop.base import Focus
from novakey.devices.store import DeviceStore
from novakey.messages.approvals import Approvals
from novakey.messages.permissions import Permissions
from novakey.messages.policy import text
from novakey.messages.policy.password_field import PasswordField
from novakey.messages.policy.target import TargetPolicy
from novakey.messages.recent import Recent, window_of
from novakey.messages.targets import program_of
from novakey.secret import Secret
from novakey.wire.refused import UNAUTHENTIC, Refused, target_refused
from novakey.wire.reply import Outcome

if TYPE_CHECKING:
    from novakey.session.atspi import FocusedObject

PAUSED = "paused on the computer: nothing is typed until its owner resumes"
LOCKED = "the locked screen"  # where a secret was refused, in place of a window


class Rules:
    """What the settings, the owner and the phone allow now. `locked` tells of the screen."""

    def __init__(
        self,
        settings: Settings,
        devices: DeviceStore,
        permissions: Permissions,
        approvals: Approvals,
        recent: Recent,
        locked: Callable[[], bool | None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.devices = devices
        self._permissions = permissions
        self.approvals = approvals
        self.recent = recent
        self._locked = locked
        self._target = TargetPolicy(settings)
        self._password_field = PasswordField(settings)
        self.is_paused = False  # by the owner; a restart ends it

    def check_known(self, device_id: str) -> None:
        """Refuse a device that was revoked while its message waited, and every one during a pause."""
        if self.devices.get(device_id) is None:
            raise Refused(Outcome.CRYPTO_FAIL, UNAUTHENTIC)
        if self.is_paused:
            raise Refused(Outcome.BAD_REQUEST, PAUSED)

    def check_text(self, device_id: str, secret: Secret) -> None:
        """Refuse what must not be typed."""
        self.check_known(device_id)
        settings = self.settings
        try:
            text.check(secret, settings.max_inject_len, settings.allow_newlines, settings.allow_tabs)
        except text.UnsafeTextError as error:
            raise Refused(Outcome.BAD_REQUEST, str(error)) from None

    def check_armed(self, device_id: str, now_ms: float) -> bool:
        """Return whether the device is armed; refuse one that is not, unless its secret may be copied."""
        armed = self._permissions.of(device_id).arming.is_open(now_ms)
        known = self.devices.get(device_id) is not None
        if known and not armed and not self.settings.allow_clipboard_when_disarmed:
            raise Refused(Outcome.NOT_ARMED, "not armed: arm first, then send")
        return armed

    def check_disarmed(self, device_id: str, armed: bool) -> None:
        """Refuse a device that was revoked, or that was armed and somebody disarmed."""
        self.check_known(device_id)
        if armed and self._permissions.of(device_id).arming.until_ms is None:
            raise Refused(Outcome.NOT_ARMED, "disarmed since: arm again, then send")

    def check_revoked(self, device_id: str, armed: bool) -> None:
        """Refuse a device that was revoked, disarmed or denied after the first check.

        Only what somebody took back: a time that has run out since then was long enough.
        """
        self.check_disarmed(device_id, armed)
        self.approvals.check_revoked(device_id)

    def check_screen(self, digest: bytes) -> None:
        """Refuse a locked screen."""
        if self.settings.refuse_when_locked and self._locked():
            self.recent.refused(digest, LOCKED)
            raise Refused(Outcome.BAD_REQUEST, "target refused: the screen is locked")

    def find_fields(self, digest: bytes) -> Sequence[FocusedObject]:
        """Return the objects with the focus; refuse where none tells and it matters."""
        try:
            return self._password_field.find()
        except Refused:
            self.recent.refused(digest, None)
            raise

    def check_window(
        self, digest: bytes, focus: Focus | None, found: Sequence[FocusedObject] | None = None
    ) -> None:
        """Refuse a window that may not receive the secret, or its focused field where `found` is given.

        A phone retries by itself, so a refused secret stays with the window that was refused.
        """
        try:
            window = self.recent.retry_window(digest)
            if window is not None and window_of(focus) != window:
                raise target_refused(
                    "another window was refused a moment ago: to type here, send again in two seconds"
                )
            self._target.check_target(focus)
            if found is not None:
                self._password_field.check(found, focus)
        except Refused as refused:
            self.recent.refused(digest, window_of(focus))
            refused.program = program_of(focus)
            raise
