"""Which genuine registrations are refused, and the words for the phone and for the owner.

A phone keeps its id for good. Each of its tries is refused alike, so a refusal
costs no attempt, and both people learn the reason.
"""

from __future__ import annotations

from typing import NamedTuple

from novakey.devices.store import BY_ID, DeviceStore
from novakey.log.format import escape
from novakey.system.paste import command
from novakey.wire.pair import ID_RULE, Refusal, valid_device_id


class RefusedPhone(NamedTuple):
    """A phone that may not pair: where it is, the line for it, and the sentence for the owner."""

    peer: str
    line: Refusal
    why: str
    device_id: str = ""


class RefusedPhoneError(Exception):
    """A genuine register that is refused."""

    def __init__(self, refused: RefusedPhone) -> None:
        super().__init__(refused.why)
        self.refused = refused


def elsewhere(peer: str) -> RefusedPhone:
    """Return the refusal of a phone that is in no network that this computer is directly attached to."""
    line = Refusal(
        "other_network", "pair in the computer's own network: this phone reaches it through another"
    )
    return RefusedPhone(peer, line, "it is in no network of this computer. see pair_from")


def of(device_id: str, devices: DeviceStore, may_replace: bool, peer: str) -> RefusedPhone | None:
    """Return why a phone of this id may not pair; None where it may."""
    shown = escape(device_id)
    if devices.get(device_id) is not None:
        if may_replace:
            return None
        line = Refusal(
            "known_device", "this phone is paired here already: revoke it on the computer, then scan again"
        )
        revoking = command("novakey.py", "devices", "revoke", foreign=BY_ID + device_id)
        return RefusedPhone(
            peer, line, f"{shown} is paired already. to let it pair again: {revoking}", device_id
        )
    if not valid_device_id(device_id):
        line = Refusal("bad_device_id", f"the device id {ID_RULE}")
        return RefusedPhone(peer, line, f"the device id {shown} {ID_RULE}", device_id)
    other = devices.clash(device_id, device_id)
    if other is not None:
        line = Refusal("name_taken", "this phone's id could be mistaken for that of another phone")
        taken = escape(other.name or other.id)
        revoking = command("novakey.py", "devices", "revoke", foreign=BY_ID + other.id)
        return RefusedPhone(
            peer, line, f"{shown} could be mistaken for {taken}. to forget that one: {revoking}", device_id
        )
    return None
