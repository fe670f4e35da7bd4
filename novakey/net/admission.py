"""Who may connect, and how many at once. No sockets; the clock is passed in.

Anybody on the network can open connections, and each costs a descriptor and
some memory until its deadline. One address gets a few, all together get a
bounded number, and some places are kept for the owner's phones: an address from
which a paired device was heard of late gets in while strangers fill the rest.
A phone may share its address, behind NAT for instance. There a connection that
has not brought a whole frame gives way to a newer one, the oldest first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from novakey.config.settings import Settings

RECENT_S = 7 * 24 * 3600.0  # a phone that is used on working days is still known on Monday


class ConnectionSlot:
    """One connection that was let in; `leave` when it is closed."""

    def __init__(self, admission: Admission, peer: str) -> None:
        self._admission = admission
        self.peer = peer
        self.trusted = False
        self.whole = False
        """Whether a whole frame came, so that it gives way to no other."""
        self.displaced = False
        self.give_way: Callable[[], None] = lambda: None
        """Ends the connection; must not block."""

    def authenticated(self, now: float) -> None:
        """Note that a paired device is at the other end, no stranger of its address."""
        self._admission.remember(self.peer, now)
        self.whole = True
        if not self.trusted:
            self.trusted = True
            if not self.displaced:
                self._admission.leave_unauthenticated(self)

    def displace(self) -> None:
        """Give the place to another connection."""
        self.leave()
        self.displaced = True
        self.give_way()

    def leave(self) -> None:
        """Give up the slot of a closed connection, unless it was displaced before."""
        if self.displaced:
            return
        self._admission.inside -= 1
        if not self.trusted:
            self._admission.leave_unauthenticated(self)


class Admission:
    """Counts the connections; decides about one more."""

    def __init__(self, limits: Settings, most: int | None = None) -> None:
        """`most` bounds the connections further, where the system has fewer descriptors."""
        self._limits = limits
        self._most = limits.max_connections if most is None else min(most, limits.max_connections)
        self.inside = 0
        self.unauthenticated: dict[str, list[ConnectionSlot]] = {}  # of each address, the oldest first
        self._last_seen: OrderedDict[str, float] = OrderedDict()

    def enter(self, peer: str, now: float) -> ConnectionSlot | None:
        """Let a connection from this address in; None when it must be closed."""
        unauthenticated, known = self.unauthenticated.get(peer, []), self.knows(peer, now)
        room = self._most - (0 if known else self._kept_back())
        if len(unauthenticated) >= self._limits.max_unauthenticated_per_address or self.inside >= room:
            silent = next((slot for slot in unauthenticated if not slot.whole), None)
            if not known or silent is None:
                return None
            silent.displace()
        self.inside += 1
        slot = ConnectionSlot(self, peer)
        self.unauthenticated.setdefault(peer, []).append(slot)
        return slot

    def remember(self, peer: str, now: float) -> None:
        """Note that a paired device was heard from this address."""
        self._last_seen[peer] = now
        self._last_seen.move_to_end(peer)
        # Only paired devices get in here, but one of them may roam through many addresses.
        while len(self._last_seen) > self._limits.max_tracked_addresses:
            self._last_seen.popitem(last=False)

    def knows(self, peer: str, now: float) -> bool:
        """Whether a paired device was heard from this address of late."""
        heard = self._last_seen.get(peer)
        return heard is not None and now - heard < RECENT_S

    def leave_unauthenticated(self, slot: ConnectionSlot) -> None:
        """Count one stranger less: a connection of this address was closed or authenticated."""
        unauthenticated = self.unauthenticated[slot.peer]
        unauthenticated.remove(slot)
        if not unauthenticated:
            del self.unauthenticated[slot.peer]  # or the table would grow with every address ever seen

    def _kept_back(self) -> int:
        return min(self._limits.reserved_connections, self._most - 1)
