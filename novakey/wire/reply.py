"""The one line that answers every message."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from novakey.wire import Malformed, jsonline
from novakey.wire.message import MessageType


class Outcome(Enum):
    """A row of the reply table: the status number and the reason's name."""

    OK = (0x00, "ok")
    TYPED = (0x00, "typing_fallback")
    PASTED = (0x00, "clipboard_fallback")
    NOT_ARMED = (0x01, "not_armed")
    NEEDS_APPROVE = (0x02, "needs_approve")
    NOT_PAIRED = (0x03, "not_paired")
    BAD_REQUEST = (0x04, "bad_request")
    BAD_TIMESTAMP = (0x05, "bad_timestamp")
    REPLAY = (0x06, "replay")
    RATE_LIMIT = (0x07, "rate_limit")
    CRYPTO_FAIL = (0x08, "crypto_fail")
    COPIED = (0x09, "clipboard_fallback")
    COPIED_WAYLAND = (0x09, "inject_unavailable_wayland")
    INTERNAL_ERROR = (0x7F, "internal_error")

    def __init__(self, status: int, reason: str) -> None:
        """Hold number and name on the wire, together unique, and whether a phone shows a success."""
        self.status = status
        self.reason = reason
        self.success = status in (0x00, 0x09)


_STAGES: dict[MessageType | None, str] = {kind: kind.name.lower() for kind in MessageType} | {None: "msg"}


def stage(message_type: MessageType | None) -> str:
    """Return the stage's name: `msg` until the type is known."""
    return _STAGES[message_type]


class Reply(NamedTuple):
    """What a phone is told. `msg` is for people; `req_id` is the log's request id, below 2^53."""

    outcome: Outcome
    stage: str
    msg: str
    ts_unix: int
    req_id: int

    def encode(self) -> bytes:
        """Return the line, with its line end."""
        members = {
            "v": 1,
            "status": self.outcome.status,
            "stage": self.stage,
            "reason": self.outcome.reason,
            "msg": self.msg,
            "ts_unix": self.ts_unix,
            "req_id": self.req_id,
        }
        return jsonline.encode(members) + b"\n"


_ROWS = {(outcome.status, outcome.reason): outcome for outcome in Outcome}


def decode(line: bytes) -> Reply:
    """Decode on the phone's side; `Malformed` if it is no reply of version 1."""
    members = jsonline.decode(line)
    outcome = _ROWS.get((jsonline.integer(members, "status"), jsonline.string(members, "reason")))
    if outcome is None:
        raise Malformed("a reply that is not in the table")
    if jsonline.integer(members, "v") != 1:
        raise Malformed("not a reply of version 1")
    return Reply(
        outcome,
        jsonline.string(members, "stage"),
        jsonline.string(members, "msg"),
        jsonline.integer(members, "ts_unix"),
        jsonline.integer(members, "req_id"),
    )
