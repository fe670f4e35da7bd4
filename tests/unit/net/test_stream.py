"""A secret that went through a connection, or did not, can be wiped."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from novakey.net.stream import DeadlineError, EndOfStreamError, Stream
from novakey.secret import Secret

SENT = b"correct horse battery staple" * 9000  # more than a socket holds


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_peer_that_hangs_up_at_the_hand_over_keeps_no_view_of_it(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    secret, stream = Secret(SENT), Stream(ends[0])
    stream.set_deadline(10)
    ends[1].close()
    with pytest.raises(EndOfStreamError) as failed, secret.view() as view:
        stream.send(view)
    secret.wipe()  # with the error, and so its frames, alive
    assert failed.value is not None and len(secret) == 0


def test_a_peer_that_does_not_read_keeps_no_view_of_it(ends: tuple[socket.socket, socket.socket]) -> None:
    secret, stream = Secret(SENT), Stream(ends[0])
    stream.set_deadline(0.1)
    with pytest.raises(DeadlineError) as failed, secret.view() as view:
        stream.send(view)
    secret.wipe()
    assert failed.value is not None and len(secret) == 0


def test_a_secret_arrives_in_parts_after_the_line_before_it(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    stream = Stream(ends[0])
    stream.set_deadline(10)
    ends[1].sendall(b"line\npart")
    assert stream.line(100) == b"line\n"
    ends[1].sendall(b" and rest, more")
    assert stream.secret(13).reveal() == b"part and rest"
    ends[1].close()
    with pytest.raises(EndOfStreamError):
        stream.secret(10)
