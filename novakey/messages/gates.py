"""The gates that a person opens for a moment: arming and approval, each for one device.

A gate is checked before a delivery and used up only by a successful one, so a
delivery that fails costs nobody their approval. Times are milliseconds of a
monotonic clock, passed in.
"""

from __future__ import annotations


class Gate:
    """Open for one device until a time of its own."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def open(self, device_id: str, now_ms: float, duration_ms: int) -> None:
        """Open it for `duration_ms` from now; a second opening replaces the first."""
        self._until[device_id] = now_ms + duration_ms

    def is_open(self, device_id: str, now_ms: float) -> bool:
        """Whether it is open for this device."""
        return now_ms < self._until.get(device_id, float("-inf"))

    def close(self, device_id: str) -> None:
        """Close it for this device; closing a closed gate is nothing."""
        self._until.pop(device_id, None)

    def close_all(self) -> None:
        """Close it for every device."""
        self._until.clear()

    def until(self, now_ms: float) -> dict[str, float]:
        """For which devices it is open, and until when."""
        return {device_id: until for device_id, until in self._until.items() if now_ms < until}


class Gates:
    """The two gates in front of an inject."""

    def __init__(self) -> None:
        self.arming = Gate()
        self.approval = Gate()

    def close(self, device_id: str) -> None:
        """Close both for this device."""
        self.arming.close(device_id)
        self.approval.close(device_id)

    def close_all(self) -> None:
        """Close both for every device."""
        self.arming.close_all()
        self.approval.close_all()
