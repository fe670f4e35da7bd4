"""What each phone may do now, as one table: arming, approval and the owner's denial.

`TABLE` says what each `Change` does. There is no clock and no greenlet in here; times
are milliseconds of a monotonic clock, passed in.

A delivery checks the two gates. It uses them up if a part of the text may have gone
out; a delivery that provably delivered nothing does not. A gate whose time has run
out is not open, but no person closed it: a delivery that began in time goes on.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from novakey.messages.targets import Target

# A phone that goes on asking must not wear its owner down: each denial in a row makes it wait twice as long.
AFTER_DENIAL_S = 10.0
AFTER_DENIALS_S = 3600.0
PUT_AWAY_MOST = 3  # prompts put away in a row; from the next one on, each is followed by a pause
_NEVER = float("-inf")


class Change(Enum):
    """What can happen to the permissions of one device."""

    ARMED = auto()  # by the phone, or by the owner
    DISARMED = auto()  # by the phone, or used up by a delivery
    REQUESTED = auto()  # the phone approved where that opens nothing
    APPROVED_BY_PHONE = auto()
    APPROVED_BY_OWNER = auto()
    APPROVAL_USED = auto()  # by a delivery
    DENIED = auto()  # by the owner, on a prompt
    DENIED_UNASKED = auto()  # by the owner, without a prompt
    IGNORED = auto()  # a prompt ran out without an answer
    PUT_AWAY = auto()  # by the owner, a prompt without an answer
    CLOSED = auto()  # by the owner's disarm, or by a delivery that was cut
    REVOKED = auto()


class To(Enum):
    """What a change does to a gate."""

    OPEN = auto()
    CLOSE = auto()
    WANT = auto()  # it opens nothing, but a person wants it open
    STAY = auto()


class Then(Enum):
    """What a change does to the prompts of a device."""

    STAY = auto()
    REFUSE = auto()  # no prompt and no approval by the phone for a while, longer each time
    REFUSE_UNLESS_REFUSED = auto()  # saying it again prolongs nothing
    PAUSE = auto()  # no prompt for a while, longer each time
    PAUSE_IF_MANY = auto()  # the same, after `PUT_AWAY_MOST` in a row
    FORGET = auto()


class Effect(NamedTuple):
    """One row of the table."""

    arming: To
    approval: To
    prompts: Then


TABLE: dict[Change, Effect] = {
    Change.ARMED: Effect(To.OPEN, To.STAY, Then.STAY),
    Change.DISARMED: Effect(To.CLOSE, To.STAY, Then.STAY),
    Change.REQUESTED: Effect(To.STAY, To.WANT, Then.STAY),
    Change.APPROVED_BY_PHONE: Effect(To.STAY, To.OPEN, Then.STAY),
    Change.APPROVED_BY_OWNER: Effect(To.STAY, To.OPEN, Then.FORGET),
    Change.APPROVAL_USED: Effect(To.STAY, To.CLOSE, Then.STAY),
    Change.DENIED: Effect(To.STAY, To.CLOSE, Then.REFUSE),
    Change.DENIED_UNASKED: Effect(To.STAY, To.CLOSE, Then.REFUSE_UNLESS_REFUSED),
    Change.IGNORED: Effect(To.STAY, To.STAY, Then.PAUSE),
    Change.PUT_AWAY: Effect(To.STAY, To.STAY, Then.PAUSE_IF_MANY),
    Change.CLOSED: Effect(To.CLOSE, To.CLOSE, Then.STAY),
    Change.REVOKED: Effect(To.CLOSE, To.CLOSE, Then.FORGET),
}


class IllegalChangeError(Exception):
    """A change that the state does not allow. A fault of ours; nothing was changed."""


class Gate(NamedTuple):
    """Arming or approval of one device: open until a time, for one target or for any."""

    until_ms: float | None = None  # None: closed. A time that has passed has run out.
    target: Target | None = None
    wanted_ms: float = _NEVER  # when a person wanted it open last, if it was not closed since

    def is_open(self, now_ms: float) -> bool:
        """Return whether it is open now."""
        return self.until_ms is not None and now_ms < self.until_ms


class Prompts(NamedTuple):
    """Until when the owner is not prompted again, and how many prompts in a row brought no approval.

    The first few that were put away are counted in `put_away` only.
    """

    refused_until_ms: float = _NEVER
    paused_until_ms: float = _NEVER
    in_a_row: int = 0
    put_away: int = 0


class Permission(NamedTuple):
    """Everything about one device."""

    arming: Gate = Gate()
    approval: Gate = Gate()
    prompts: Prompts = Prompts()


_NONE = Permission()


class Permissions:
    """The permissions of all devices."""

    def __init__(self) -> None:
        self._of: dict[str, Permission] = {}

    def of(self, device_id: str) -> Permission:
        """Return what a device may do."""
        return self._of.get(device_id, _NONE)

    def apply(
        self, change: Change, device_id: str, now_ms: float, ms: int = 0, target: Target | None = None
    ) -> None:
        """Apply a change. `ms` is how long a gate opens, `target` what for; None is for any.

        `IllegalChangeError` if a phone approves itself while its owner's denial holds.
        """
        before, effect = self.of(device_id), TABLE[change]
        if change is Change.APPROVED_BY_PHONE and self.refused_for_s(device_id, now_ms) > 0:
            raise IllegalChangeError("a denial holds")
        opened = Gate(now_ms + ms, target, now_ms)
        after = Permission(
            _gate(before.arming, effect.arming, opened),
            _gate(before.approval, effect.approval, opened),
            _prompts(before.prompts, effect.prompts, now_ms),
        )
        if after == _NONE:
            self._of.pop(device_id, None)
        else:
            self._of[device_id] = after

    def close_all(self) -> None:
        """Close both gates of every device."""
        for device_id in list(self._of):
            self.apply(Change.CLOSED, device_id, now_ms=0.0)  # closing has no time

    def close_wanted_since(self, since_ms: float) -> None:
        """Close each gate that a person wanted open since then."""
        for device_id, (arming, approval, _) in list(self._of.items()):
            if arming.wanted_ms >= since_ms:
                self.apply(Change.DISARMED, device_id, since_ms)
            if approval.wanted_ms >= since_ms:
                self.apply(Change.APPROVAL_USED, device_id, since_ms)

    def were_wanted_since(self, device_id: str, since_ms: float) -> bool:
        """Return whether a person armed or approved the device since then, and that was not closed since."""
        arming, approval, _ = self.of(device_id)
        return max(arming.wanted_ms, approval.wanted_ms) >= since_ms

    def armed(self, now_ms: float) -> dict[str, float]:
        """Return which devices are armed, and until when in milliseconds."""
        return _open({device_id: of.arming for device_id, of in self._of.items()}, now_ms)

    def approved(self, now_ms: float) -> dict[str, float]:
        """Return which devices are approved, and until when in milliseconds."""
        return _open({device_id: of.approval for device_id, of in self._of.items()}, now_ms)

    def refused_for_s(self, device_id: str, now_ms: float) -> float:
        """Return the seconds for which the owner's denial still holds; 0 or less if it does not."""
        return (self.of(device_id).prompts.refused_until_ms - now_ms) / 1000.0

    def paused_for_s(self, device_id: str, now_ms: float) -> float:
        """Return the seconds for which an ignored prompt does not come back; 0 or less if it may."""
        return (self.of(device_id).prompts.paused_until_ms - now_ms) / 1000.0


