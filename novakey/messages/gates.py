"""The gates that a person opens for a moment: arming and approval, each for one device.

A gate is checked before a delivery. A delivery uses it up where a part of the text
may have gone out; one that provably delivered nothing does not. Times are
milliseconds of a monotonic clock, passed in.
"""

from __future__ import annotations


class Gate:
    """Open for one device until a time of its own."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._windows: dict[str, int | str] = {}
        self._wanted: dict[str, float] = {}  # when

    def open(self, device_id: str, now_ms: float, duration_ms: int, window: int | str | None = None) -> None:
        """Open it for `duration_ms` from now, if given for one window only; replaces an earlier opening."""
        self.close(device_id)
        self._until[device_id] = now_ms + duration_ms
        self.note(device_id, now_ms)
        if window is not None:
            self._windows[device_id] = window

    def note(self, device_id: str, now_ms: float) -> None:
        """Remember that the device or its owner wants it open, which opens nothing by itself."""
        self._wanted[device_id] = now_ms

    def was_wanted_since(self, device_id: str, since_ms: float) -> bool:
        """Whether somebody wanted it open for this device since then, and it was not closed after that."""
        return self._wanted.get(device_id, float("-inf")) >= since_ms

    def is_open(self, device_id: str, now_ms: float) -> bool:
        """Whether it is open for this device."""
        return now_ms < self._until.get(device_id, float("-inf"))

    def stands(self, device_id: str) -> bool:
        """Whether it was not closed since it was opened, though its time may be over by now."""
        return device_id in self._until

    def close(self, device_id: str) -> None:
        """Close it for this device; closing a closed gate is nothing."""
        for of_device in (self._until, self._windows, self._wanted):
            of_device.pop(device_id, None)

    def bound_to(self, device_id: str) -> int | str | None:
        """Return the window that it was opened for; None where it is open for any."""
        return self._windows.get(device_id)

    def close_all(self) -> None:
        """Close it for every device."""
        for of_device in (self._until, self._windows, self._wanted):
            of_device.clear()

    def close_wanted_since(self, since_ms: float) -> None:
        """Close it for each device for which somebody wanted it open since then."""
        for device_id in [device_id for device_id, at in self._wanted.items() if at >= since_ms]:
            self.close(device_id)

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

    def were_wanted_since(self, device_id: str, since_ms: float) -> bool:
        """Whether somebody armed or approved this device since then; what was closed does not count."""
        gates = (self.arming, self.approval)
        return any(gate.was_wanted_since(device_id, since_ms) for gate in gates)

    def close_wanted_since(self, since_ms: float) -> None:
        """Close both for each device that was armed or approved since then."""
        for gate in (self.arming, self.approval):
            gate.close_wanted_since(since_ms)

    def close_all(self) -> None:
        """Close both for every device."""
        self.arming.close_all()
        self.approval.close_all()
