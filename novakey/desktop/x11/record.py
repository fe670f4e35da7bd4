"""The bytes of the RECORD extension (RECORD Extension Protocol Specification): requests, and packets."""

from __future__ import annotations

import struct

from novakey.desktop.x11 import wire
from novakey.desktop.x11.wire import request

BEGINS, ENDS = 4, 5
_GENERIC_EVENT = 35
_ALL_CLIENTS = 3


def create_context(opcode: int, context: int) -> bytes:
    """Of the events that clients are given: one range, as servers heed only the first."""
    events = struct.pack("=16xBB6x", wire.KEY_PRESS, _GENERIC_EVENT)
    return request(opcode, 1, struct.pack("=IIIII", context, 0, 1, 1, _ALL_CLIENTS) + events)


def enable_context(opcode: int, context: int) -> bytes:
    return request(opcode, 5, struct.pack("=I", context))


def disable_context(opcode: int, context: int) -> bytes:
    return request(opcode, 6, struct.pack("=I", context))


def size(came: bytearray) -> int:
    """How long the packet is that these bytes begin with; 0 where it has not all come."""
    if len(came) < 32:
        return 0
    whole = 32 + (4 * int(struct.unpack_from("=I", came, 4)[0]) if came[0] == 1 else 0)
    return whole if len(came) >= whole else 0


def part(packet: bytes) -> tuple[int, int, bytes]:
    """Category, client (as the first number of its windows) and events; no events of any other packet."""
    if packet[0] != 1:
        return -1, 0, b""
    (client,) = struct.unpack_from("=I", packet, 12)
    return packet[1], client, packet[32:]


def keys(events: bytes) -> set[int]:
    """Return the keycodes in recorded events: of XInput 2 the first 32 bytes are recorded."""
    found = set()
    for at in range(0, len(events) - 31, 32):
        kind = events[at] & 0x7F
        if kind in (wire.KEY_PRESS, wire.KEY_RELEASE):
            found.add(events[at + 1])
        elif kind == _GENERIC_EVENT and struct.unpack_from("=H", events, at + 8)[0] in (
            wire.KEY_PRESS,
            wire.KEY_RELEASE,
        ):
            found.add(struct.unpack_from("=I", events, at + 16)[0])
    return found
