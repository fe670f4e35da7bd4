"""What the pairing state is made of: what is remembered, the window, and the repeat that is still allowed.

Only values; everything that changes them is in `novakey.pairing.state`.
"""

from __future__ import annotations

from typing import NamedTuple

from novakey.secret import Secret

WAY_OUT = "only a full reset lifts this: novakey.py reset"  # of a lock


class Record(NamedTuple):
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
    """The sealing backend whose key seals the store; written before the first device is."""
    fallback: bool = False
    """`backend` is weaker than the configured one, which failed when nothing was stored yet."""
    device_stored: bool = False
    """A device was stored under `backend`: a weaker one is refused until a reset."""
    left_behind: str = ""
    """A weaker backend that may still hold a copy of the key that moved to `backend`."""


class PairingWindow(NamedTuple):
    """One chance to pair: a token, until when, and how many handshakes it may still see fail."""

    token: Secret
    expires: int
    attempts: int


class AckRetry(NamedTuple):
    """A registration whose acknowledgement may have been lost."""

    token: Secret
    until: int
    device_id: str
