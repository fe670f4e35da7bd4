r"""The owner's control protocol, version 2: one JSON object a line, over a local socket.

    owner    {"v":2,"op":"arm","args":{"device":"phone-1","ms":5000}}\n
    daemon   {"v":2,"event":{"name":…,…}}\n           any number, where the operation is live
    daemon   {"v":2,"ok":{…}}\n   or   {"v":2,"refused":{"problem":…,"cure":…}}\n

A connection carries one request. The answer, `ok` or `refused`, is its last
line. The answer of `ask` is {"following_bytes":N}, and the N bytes of the secret
follow that line as they are: as a text in JSON they would stay in memory. Both
ends are ours, so nothing is ignored: an operation or argument that is not in
`OPERATIONS`, or of another type, is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from novakey.wire import Malformed, jsonline

VERSION = 2
SOCKET_NAME = "control.sock"
FOLLOWING = "following_bytes"
MAX_REQUEST = 4096  # the longest is a rename: an id of 255 bytes and a name of 64, each escaped
MAX_LINE = 4 << 20  # a list of some thousand devices; from a daemon of the same user

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Operation(NamedTuple):
    """What one operation takes: its arguments' types, which of them it needs, whether events come.

    `asks_who` is for one whose meaning depends on the process that asks.
    """

    arguments: Mapping[str, type] = _NOTHING
    needs: frozenset[str] = frozenset()
    live: bool = False
    asks_who: bool = False


_DEVICE = {"device": str}

OPERATIONS: Mapping[str, Operation] = {
    "status": Operation(),
    "pair": Operation({"add": bool}, live=True),
    "devices": Operation(),
    "rename": Operation({**_DEVICE, "name": str}, frozenset({"device", "name"})),
    "revoke": Operation(_DEVICE, frozenset({"device"})),
    "arm": Operation({**_DEVICE, "ms": int}),
    "disarm": Operation(),
    "approve": Operation(_DEVICE),
    "deny": Operation(_DEVICE),
    "pause": Operation(),
    "resume": Operation(),
    "ask": Operation({"prompt": str, **_DEVICE}, frozenset({"prompt"}), live=True, asks_who=True),
    "log": Operation({"lines": int, "follow": bool}, live=True),
}


class OtherVersion(Malformed):
    """The other end speaks another version of this protocol."""


class Request(NamedTuple):
    """One operation with its arguments, which are as `OPERATIONS` says."""

    op: str
    arguments: Mapping[str, Any] = _NOTHING

    @property
    def live(self) -> bool:
        """Whether events may come before the answer."""
        return OPERATIONS[self.op].live

    def encode(self) -> bytes:
        """Return the line, with its line end."""
        return _line({"op": self.op, "args": dict(self.arguments)})


class Event(NamedTuple):
    """Something that happened while a live operation runs."""

    name: str
    members: Mapping[str, Any] = _NOTHING

    def encode(self) -> bytes:
        """Return the line, with its line end."""
        return _line({"event": {"name": self.name, **self.members}})


class Done(NamedTuple):
    """The operation was carried out; its result."""

    members: Mapping[str, Any] = _NOTHING

    def encode(self) -> bytes:
        """Return the line, with its line end."""
        return _line({"ok": dict(self.members)})


class Refused(NamedTuple):
    """It was not, and nothing was changed: why, and what the owner can do."""

    problem: str
    cure: str = ""

    def encode(self) -> bytes:
        """Return the line, with its line end."""
        return _line({"refused": {"problem": self.problem, "cure": self.cure}})


def decode_request(line: bytes) -> Request:
    """Decode on the daemon's side; `Malformed` names the fault, `OtherVersion` another protocol."""
    members = _members(line)
    if members.keys() != {"v", "op", "args"}:
        raise Malformed("a request has the members v, op and args")
    op, arguments = jsonline.string(members, "op"), members["args"]
    if op not in OPERATIONS:
        raise Malformed("there is no such operation")
    if not isinstance(arguments, dict):
        raise Malformed("args must be an object")
    known = OPERATIONS[op]
    for name, value in arguments.items():
        if name not in known.arguments or type(value) is not known.arguments[name]:
            raise Malformed(f"{op} takes no such argument, or not of this type")
    if not known.needs <= arguments.keys():
        raise Malformed(f"{op} lacks an argument")
    return Request(op, arguments)


def decode_line(line: bytes) -> Event | Done | Refused:
    """Decode on the owner's side; `Malformed` if it is no line of the daemon's."""
    members = _members(line)
    match members:
        case {"v": _, "event": dict(event)} if len(members) == 2:
            name = jsonline.string(event, "name")
            return Event(name, {key: value for key, value in event.items() if key != "name"})
        case {"v": _, "ok": dict(result)} if len(members) == 2:
            return Done(result)
        case {"v": _, "refused": {"problem": str(problem), "cure": str(cure)}} if len(members) == 2:
            return Refused(problem, cure)
    raise Malformed("not an event and not an answer")


def _line(members: Mapping[str, object]) -> bytes:
    return jsonline.encode({"v": VERSION, **members}) + b"\n"


def _members(line: bytes) -> dict[str, Any]:
    members = jsonline.decode(line)
    if jsonline.integer(members, "v") != VERSION:
        raise OtherVersion(f"not version {VERSION} of the control protocol")
    return members
