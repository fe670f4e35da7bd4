"""The reference phone against a daemon that goes away."""

from __future__ import annotations

import socket
import time

import gevent
import pytest

from novakey import phone
from novakey.net.stream import EndOfStreamError, Stream
from novakey.secret import Secret
from novakey.wire import crypto
from novakey.wire.pair import Registration, ServerKey
from novakey.wire.uri import PairingUri


def test_a_connection_that_is_reset_behind_the_registration_is_no_acknowledgement() -> None:
    server = crypto.ExpandedKey.generate()
    expires = int(time.time()) + 60
    target = PairingUri("127.0.0.1", 1, Secret(bytes(16)), crypto.fingerprint(server.public), expires)
    ours, theirs = socket.socketpair()

    def daemon() -> None:
        with theirs:
            theirs.recv(65536)
            theirs.sendall(ServerKey(server.public, expires).encode())
            theirs.recv(65536)

    with ours, socket.socket() as gone:  # as after a reset: shutdown(2) says ENOTCONN
        answering = gevent.spawn(daemon)
        stream = Stream(ours)
        stream.set_deadline(10)
        with pytest.raises(EndOfStreamError):
            phone._pair(stream, target, Registration("phone-1", Secret(bytes(32))), gone)
        answering.join(10)
