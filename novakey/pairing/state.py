"""The pairing states, as one table. Everything that changes a state is in this file.

        UNPAIRED  no device, no window          OPEN       a window waits for a phone
        PAIRED    at least one device, no window HANDSHAKE  a phone has taken the window
        LOCKED    no window until `reset`

No clock and no disk in here: times come as parameters (unix seconds), and what
must outlive a restart is a `Record` that the caller keeps. `save` is called
before a transition takes effect, and where it raises, nothing has changed. Two
things go on in memory when they cannot be saved, since a full disk must neither
leave the window taken nor give it unlimited attempts: a handshake that cannot
begin uses up an attempt, and one that ends has ended. What was not written is
written with the next change. Until then the record on disk still says that a
handshake runs, so the next start counts it, or finds its device.

`save` may let other greenlets run while it waits for the disk. An event waits
until the one before it is saved; only `expire` looks again later instead.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from enum import Enum, auto

from gevent.lock import RLock

from novakey.errors import StoreError
from novakey.pairing.model import AckRetry, PairingWindow, Record
from novakey.pairing.turn import in_turn
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
    REFUSED = auto()  # a genuine register of a phone that may not pair: costs no attempt
    ENDED = auto()  # expired, or stopped without a handshake
    INTERRUPTED = auto()  # all attempts used up, or stopped in a handshake
    LOCKED = auto()
    REVOKED = auto()  # a device was taken out of the store


# IDLE stands for PAIRED where a device is stored, else UNPAIRED.
IDLE = None
TABLE: dict[tuple[State, Event], State | None] = {
    (State.UNPAIRED, Event.OPEN_WINDOW): State.OPEN,
    (State.PAIRED, Event.OPEN_WINDOW): State.OPEN,
    (State.OPEN, Event.HELLO): State.HANDSHAKE,
    (State.OPEN, Event.FAILED): State.OPEN,  # a hello that could not be written down
    (State.OPEN, Event.INTERRUPTED): IDLE,  # the last of them
    (State.OPEN, Event.ENDED): IDLE,
    (State.HANDSHAKE, Event.REGISTERED): State.PAIRED,
    (State.HANDSHAKE, Event.FAILED): State.OPEN,
    (State.HANDSHAKE, Event.REFUSED): State.OPEN,
    (State.HANDSHAKE, Event.ENDED): IDLE,
    (State.HANDSHAKE, Event.INTERRUPTED): IDLE,
    (State.UNPAIRED, Event.LOCKED): State.LOCKED,
    (State.PAIRED, Event.LOCKED): State.LOCKED,
    (State.LOCKED, Event.LOCKED): State.LOCKED,
    # Only the rest changes with the devices: taking the last one out opens nothing.
    (State.PAIRED, Event.REVOKED): IDLE,
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


class Pairing:
    """The state of one installation. Methods are the events; see `TABLE` for what is legal."""

    def __init__(
        self, record: Record, devices: int, max_windows: int, save: Callable[[Record], None]
    ) -> None:
        self.record = record
        self.window: PairingWindow | None = None
        self.repeat: AckRetry | None = None
        self.ended_by: Event | None = None
        """How the last window ended; None while none has."""
        self._save = save
        self.turn = RLock()
        self._on_disk = record
        self._max_windows = max_windows
        self._devices = devices
        self.state = State.LOCKED if record.locked else self._rest()
        if record.handshake_running:
            self._after_crash()
        elif not record.locked and record.interrupted >= max_windows:  # the limit was lowered
            self._keep(record._replace(locked=_too_many(record.interrupted)))
            self.state = State.LOCKED

    @property
    def locked(self) -> str:
        """Why pairing is locked; empty where it is not."""
        return self.record.locked

    @in_turn
    def open_window(self, token: Secret, now: int, seconds: int, attempts: int) -> PairingWindow:
        """Open a window with a fresh token."""
        after = self._after(Event.OPEN_WINDOW)
        self.window = PairingWindow(token, now + seconds, attempts)
        self.repeat = None
        self.state = after
        return self.window

    @in_turn
    def hello(self, token: Secret, now: int) -> bool:
        """Begin a handshake; True when it only repeats a registration already stored.

        `RefusedHelloError` leaves the window untouched. `StoreError`, when the
        beginning cannot be saved, uses up an attempt.
        """
        self.expire(now)
        if self.state in (State.OPEN, State.HANDSHAKE):
            assert self.window is not None
            if token != self.window.token:
                raise RefusedHelloError("bad_token", "this QR is not the one on the computer's screen")
            if self.state is State.HANDSHAKE:
                raise RefusedHelloError("busy", "another phone is pairing at this moment")
            begun = self.record._replace(handshake_running=True, devices_before=self._devices)
            try:
                self._change(Event.HELLO, begun)
            except StoreError:
                self._lose_attempt(now)
                raise
            return False
        if self.repeat and now < self.repeat.until and token == self.repeat.token:
            return True
        raise RefusedHelloError("not_pairing", "this computer is not waiting for a phone")

    def holds(self, token: Secret) -> bool:
        """Whether the handshake that runs is the one that began with this token."""
        return self.state is State.HANDSHAKE and self.window is not None and self.window.token == token

    def waits_for(self, token: Secret) -> bool:
        """Whether the open window has this token, also while a handshake runs in it."""
        return self.window is not None and self.window.token == token

    @in_turn
    def registered(self, now: int, device_id: str, devices: int) -> None:
        """End the window after its device was stored durably; the store holds `devices`."""
        if self.state is not State.HANDSHAKE or self.window is None:
            raise IllegalTransitionError("no handshake is running")
        token = self.window.token
        self._end(Event.REGISTERED, self._succeeded())
        self._devices = devices
        self.repeat = AckRetry(token, now + REPEAT_S, device_id)

    @in_turn
    def failed(self, now: int) -> None:
        """Reopen or end the window after a handshake that ended without a device."""
        if self.state is not State.HANDSHAKE:
            raise IllegalTransitionError("no handshake is running")
        self._lose_attempt(now)

    @in_turn
    def refused(self, now: int) -> None:
        """Give the window back after a genuine register that is refused; it costs no attempt.

        A phone keeps its id for good, so each of its tries ends in this way.
        """
        if self.state is not State.HANDSHAKE:
            raise IllegalTransitionError("no handshake is running")
        assert self.window is not None
        self._end(Event.ENDED if now >= self.window.expires else Event.REFUSED)

    def expire(self, now: int) -> bool:
        """End the window when its time is over; a handshake in it lapses by itself."""
        if not self.turn.acquire(blocking=False):
            return False
        try:
            if self.state is State.OPEN and self.window is not None and now >= self.window.expires:
                self._end(Event.ENDED)
                return True
            return False
        finally:
            self.turn.release()

    @in_turn
    def stop(self) -> None:
        """Stop: end a waiting window, and count a running handshake as interrupted."""
        if self.state is State.OPEN:
            self._end(Event.ENDED)
        elif self.state is State.HANDSHAKE:
            self._interrupt()
        self._keep_or_go_on(self.record)  # what a full disk did not take before

    def sealing_failed(self) -> None:
        """Count a failure of the sealing backend before any device was stored; three in a row lock."""
        failures = self.record.sealing_failures + 1
        record = self.record._replace(sealing_failures=failures)
        if failures >= MAX_SEALING_FAILURES:
            reason = f"secure storage failed {failures} times in a row"
            self._change(Event.LOCKED, record._replace(locked=reason))
        else:
            self._keep(record)

    def sealing_worked(self, backend: str, fallback: bool) -> None:
        """Note that the probe passed: `backend` would seal a store, and the row of failures ends."""
        self._keep(self.record._replace(sealing_failures=0, backend=backend, fallback=fallback))

    def sealed_under(self, backend: str, fallback: bool = False, left_behind: str = "") -> None:
        """Note that the sealing key of a store with devices is in `backend`."""
        self._keep(
            self.record._replace(
                backend=backend, fallback=fallback, device_stored=True, left_behind=left_behind
            )
        )

    @in_turn
    def revoked(self, devices: int) -> None:
        """Note that a device was removed from the store durably; `devices` are left."""
        self._devices = devices
        self.state = self._after(Event.REVOKED)
        if self.record.handshake_running:
            with contextlib.suppress(StoreError):
                self._keep(self.record._replace(devices_before=devices))
        self.repeat = None  # it may be the very device that could ask for its acknowledgement again

    def forget_repeat(self, device_id: str) -> None:
        """Forget the repetition for a phone that sent a message: it has its acknowledgement."""
        if self.repeat is not None and self.repeat.device_id == device_id:
            self.repeat = None

    def _after_crash(self) -> None:
        """Settle a handshake that a crash ended: with one more device it succeeded, or else it counts."""
        if self._devices > self.record.devices_before:
            # The device is whole, so the daemon serves it even from a disk that takes no writing.
            self._keep_or_go_on(self._succeeded())
        else:
            self._keep(self._one_more_interrupted())
            if self.record.locked:
                self.state = self._after(Event.LOCKED)

    def _lose_attempt(self, now: int) -> None:
        assert self.window is not None  # in both states that lose an attempt
        left = self.window.attempts - 1
        if left <= 0:
            self._interrupt()
        elif now >= self.window.expires:
            self._end(Event.ENDED)
        else:
            self._end(Event.FAILED)
            self.window = self.window._replace(attempts=left)

    def _interrupt(self) -> None:
        self._end(Event.INTERRUPTED, self._one_more_interrupted())
        if self.record.locked:
            self.state = self._after(Event.LOCKED)

    def _settled(self) -> Record:
        return self.record._replace(handshake_running=False, devices_before=0)

    def _succeeded(self) -> Record:
        return self._settled()._replace(interrupted=0, sealing_failures=0, device_stored=True)

    def _one_more_interrupted(self) -> Record:
        """Count an interruption and set its lock in one change, so that no crash comes between."""
        count = self.record.interrupted + 1
        too_many = _too_many(count) if count >= self._max_windows else ""
        return self._settled()._replace(interrupted=count, locked=self.record.locked or too_many)

    def _end(self, event: Event, record: Record | None = None) -> None:
        """End a handshake or a window, even if that cannot be saved: see the module's docstring."""
        after = self._after(event)
        self._keep_or_go_on(record or self._settled())
        self.state = after
        if event not in (Event.FAILED, Event.REFUSED):
            self.window = None
            self.ended_by = event

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
        if record != self._on_disk:
            self._save(record)
            self._on_disk = record
        self.record = record

    def _keep_or_go_on(self, record: Record) -> None:
        with contextlib.suppress(StoreError):  # `save` has logged it
            self._keep(record)
        self.record = record


def _too_many(count: int) -> str:
    return f"{count} pairing windows were interrupted"
