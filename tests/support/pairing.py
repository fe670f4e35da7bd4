"""The steps of a pairing one by one, for tests that stop in between."""

from __future__ import annotations

import json
import secrets
import socket
import time
from typing import Any

from support.daemon import Daemon, read_all

from novakey.secret import Secret
from novakey.wire import pair, preface

PAIR = preface.Route.PAIR.value


def hello(daemon: Daemon, token: Secret | bytes, source: str = "127.0.0.1") -> dict[str, Any]:
    """Return the daemon's answer to a hello, or to a line of bytes; the connection is closed then."""
    line = token if isinstance(token, bytes) else pair.encode_hello(token)
    with daemon.connect(source) as sock:
        sock.sendall(PAIR + line)
        received = b""
        while not received.endswith(b"\n") and (piece := sock.recv(4096)):
            received += piece
    answer: dict[str, Any] = json.loads(received)
    return answer


def begin(daemon: Daemon, token: Secret, source: str = "127.0.0.1") -> tuple[socket.socket, bytes]:
    """Return a handshake that has got its server key: the open socket and the public key."""
    sock = daemon.connect(source)
    sock.sendall(PAIR + pair.encode_hello(token))
    received = b""
    while not received.endswith(b"\n"):
        piece = sock.recv(4096)
        assert piece, "closed without an answer"
        received += piece
    answer = pair.decode_server_line(received)
    assert isinstance(answer, pair.ServerKey), answer
    return sock, answer.public


def register(sock: socket.socket, public: bytes, token: Secret, registration: pair.Registration) -> bytes:
    """Send the register; what comes back until the daemon closes."""
    frame, ciphertext, key = pair.seal_registration(registration, public, token, secrets.token_bytes(24))
    sock.sendall(frame)
    with sock:
        received = read_all(sock)
    if not received:
        return b""
    return pair.decode_acknowledgement(received, ciphertext, key).encode()


def dropped(daemon: Daemon, token: Secret, count: int) -> None:
    """So many handshakes that the phone drops, each seen by the daemon before the next."""
    already = daemon.log().count("pair failed")
    for number in range(1, count + 1):
        begin(daemon, token)[0].close()
        deadline = time.monotonic() + 10
        while daemon.log().count("pair failed") < already + number:
            assert time.monotonic() < deadline, daemon.log()
            time.sleep(0.01)
