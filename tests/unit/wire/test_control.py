"""The owner's protocol, as bytes: one encoding, and everything else refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from novakey.wire import Malformed, control
from novakey.wire.control import Done, Event, OtherVersion, Refused, Request


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        (b'{"v":2,"op":"status","args":{}}\n', Request("status")),
        (
            b'{"v":2,"op":"arm","args":{"device":"phone-1","ms":5000}}\n',
            Request("arm", {"device": "phone-1", "ms": 5000}),
        ),
        (b'{"v":2,"op":"pair","args":{"add":true}}\n', Request("pair", {"add": True})),
    ],
)
def test_a_request_is_these_bytes(line: bytes, request_: Request) -> None:
    assert request_.encode() == line
    assert control.decode_request(line) == request_


@pytest.mark.parametrize(
    ("line", "object_"),
    [
        (b'{"v":2,"event":{"name":"attempt","attempts_left":2}}\n', Event("attempt", {"attempts_left": 2})),
        (b'{"v":2,"ok":{"denied":[]}}\n', Done({"denied": []})),
        (b'{"v":2,"refused":{"problem":"no","cure":""}}\n', Refused("no")),
    ],
)
def test_what_the_daemon_says_is_these_bytes(line: bytes, object_: Event | Done | Refused) -> None:
    assert object_.encode() == line
    assert control.decode_line(line) == object_


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"[]\n",
        b"status\n",
        b'{"v":2,"op":"status"}\n',
        b'{"v":2,"op":"status","args":[]}\n',
        b'{"v":2,"op":"status","args":{},"more":1}\n',
        b'{"v":2,"op":"status","args":{"x":1}}\n',
        b'{"v":2,"op":"shutdown","args":{}}\n',
        b'{"v":2,"op":1,"args":{}}\n',
        b'{"v":true,"op":"status","args":{}}\n',
        b'{"op":"status","args":{}}\n',
        b'{"v":2,"v":2,"op":"status","args":{}}\n',
        b'{"v":2,"op":"arm","args":{"ms":true}}\n',
        b'{"v":2,"op":"arm","args":{"ms":1.0}}\n',
        b'{"v":2,"op":"arm","args":{"ms":"1"}}\n',
        b'{"v":2,"op":"arm","args":{"device":null}}\n',
        b'{"v":2,"op":"pair","args":{"add":1}}\n',
        b'{"v":2,"op":"rename","args":{"device":"a"}}\n',
        b'{"v":2,"op":"revoke","args":{}}\n',
        b'{"v":2,"op":"revoke","args":{"device":"\xff"}}\n',
    ],
)
def test_every_other_request_is_malformed(line: bytes) -> None:
    with pytest.raises(Malformed):
        control.decode_request(line)


@pytest.mark.parametrize(
    "line",
    [
        b'{"v":2}\n',
        b'{"v":2,"ok":[]}\n',
        b'{"v":2,"ok":{},"event":{"name":"x"}}\n',
        b'{"v":2,"event":{}}\n',
        b'{"v":2,"event":{"name":1}}\n',
        b'{"v":2,"refused":{"problem":"x"}}\n',
        b'{"v":2,"refused":{"problem":1,"cure":""}}\n',
    ],
)
def test_every_other_line_of_the_daemon_is_malformed(line: bytes) -> None:
    with pytest.raises(Malformed):
        control.decode_line(line)


def test_another_version_is_told_apart() -> None:
    for decode, line in (
        (control.decode_request, b'{"v":1,"op":"status","args":{}}\n'),
        (control.decode_line, b'{"v":1,"ok":{}}\n'),
    ):
        with pytest.raises(OtherVersion):
            decode(line)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for decode in (control.decode_request, control.decode_line):
        try:
            decode(data)
        except Malformed:
            pass


@given(st.sampled_from(sorted(control.OPERATIONS)), st.data())
def test_what_is_accepted_encodes_to_the_same_bytes(op: str, data: st.DataObject) -> None:
    values = {str: st.text(st.characters(exclude_categories=["Cs"])), int: st.integers(), bool: st.booleans()}
    known = control.OPERATIONS[op]
    arguments = {name: data.draw(values[kind]) for name, kind in known.arguments.items()}
    line = Request(op, arguments).encode()
    assert control.decode_request(line).encode() == line
    assert json.loads(line)["op"] == op


def test_the_longest_request_that_a_person_can_want_fits() -> None:
    worst = Request("rename", {"device": "\x01" * 255, "name": "\U0001f511" * 64})
    assert len(worst.encode()) <= control.MAX_REQUEST
