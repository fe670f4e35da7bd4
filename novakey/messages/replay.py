"""Freshness and replay: a nonce is accepted once for as long as its timestamp could be fresh."""

from __future__ import annotations

import heapq

MAX_AGE_S = 300
MAX_AHEAD_S = 120


def fresh(timestamp: int, now: int) -> bool:
    """Whether a message's timestamp (unsigned, unix seconds) is neither stale nor ahead.

    Python's integers do not wrap, so 2**63 is the far future here too.
    """
    return now - MAX_AGE_S <= timestamp <= now + MAX_AHEAD_S


class ReplayGuard:
    """The nonces of accepted messages, for each device, until they are stale anyway.

    A nonce is forgotten when its timestamp is too old, and the newest forgotten
    timestamp is kept: were the clock set back, what was forgotten would look
    fresh again, so nothing at or below it is taken any more.
    """

    def __init__(self) -> None:
        self._seen: set[tuple[str, bytes]] = set()
        self._order: list[tuple[int, str, bytes]] = []
        self._forgotten = -1

    def __len__(self) -> int:
        return len(self._seen)

    def seen(self, device_id: str, nonce: bytes, timestamp: int) -> bool:
        """Whether the message was accepted before, or may have been."""
        return (device_id, nonce) in self._seen or timestamp <= self._forgotten

    def accept(self, device_id: str, nonce: bytes, timestamp: int, now: int) -> None:
        """Remember an accepted message; forget those that can no longer be fresh."""
        self._seen.add((device_id, nonce))
        heapq.heappush(self._order, (timestamp, device_id, nonce))
        while self._order and self._order[0][0] < now - MAX_AGE_S:
            stale, stale_id, stale_nonce = heapq.heappop(self._order)
            self._seen.discard((stale_id, stale_nonce))
            self._forgotten = max(self._forgotten, stale)
