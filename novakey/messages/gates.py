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
        self._windows: dict[str, int | str] = {}

    def open(self, device_id: str, now_ms: float, duration_ms: int, window: int | str | None = None) -> None:
        """Open it for `duration_ms` from now, if given for one window only; replaces an earlier opening."""
        self.close(device_id)
        self._until[device_id] = now_ms + duration_ms
        if window is not None:
            self._windows[device_id] = window

    def is_open(self, device_id: str, now_ms: float) -> bool:
        """Whether it is open for this device."""
        return now_ms < self._until.get(device_id, float("-inf"))

    def stands(self, device_id: str) -> bool:
        """Whether nobody closed it since it was opened, though its time may be over by now."""
        return device_id in self._until

    def close(self, device_id: str) -> None:
        """Close it for this device; closing a closed gate is nothing."""
        self._until.pop(device_id, None)
        self._windows.pop(device_id, None)

    def bound_to(self, device_id: str) -> int | str | None:
        """The window that it was opened for; None where it is open for any."""
        return self._windows.get(device_id)

    def close_all(self) -> None:
        """Close it for every device."""
        self._until.clear()
        self._windows.clear()

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
