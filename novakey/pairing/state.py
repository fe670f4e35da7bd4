"""The pairing states, as one table. Everything that changes a state is in this file.

        UNPAIRED  no device, no window          OPEN       a window waits for a phone
        PAIRED    at least one device, no window HANDSHAKE  a phone has taken the window
        LOCKED    no window until `reset`

No clock and no disk in here: times come as parameters (unix seconds), and what
must outlive a restart is a `Record` that the caller keeps. `save` is called
before a transition takes effect; where it raises, nothing has changed.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto

from novakey.secret import Secret

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
    sealing_failures: int = 0
    """How often in a row the sealing backend failed before any device was stored."""
    locked: str = ""
    """Why pairing is locked; empty when it is not."""
    backend: str = ""
    """The sealing backend that the store was first written with."""


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
        self, record: Record, paired: bool, max_windows: int, save: Callable[[Record], None]
    ) -> None:
        self.record = record
        self.window: Window | None = None
        self.repeat: Repeat | None = None
        self._save = save
        self._max_windows = max_windows
        self._has_device = paired
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
            if not _same(token, self.window.token):
                raise RefusedHelloError("bad_token", "this QR is not the one on the computer's screen")
            if self.state is State.HANDSHAKE:
                raise RefusedHelloError("busy", "another phone is pairing at this moment")
            self._change(Event.HELLO, replace(self.record, handshake_running=True))
            return False
        if self.repeat and now < self.repeat.until and _same(token, self.repeat.token):
            return True
        raise RefusedHelloError("not_pairing", "this computer is not waiting for a phone")

    def registered(self, now: int, backend: str) -> None:
        """The device is stored durably: the window has done its work."""
        assert self.window is not None
        token = self.window.token
        self._change(Event.REGISTERED, Record(backend=self.record.backend or backend))
        self._has_device = True
        self.window = None
        self.repeat = Repeat(token, now + REPEAT_S)

    def failed(self, now: int) -> None:
        """A handshake ended without a device: give the window back, or end it."""
        if self.state is not State.HANDSHAKE or self.window is None:
            raise IllegalTransitionError("no handshake is running")
        left = self.window.attempts - 1
        if left <= 0:
            self._interrupt(replace(self.record, interrupted=self.record.interrupted + 1))
        elif now >= self.window.expires:
            self._change(Event.ENDED, replace(self.record, handshake_running=False))
            self.window = None
        else:
            self._change(Event.FAILED, replace(self.record, handshake_running=False))
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
            self._interrupt(replace(self.record, interrupted=self.record.interrupted + 1))

    def sealing_failed(self) -> None:
        """The sealing backend failed before any device was stored; three in a row lock."""
        failures = self.record.sealing_failures + 1
        record = replace(self.record, sealing_failures=failures)
        if failures >= MAX_SEALING_FAILURES:
            reason = f"secure storage failed {failures} times in a row"
            self._change(Event.LOCKED, replace(record, locked=reason))
        else:
            self._keep(record)

    def sealing_worked(self, backend: str) -> None:
        """The probe passed: failures are no longer in a row, and the backend is remembered."""
        self._keep(replace(self.record, sealing_failures=0, backend=backend))

    def forget_repeat(self) -> None:
        """A message came from a phone, so it has its acknowledgement."""
        self.repeat = None

    def _after_crash(self) -> None:
        """The daemon died in a handshake: with a device it had succeeded, else it counts."""
        if self._has_device:
            self._keep(Record(backend=self.record.backend))
        else:
            self._lock_or_keep(
                replace(self.record, handshake_running=False, interrupted=self.record.interrupted + 1)
            )

    def _interrupt(self, record: Record) -> None:
        self._change(Event.INTERRUPTED, replace(record, handshake_running=False))
        self.window = None
        self._lock_or_keep(self.record)

    def _lock_or_keep(self, record: Record) -> None:
        if record.interrupted >= self._max_windows:
            reason = f"{record.interrupted} pairing windows were interrupted"
            self._change(Event.LOCKED, replace(record, locked=reason))
        else:
            self._keep(record)

    def _rest(self) -> State:
        return State.PAIRED if self._has_device else State.UNPAIRED

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


def _same(one: Secret, other: Secret) -> bool:
    return one == other  # constant time, see Secret.__eq__
