"""The Wayland wire against a socket that misbehaves, and its messages byte for byte."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from support.x11 import wait_until

from novakey.desktop.base import DesktopError
from novakey.desktop.wayland.session import within
from novakey.desktop.wayland.wire import Connection, ProtocolError, socket_path


def message(target: int, opcode: int, body: bytes = b"") -> bytes:
    return struct.pack("=II", target, (len(body) + 8) << 16 | opcode) + body


def text(value: str) -> bytes:
    data = value.encode() + b"\0"
    return struct.pack("=I", len(data)) + data + bytes(-len(data) % 4)


GLOBAL = message(2, 0, struct.pack("=I", 7) + text("wl_seat") + struct.pack("=I", 5))
DONE = message(3, 0, bytes(4)) + message(1, 1, struct.pack("=I", 3))


@pytest.fixture
def compositor(tmp_path: Path) -> Iterator[Callable[[bytes], Path]]:
    """Answers its only client with the given bytes, then hangs up."""
    path = tmp_path / "s"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    served = []

    def start(answer: bytes, cut: int = 1 << 16, files: tuple[int, ...] = ()) -> Path:
        def serve() -> None:
            with listener.accept()[0] as client:
                client.recv(4096)
                if not answer:
                    return
                for at in range(0, len(answer), cut):
                    if files and at == 0:
                        socket.send_fds(client, [answer[:cut]], files)
                    else:
                        client.sendall(answer[at : at + cut])
                client.recv(4096)

        served.append(gevent.spawn(serve))
        return path

    yield start
    gevent.killall(served)
    listener.close()


@pytest.mark.parametrize("cut", [1, 3, 8, 4096])
def test_the_globals_are_read_however_the_socket_cuts_them(compositor: Callable[..., Path], cut: int) -> None:
    with within(5), Connection(compositor(GLOBAL + DONE, cut)) as connection:
        assert connection.globals == {"wl_seat": (7, 5)}
        assert connection.peer_pid == os.getpid()


def test_a_request_is_laid_out_as_the_protocol_says(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        got = []

        def serve() -> None:
            with listener.accept()[0] as client:
                got.append(client.recv(4096))
                client.sendall(GLOBAL + DONE)
                got.append(client.recv(4096))

        server = gevent.spawn(serve)
        with within(5), Connection(path) as connection:
            connection.bind("wl_seat", 1, (), lambda opcode, values: None)
            connection.flush()
            server.join(5)
    assert got[0] == message(1, 1, struct.pack("=I", 2)) + message(1, 0, struct.pack("=I", 3))
    assert got[1] == message(2, 0, struct.pack("=I", 7) + text("wl_seat") + struct.pack("=II", 1, 4))


@pytest.mark.parametrize(
    "answer",
    [
        *(b"", message(1, 9), struct.pack("=II", 1, 0), struct.pack("=II", 2, 3 << 16)),
        *(message(2, 0, b"\1"), message(2, 0, struct.pack("=II", 7, 1 << 31))),
    ],
)
def test_nonsense_is_an_error_of_the_session(compositor: Callable[[bytes], Path], answer: bytes) -> None:
    with pytest.raises(DesktopError, match="cannot be reached"), within(5):
        Connection(compositor(answer))


def test_a_refusal_names_the_interface_and_not_what_was_sent(compositor: Callable[[bytes], Path]) -> None:
    refusal = message(1, 0, struct.pack("=II", 2, 5) + text("secret"))
    with pytest.raises(ProtocolError) as caught:
        Connection(compositor(refusal))
    assert str(caught.value) == "wl_registry: error 5"


def test_a_compositor_that_says_nothing_ends_at_the_deadline(compositor: Callable[[bytes], Path]) -> None:
    path = compositor(GLOBAL)  # never done
    with pytest.raises(DesktopError, match="did not answer in time"), within(0.3):
        Connection(path)


def test_closing_gives_back_files_that_nobody_took(compositor: Callable[..., Path]) -> None:
    reading, writing = os.pipe()
    try:
        with within(5), Connection(compositor(GLOBAL + DONE, files=(writing,))):
            os.close(writing)
            writing = -1
        os.set_blocking(reading, False)

        def ended() -> bool:
            try:
                return os.read(reading, 1) == b""
            except BlockingIOError:
                return False

        wait_until(ended, "closing the other end", 5)  # the hub closes files in its next round
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)


@pytest.mark.parametrize(
    ("env", "path"),
    [
        ({}, None),
        ({"WAYLAND_DISPLAY": "wayland-0"}, None),
        ({"WAYLAND_DISPLAY": "wayland-0", "XDG_RUNTIME_DIR": "/run/user/1"}, "/run/user/1/wayland-0"),
        ({"WAYLAND_DISPLAY": "/tmp/w"}, "/tmp/w"),
    ],
)
def test_where_the_compositor_listens(env: dict[str, str], path: str | None) -> None:
    assert socket_path(env) == (None if path is None else Path(path))
