"""Native messaging: what a browser's extension and our host say to each other (docs/browser.md).

    4 bytes   the length, in the order of this machine
    N bytes   one JSON object, UTF-8

    extension   {"type":"request","id":ID,"origin":ORIGIN}
                {"type":"cancel","id":ID}
                {"type":"outcome","id":ID,"outcome":OUTCOME}
    host        {"type":"waiting","id":ID}
                {"type":"fill","id":ID,"secret":TEXT}
                {"type":"ended","id":ID,"reason":REASON,"message":TEXT}

A frame that cannot be read ends the connection, because nothing after it can be trusted. A message that is
wrong in itself is answered where its id is readable.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from novakey.secret import Secret
from novakey.wire import Malformed, jsonline

HEADER = struct.Struct("=I")
MAX_FRAME = 1 << 20  # both browsers refuse a longer one from a host
MAX_MESSAGE = 300  # characters that the extension shows

_ID_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-")
MAX_ID = 64
_MEMBERS = {
    "request": {"type", "id", "origin"},
    "cancel": {"type", "id"},
    "outcome": {"type", "id", "outcome"},
}
MAX_TEXT = 300  # an origin; the longest that is one
MAX_OUTCOME = 64
_LONGEST_ESCAPE = 6  # \u001f


class BadMessage(Malformed):
    """A frame that is a JSON object with an id, but no message of the extension."""

    def __init__(self, problem: str, message_id: str) -> None:
        super().__init__(problem)
        self.message_id = message_id


class Message(NamedTuple):
    """One message of the extension. `text` is its origin or its outcome."""

    type: str
    id: str
    text: str = ""


def length(header: bytes) -> int:
    """Return how many bytes follow; `Malformed` for a frame that is empty or too long."""
    (count,) = HEADER.unpack(header)
    if not 0 < count <= MAX_FRAME:
        raise Malformed(f"a frame of {count} bytes")
    return int(count)


def decode(data: bytes) -> Message:
    """Return the message of a frame; `BadMessage` where it has at least an id, else `Malformed`."""
    members = jsonline.decode(data)
    message_id = members.get("id")
    if not isinstance(message_id, str) or not 0 < len(message_id) <= MAX_ID:
        raise Malformed("a message without an id")
    if not _ID_CHARACTERS.issuperset(message_id):
        raise Malformed("a message without an id")
    kind = members.get("type")
    if not isinstance(kind, str) or members.keys() != _MEMBERS.get(kind):
        raise BadMessage("there is no such message", message_id)
    text = members.get("origin", members.get("outcome", ""))
    if not isinstance(text, str) or len(text) > (MAX_OUTCOME if kind == "outcome" else MAX_TEXT):
        raise BadMessage(f"a {kind} with a member that is no text, or too long", message_id)
    return Message(kind, message_id, text)


def frame(members: Mapping[str, Any]) -> bytes:
    """Return the frame of a message that holds no secret."""
    data = jsonline.encode(members)
    return HEADER.pack(len(data)) + data


def ended(message_id: str, reason: str, message: str) -> bytes:
    """Return the last frame about a request."""
    said = {"type": "ended", "id": message_id, "reason": reason, "message": message[:MAX_MESSAGE]}
    return frame(said)


def fill(message_id: str, secret: Secret) -> Secret:
    """Return the frame that holds the secret. It is one itself, and no other copy is made of it."""
    head = jsonline.encode({"type": "fill", "id": message_id, "secret": ""})[:-2]
    room = bytearray(HEADER.size + len(head) + len(secret) * _LONGEST_ESCAPE + 2)
    with memoryview(room) as view, secret.view() as octets:
        end = HEADER.size
        view[end : end + len(head)] = head
        end += len(head)
        for octet in octets:
            escaped = _ESCAPES[octet]
            view[end : end + len(escaped)] = escaped
            end += len(escaped)
        view[end : end + 2] = b'"}'
        end += 2
        view[: HEADER.size] = HEADER.pack(end - HEADER.size)
        with view[:end] as whole:
            made = Secret(whole)
        view[:] = bytes(len(view))
    return made


def _escape(octet: int) -> bytes:
    """Return one byte of UTF-8 as it stands in a text of JSON (RFC 8259, section 7)."""
    if octet < 0x20:
        return b"\\u%04x" % octet
    return b"\\" + bytes((octet,)) if octet in b'"\\' else bytes((octet,))


_ESCAPES = tuple(map(_escape, range(256)))