def _open(gates: dict[str, Gate], now_ms: float) -> dict[str, float]:
    return {device_id: gate.until_ms or 0.0 for device_id, gate in gates.items() if gate.is_open(now_ms)}


def _gate(before: Gate, to: To, opened: Gate) -> Gate:
    match to:
        case To.OPEN:
            return opened
        case To.CLOSE:
            return Gate()
        case To.WANT:
            return before._replace(wanted_ms=opened.wanted_ms)
    return before


def _prompts(before: Prompts, then: Then, now_ms: float) -> Prompts:
    counted = before._replace(in_a_row=before.in_a_row + 1)
    match then:
        case Then.REFUSE:
            return counted._replace(refused_until_ms=_after_pause(counted, now_ms))
        case Then.REFUSE_UNLESS_REFUSED if now_ms >= before.refused_until_ms:
            return before._replace(refused_until_ms=_after_pause(before, now_ms))
        case Then.PAUSE:
            return counted._replace(paused_until_ms=_after_pause(counted, now_ms))
        case Then.PAUSE_IF_MANY if before.put_away < PUT_AWAY_MOST:
            return before._replace(put_away=before.put_away + 1)
        case Then.PAUSE_IF_MANY:
            return _prompts(before, Then.PAUSE, now_ms)
        case Then.FORGET:
            return Prompts()
    return before


def _after_pause(prompts: Prompts, now_ms: float) -> float:
    """Return when the owner may be prompted again, in milliseconds: twice as long after each in a row."""
    doubled = AFTER_DENIAL_S * 2.0 ** min(max(prompts.in_a_row - 1, 0), 20)
    return now_ms + min(doubled, AFTER_DENIALS_S) * 1000.0
