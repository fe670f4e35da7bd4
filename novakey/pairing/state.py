"""The pairing states, as one table. Everything that changes a state is in this file.

        UNPAIRED  no device, no window          OPEN       a window waits for a phone
        PAIRED    at least one device, no window HANDSHAKE  a phone has taken the window
        LOCKED    no window until `reset`

No clock and no disk in here: times come as parameters (unix seconds), and what
must outlive a restart is a `Record` that the caller keeps. `save` is called
before a transition takes effect, and where it raises, nothing has changed. Only
the end of a handshake goes on in memory when it cannot be saved (a full disk
must not leave the window taken): the record on disk then still says that a
handshake runs, so the next start counts it, or finds its device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

from novakey.errors import StoreError
from novakey.secret import Secret  # compares in constant time

REPEAT_S = 60  # a phone that lost the acknowledgement may ask for it again this long
MAX_SEALING_FAILURES = 3


class State(Enum):
    """See the table above."""

    UNPAIRED = auto()
    OPEN = auto()
    HANDSHAKE = auto()
    PAIRED = auto()
    LOCKED = auto()


class Event(Enum):
    """What can happen to pairing."""

    OPEN_WINDOW = auto()
    HELLO = auto()
    REGISTERED = auto()
    FAILED = auto()
    ENDED = auto()  # expired, or stopped without a handshake
    INTERRUPTED = auto()  # all attempts used up, or stopped in a handshake
    LOCKED = auto()
    REVOKED = auto()  # a device was taken out of the store


# REST stands for PAIRED where a device is stored, else UNPAIRED.
REST = None
TABLE: dict[tuple[State, Event], State | None] = {
    (State.UNPAIRED, Event.OPEN_WINDOW): State.OPEN,
    (State.PAIRED, Event.OPEN_WINDOW): State.OPEN,
    (State.OPEN, Event.HELLO): State.HANDSHAKE,
    (State.OPEN, Event.ENDED): REST,
    (State.HANDSHAKE, Event.REGISTERED): State.PAIRED,
    (State.HANDSHAKE, Event.FAILED): State.OPEN,
    (State.HANDSHAKE, Event.ENDED): REST,
    (State.HANDSHAKE, Event.INTERRUPTED): REST,
    (State.UNPAIRED, Event.LOCKED): State.LOCKED,
    (State.PAIRED, Event.LOCKED): State.LOCKED,
    (State.LOCKED, Event.LOCKED): State.LOCKED,
    # Only the rest changes with the devices: taking the last one out opens nothing.
    (State.PAIRED, Event.REVOKED): REST,
    (State.OPEN, Event.REVOKED): State.OPEN,
    (State.HANDSHAKE, Event.REVOKED): State.HANDSHAKE,
    (State.LOCKED, Event.REVOKED): State.LOCKED,
}


class IllegalTransitionError(Exception):
    """An event that the state does not know. A fault of ours; nothing was changed."""


class RefusedHelloError(Exception):
    """A hello that may not begin a handshake; `reason` is the wire's word for it."""

    def __init__(self, reason: str, msg: str) -> None:
        super().__init__(msg)
        self.reason = reason
        self.msg = msg


@dataclass(frozen=True)
class Record:
    """What outlives a restart."""

    interrupted: int = 0
    """Windows that were interrupted since the last success."""
    handshake_running: bool = False
    """A handshake had begun and its end is not written yet."""
    devices_before: int = 0
    """How many devices were stored when it began: with more of them it had succeeded."""
    sealing_failures: int = 0
    """How often in a row the sealing backend failed before any device was stored."""
    locked: str = ""
    """Why pairing is locked; empty when it is not."""
    backend: str = ""
    """The sealing backend that the first device was stored under."""
    fallback: bool = False
    """`backend` is weaker than the configured one, which failed when nothing was stored yet."""


@dataclass(frozen=True)
class Window:
    """One chance to pair: a token, until when, and how many handshakes it may still see fail."""

    token: Secret
    expires: int
    attempts: int


@dataclass(frozen=True)
class Repeat:
    """A registration whose acknowledgement may have been lost."""

    token: Secret
    until: int


