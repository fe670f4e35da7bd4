"""Freshness and replay: a nonce is accepted once for as long as its timestamp could be fresh."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from enum import Enum, auto
from typing import Generic, Protocol, TypeVar

MAX_AGE_S = 300
MAX_AHEAD_S = 120
MANY_DAYS = 1000  # a clock that was never set
MAX_REPEATS = 4096
KEY_SIZE = 12  # 96 bits: too many to find a message that another one stands for

Answer = TypeVar("Answer")


def fresh(timestamp: int, now: int) -> bool:
    """Whether a message's timestamp (unsigned, unix seconds) is neither stale nor ahead.

    Python's integers do not wrap, so 2**63 is the far future here too.
    """
    return now - MAX_AGE_S <= timestamp <= now + MAX_AHEAD_S


def clock_difference(timestamp: int, now: int) -> str:
    """Say whose clock is ahead and by how much, for a person."""
    amount = _in_words(abs(timestamp - now))
    if timestamp > now:
        return f"the phone's clock is {amount} ahead of this computer's"
    return f"this computer's clock is {amount} ahead of the phone's, or the message is old"


def _in_words(seconds: int) -> str:
    """Return a duration in the largest unit of which it has two."""
    if seconds > MANY_DAYS * 86400:
        return "years"
    units = (("days", 86400), ("h", 3600), ("min", 60), ("s", 1))
    name, size = next((unit for unit in units if seconds >= 2 * unit[1]), units[-1])
    return f"{seconds // size} {name}"


def key_of(device_id: str, nonce: bytes) -> bytes:
    """Return the key of a device's nonce in the guard and in its ledger."""
    return hashlib.blake2b(nonce + device_id.encode(), digest_size=KEY_SIZE).digest()


class Repeats(Generic[Answer]):
    """The last frames that can never act again, each with its answer.

    A frame that is repeated exactly is answered before any cryptography, so it costs a digest. Its
    answer stays as it was: it does not say whether the phone is still paired.
    """

    def __init__(self) -> None:
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()

    def get(self, frame: bytes) -> Answer | None:
        """Return the answer to a frame that came before."""
        return self._answers.get(_digest(frame))

    def remember(self, frame: bytes, answer: Answer) -> None:
        """Keep the answer; the oldest is forgotten where there are many."""
        self._answers[_digest(frame)] = answer
        if len(self._answers) > MAX_REPEATS:
            self._answers.popitem(last=False)


def _digest(frame: bytes) -> bytes:
    return hashlib.blake2b(frame, digest_size=KEY_SIZE).digest()


class Verdict(Enum):
    """What the guard says of an authenticated message."""

    NEW = auto()
    SEEN = auto()  # accepted before
    NOT_FRESH = auto()  # too old or too far ahead
    FORGOTTEN = auto()  # from a time of which not everything is known: it may have been accepted before


class Writer(Protocol):
    """Where accepted messages are written before anything is done; see `messages.ledger`."""

    def append(self, key: bytes, timestamp: int, floor: int) -> None:
        """Write one down so that it outlives this process; `OSError` when that cannot be."""

    def close(self) -> None:
        """Write down that nothing is missing."""


class ReplayGuard:
    """The nonces of accepted messages until they are stale anyway.

    A nonce is forgotten when its timestamp is too old, and the newest forgotten
    timestamp is kept: were the clock set back, what was forgotten would look
    fresh again, so nothing at or below this `floor` is taken any more. Where a
    part of the past is not known, the floor begins above it.

    The work for one message does not grow with the number of them: nonces are
    kept in one bucket a second, and a bucket is forgotten whole.
    """

    def __init__(
        self, known: Iterable[tuple[bytes, int]] = (), floor: int = -1, writer: Writer | None = None
    ) -> None:
        self._seen: set[bytes] = set()
        self._by_second: dict[int, list[bytes]] = {}
        self._horizon = 0  # no bucket is older
        self.floor = floor
        self._writer = writer
        for key, timestamp in known:
            self._remember(key, timestamp)

    def __len__(self) -> int:
        return len(self._seen)

    def verdict(self, key: bytes, timestamp: int, now: int) -> Verdict:
        """Whether the message may be accepted; changes nothing."""
        if key in self._seen:
            return Verdict.SEEN
        if not fresh(timestamp, now):
            return Verdict.NOT_FRESH
        return Verdict.FORGOTTEN if timestamp <= self.floor else Verdict.NEW

    def accept(self, key: bytes, timestamp: int, now: int) -> None:
        """Remember an accepted message; forget those that can no longer be fresh.

        It is on disk when this returns. `OSError` when it cannot be written: then it was not accepted.
        """
        self._forget(now - MAX_AGE_S)
        if self._writer is not None:
            self._writer.append(key, timestamp, self.floor)
        self._remember(key, timestamp)

    def close(self) -> None:
        """Accept nothing after this: the next start may trust what was written."""
        if self._writer is not None:
            self._writer.close()

    def _remember(self, key: bytes, timestamp: int) -> None:
        self._seen.add(key)
        self._by_second.setdefault(timestamp, []).append(key)

    def _forget(self, horizon: int) -> None:
        if horizon <= self._horizon:
            return
        buckets = self._by_second
        if horizon - self._horizon > len(buckets):  # the first time, or after a long silence
            stale = [second for second in buckets if second < horizon]
        else:
            stale = [second for second in range(self._horizon, horizon) if second in buckets]
        for second in stale:
            self._seen.difference_update(buckets.pop(second))
            self.floor = max(self.floor, second)
        self._horizon = horizon
