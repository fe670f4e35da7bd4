"""How many a minute: a sliding window for each device or address, in bounded memory."""

from __future__ import annotations

import functools
import ipaddress
from collections import OrderedDict, deque

WINDOW_S = 60.0
MAX_KEYS = 4096  # an attacker has many addresses; the least recently used are forgotten


class RateLimiter:
    """At most `limit` events a key within any `WINDOW_S` seconds. The clock is passed in."""

    def __init__(self, limit: int, max_keys: int = MAX_KEYS) -> None:
        self._limit = limit
        self._max_keys = max_keys
        self._events: OrderedDict[str, deque[float]] = OrderedDict()

    def full(self, key: str, now: float) -> bool:
        """Whether one more event would be over the limit; counts nothing."""
        events = self._events.get(key)
        if events is None:
            return self._limit <= 0
        while events and events[0] <= now - WINDOW_S:
            events.popleft()
        return len(events) >= self._limit

    def count(self, key: str, now: float) -> None:
        """Count an event. Never holds more than `limit` of a key: that many already refuse."""
        events = self._events.setdefault(key, deque(maxlen=max(1, self._limit)))
        events.append(now)
        self._events.move_to_end(key)
        while len(self._events) > self._max_keys:
            self._events.popitem(last=False)

    def allow(self, key: str, now: float) -> bool:
        """Count an event unless it is over the limit; whether it was counted."""
        if self.full(key, now):
            return False
        self.count(key, now)
        return True


@functools.lru_cache(maxsize=MAX_KEYS)  # under a flood this is asked thousands of times a second
def address_key(host: str) -> str:
    """Return the unit that counts as one address: an IPv4 address, mapped or not, or an IPv6 /64.

    A host on an IPv6 link may take any address of its /64 (RFC 4291, 2.5.1).
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