class Pairing:
    """The state of one installation. Methods are the events; see `TABLE` for what is legal."""

    def __init__(
        self, record: Record, devices: int, max_windows: int, save: Callable[[Record], None]
    ) -> None:
        self.record = record
        self.window: Window | None = None
        self.repeat: Repeat | None = None
        self._save = save
        self._max_windows = max_windows
        self._devices = devices
        self.state = State.LOCKED if record.locked else self._rest()
        if record.handshake_running:
            self._after_crash()

    def open_window(self, token: Secret, now: int, seconds: int, attempts: int) -> Window:
        """Open a window with a fresh token."""
        after = self._after(Event.OPEN_WINDOW)
        self.window = Window(token, now + seconds, attempts)
        self.repeat = None
        self.state = after
        return self.window

    def hello(self, token: Secret, now: int) -> bool:
        """Begin a handshake; True when it only repeats a registration already stored.

        `RefusedHelloError` leaves the window untouched.
        """
        self.expire(now)
        if self.state in (State.OPEN, State.HANDSHAKE):
            assert self.window is not None
            if token != self.window.token:
                raise RefusedHelloError("bad_token", "this QR is not the one on the computer's screen")
            if self.state is State.HANDSHAKE:
                raise RefusedHelloError("busy", "another phone is pairing at this moment")
            begun = replace(self.record, handshake_running=True, devices_before=self._devices)
            self._change(Event.HELLO, begun)
            return False
        if self.repeat and now < self.repeat.until and token == self.repeat.token:
            return True
        raise RefusedHelloError("not_pairing", "this computer is not waiting for a phone")

    def registered(self, now: int, backend: str, fallback: bool = False, devices: int = 1) -> None:
        """The device is stored durably, the store holds `devices`: the window has done its work."""
        if self.window is None:
            raise IllegalTransitionError("no handshake is running")
        token, first = self.window.token, self.record.backend == ""
        self._end_handshake(
            Event.REGISTERED,
            interrupted=0,
            sealing_failures=0,
            backend=backend if first else self.record.backend,
            fallback=fallback if first else self.record.fallback,
        )
        self._devices = devices
        self.window = None
        self.repeat = Repeat(token, now + REPEAT_S)

    def failed(self, now: int) -> None:
        """A handshake ended without a device: give the window back, or end it."""
        if self.state is not State.HANDSHAKE or self.window is None:
            raise IllegalTransitionError("no handshake is running")
        left = self.window.attempts - 1
        if left <= 0:
            self._interrupt()
        elif now >= self.window.expires:
            self._end_handshake(Event.ENDED)
            self.window = None
        else:
            self._end_handshake(Event.FAILED)
            self.window = replace(self.window, attempts=left)

    def expire(self, now: int) -> bool:
        """End the window when its time is over; a handshake in it lapses by itself."""
        if self.state is State.OPEN and self.window is not None and now >= self.window.expires:
            self._change(Event.ENDED, self.record)
            self.window = None
            return True
        return False

    def stop(self) -> None:
        """The daemon stops: a waiting window just ends, a running handshake was interrupted."""
        if self.state is State.OPEN:
            self._change(Event.ENDED, self.record)
            self.window = None
        elif self.state is State.HANDSHAKE:
            self._interrupt()

    def sealing_failed(self) -> None:
        """The sealing backend failed before any device was stored; three in a row lock."""
        failures = self.record.sealing_failures + 1
        record = replace(self.record, sealing_failures=failures)
        if failures >= MAX_SEALING_FAILURES:
            reason = f"secure storage failed {failures} times in a row"
            self._change(Event.LOCKED, replace(record, locked=reason))
        else:
            self._keep(record)

    def sealing_worked(self) -> None:
        """The probe passed: failures are no longer in a row."""
        self._keep(replace(self.record, sealing_failures=0))

    def sealed_under(self, backend: str, fallback: bool) -> None:
        """The store's sealing key is in this backend: it was found, or moved there."""
        self._keep(replace(self.record, backend=backend, fallback=fallback))

    def revoked(self, devices: int) -> None:
        """A device was taken out of the store, durably; `devices` are left."""
        self._devices = devices
        self.state = self._after(Event.REVOKED)
        if self.record.handshake_running:
            with contextlib.suppress(StoreError):
                self._keep(replace(self.record, devices_before=devices))
        self.repeat = None  # it may be the very device that could ask for its acknowledgement again

    def forget_repeat(self) -> None:
        """A message came from a phone, so it has its acknowledgement."""
        self.repeat = None

    def _after_crash(self) -> None:
        """The daemon died in a handshake: with a device it had succeeded, else it counts."""
        if self._devices > self.record.devices_before:
            self._keep(Record(backend=self.record.backend, fallback=self.record.fallback))
        else:
            counted = self.record.interrupted + 1
            self._keep(replace(self.record, handshake_running=False, devices_before=0, interrupted=counted))
            self._lock_if_too_many()

    def _interrupt(self) -> None:
        self._end_handshake(Event.INTERRUPTED, interrupted=self.record.interrupted + 1)
        self.window = None
        self._lock_if_too_many()

    def _lock_if_too_many(self) -> None:
        if self.record.interrupted >= self._max_windows:
            reason = f"{self.record.interrupted} pairing windows were interrupted"
            self._end_handshake(Event.LOCKED, locked=reason)

    def _end_handshake(self, event: Event, **changes: Any) -> None:
        after = self._after(event)
        record = replace(self.record, handshake_running=False, devices_before=0, **changes)
        with contextlib.suppress(StoreError):  # see the module's docstring; `save` has logged it
            self._keep(record)
        self.record = record
        self.state = after

    def _rest(self) -> State:
        return State.PAIRED if self._devices else State.UNPAIRED

    def _after(self, event: Event) -> State:
        if (self.state, event) not in TABLE:
            raise IllegalTransitionError(f"{event.name} in {self.state.name}")
        return TABLE[self.state, event] or self._rest()

    def _change(self, event: Event, record: Record) -> None:
        after = self._after(event)
        self._keep(record)
        self.state = after

    def _keep(self, record: Record) -> None:
        if record != self.record:
            self._save(record)
            self.record = record
