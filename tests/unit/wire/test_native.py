"""Native messaging, as bytes: the frames of an extension, and all that is none."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from novakey.secret import Secret
from novakey.wire import Malformed, native
from novakey.wire.native import MAX_FRAME, MAX_MESSAGE, BadMessage, Message

BAD = {
    "type": b'{"type":"ask","id":"1"}',
    "no type": b'{"id":"1"}',
    "a member too many": b'{"type":"cancel","id":"1","x":1}',
    "a member too few": b'{"type":"request","id":"1"}',
    "an origin that is a number": b'{"type":"request","id":"1","origin":1}',
    "an origin that is a list": b'{"type":"request","id":"1","origin":["https://example.org"]}',
    "a long origin": b'{"type":"request","id":"1","origin":"' + b"a" * 2000 + b'"}',
    "a long outcome": b'{"type":"outcome","id":"1","outcome":"' + b"a" * 65 + b'"}',
    "a nested outcome": b'{"type":"outcome","id":"1","outcome":{"outcome":"filled"}}',
    "a type that is a list": b'{"type":["request"],"id":"1","origin":"https://example.org"}',
}
UNREADABLE = {
    "no JSON": b"hello",
    "no object": b"[1]",
    "two objects": b"{}{}",
    "not UTF-8": b'{"type":"cancel","id":"\xff"}',
    "no id": b'{"type":"cancel"}',
    "an empty id": b'{"type":"cancel","id":""}',
    "a long id": b'{"type":"cancel","id":"' + b"a" * 65 + b'"}',
    "a strange id": b'{"type":"cancel","id":"a b"}',
    "an id of other letters": '{"type":"cancel","id":"\u0430"}'.encode(),
    "an id with a line end": b'{"type":"cancel","id":"a\\n"}',
    "a number for an id": b'{"type":"cancel","id":1}',
    "a member twice": b'{"type":"cancel","id":"1","id":"1"}',
    "deep": b'{"a":' * 50_000,
    "NaN": b'{"type":"cancel","id":NaN}',
}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            b'{"type":"request","id":"a-1","origin":"https://example.org"}',
            Message("request", "a-1", "https://example.org"),
        ),
        (b'{"id":"A","type":"cancel"}', Message("cancel", "A")),
        (
            b'{"type":"outcome","id":"' + b"a" * 64 + b'","outcome":"filled"}',
            Message("outcome", "a" * 64, "filled"),
        ),
    ],
)
def test_a_message_of_the_extension_is_these_bytes(data: bytes, message: Message) -> None:
    assert native.decode(data) == message


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_a_wrong_message_is_told_with_its_id(data: bytes) -> None:
    with pytest.raises(BadMessage) as caught:
        native.decode(data)
    assert caught.value.message_id == "1"


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE)
def test_what_has_no_id_is_no_message(data: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        native.decode(data)
    assert not isinstance(caught.value, BadMessage)


def test_a_frame_has_one_byte_to_one_mebibyte() -> None:
    assert (
        native.length(struct.pack("=I", 1)) == 1 and native.length(struct.pack("=I", MAX_FRAME)) == MAX_FRAME
    )
    for count in (0, MAX_FRAME + 1, 0xFFFFFFFF):
        with pytest.raises(Malformed):
            native.length(struct.pack("=I", count))


def unframed(frame: bytes) -> object:
    (count,) = struct.unpack("=I", frame[:4])
    assert count == len(frame) - 4
    return json.loads(frame[4:].decode())


def test_the_end_is_told_in_at_most_as_many_characters_as_are_shown() -> None:
    said = unframed(native.ended("1", "denied", "x" * 1000))
    assert said == {"type": "ended", "id": "1", "reason": "denied", "message": "x" * MAX_MESSAGE}


@given(st.text(max_size=300))
def test_any_secret_arrives_as_it_is(text: str) -> None:
    try:
        secret = Secret(text.encode())
    except UnicodeEncodeError:
        return  # a lone surrogate is no text of a phone
    frame = native.fill("1", secret)
    assert unframed(frame.reveal()) == {"type": "fill", "id": "1", "secret": text}
    assert secret == Secret(text.encode()), "the caller wipes it"


def test_each_byte_below_a_space_is_escaped() -> None:
    text = "".join(map(chr, range(128)))
    frame = native.fill("1", Secret(text.encode())).reveal()
    assert unframed(frame) == {"type": "fill", "id": "1", "secret": text}
    assert all(octet >= 0x20 for octet in frame[4:])


@given(st.binary(max_size=200))
def test_random_bytes_are_no_message(data: bytes) -> None:
    with pytest.raises(Malformed):
        native.decode(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["type", "id", "origin", "outcome", "secret", ""])
VALUES = JSON | st.sampled_from(["request", "cancel", "outcome", "fill", "1", "https://example.org"])


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_of_any_objects_only_the_three_messages_are_taken(members: dict[str, object]) -> None:
    try:
        message = native.decode(json.dumps(members).encode())
    except Malformed:
        return
    wanted = {"request": {"origin"}, "cancel": set(), "outcome": {"outcome"}}[message.type]
    assert set(members) == {"type", "id"} | wanted
    assert all(isinstance(value, str) for value in members.values())
