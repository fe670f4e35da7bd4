"""The few connections that may be in pairing at once.

A connection that has not yet said the token gives way to a newer one, so that
no stranger keeps a phone out by opening connections and saying nothing. Who said it
stays until the handshake is over.
"""

from __future__ import annotations

from collections.abc import Callable


class PairingSlot:
    """One place; `settle` once the token was right, `leave` at the end."""

    def __init__(self, slots: PairingSlots, give_way: Callable[[], None]) -> None:
        self._slots = slots
        self.give_way = give_way
        self.settled = False

    def settle(self) -> None:
        """From now on it does not give way."""
        self.settled = True

    def leave(self) -> None:
        """Free the place; a second call has no effect."""
        taken = self._slots.taken
        if self in taken:
            taken.remove(self)


class PairingSlots:
    """At most `most` connections in pairing."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.taken: list[PairingSlot] = []  # the oldest first

    def take(self, give_way: Callable[[], None]) -> PairingSlot | None:
        """Return a place, at need that of the oldest without a token; None if all have said it.

        `give_way` is called when the place goes to another; it must not block.
        """
        if len(self.taken) >= self._most:
            oldest = next((slot for slot in self.taken if not slot.settled), None)
            if oldest is None:
                return None
            oldest.leave()
            oldest.give_way()
        slot = PairingSlot(self, give_way)
        self.taken.append(slot)
        return slot
