"""Where a secret may go: the program and the title of the focused window, against four lists."""

from __future__ import annotations

from typing import Protocol

from novakey.desktop.base import Focus, TargetRefusedError


class TargetSettings(Protocol):
    """The settings of the target policy."""

    @property
    def target_policy_enabled(self) -> bool: ...
    @property
    def use_built_in_allowlist(self) -> bool: ...
    @property
    def allowed_process_names(self) -> tuple[str, ...]: ...
    @property
    def allowed_window_titles(self) -> tuple[str, ...]: ...
    @property
    def denied_process_names(self) -> tuple[str, ...]: ...
    @property
    def denied_window_titles(self) -> tuple[str, ...]: ...


class TargetPolicy:
    """Decides about a focused window; `permit` is a `desktop.base.Permit`."""

    def __init__(self, settings: TargetSettings) -> None:
        self._settings = settings

    def permit(self, focus: Focus | None) -> None:
        """Raise `TargetRefusedError` unless the policy is off or allows it."""
        if not self._settings.target_policy_enabled:
            return
        # Fail closed: a policy that cannot be checked permits nothing.
        raise TargetRefusedError("the focused program cannot be checked here yet")
