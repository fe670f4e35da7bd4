"""The one line that answers every message."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

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

    @property
    def status(self) -> int:
        """The number on the wire."""
        return self.value[0]

    @property
    def reason(self) -> str:
        """The name on the wire; with the status it is unique."""
        return self.value[1]

    @property
    def success(self) -> bool:
        """Whether a phone shows it as a success."""
        return self.status in (0x00, 0x09)


def stage(message_type: MessageType | None) -> str:
    """The stage's name: `msg` until the type is known."""
    return "msg" if message_type is None else message_type.name.lower()


@dataclass(frozen=True)
class Reply:
    """What a phone is told. `msg` is for people; `req_id` is the log's request id."""

    outcome: Outcome
    stage: str
    msg: str
    ts_unix: int
    req_id: int

    def encode(self) -> bytes:
        """The line, with its line end."""
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


def decode(line: bytes) -> Reply:
    """The phone's side; `Malformed` when it is not a reply of version 1."""
    members = jsonline.decode(line)
    row = (jsonline.integer(members, "status"), jsonline.string(members, "reason"))
    try:
        outcome = Outcome(row)
    except ValueError:
        raise Malformed("a reply that is not in the table") from None
    if jsonline.integer(members, "v") != 1:
        raise Malformed("not a reply of version 1")
    return Reply(
        outcome,
        jsonline.string(members, "stage"),
        jsonline.string(members, "msg"),
        jsonline.integer(members, "ts_unix"),
        jsonline.integer(members, "req_id"),
    )
