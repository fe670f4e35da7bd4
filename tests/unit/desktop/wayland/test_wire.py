"""The Wayland wire against a socket that misbehaves, and its messages byte for byte."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import gevent
import pytest
from support.x11 import others_run, wait_until

from novakey.desktop.base import DesktopError
from novakey.desktop.remote.seat import read_keymap
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


def test_closing_gives_back_files_that_were_not_taken(compositor: Callable[..., Path]) -> None:
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


def open_files() -> int:
    gevent.sleep(0.01)  # the loop closes them in its next rounds
    return len(list(Path("/proc/self/fd").iterdir()))


HOSTILE = {
    "a file that does not come": message(2, 0, b"") + message(3, 0, bytes(4)),
    "a text that ends too early": message(2, 0, struct.pack("=III", 7, 1 << 20, 0)),
    "globals without end": b"".join(
        message(2, 0, struct.pack("=I", number) + text(f"x{number}") + struct.pack("=I", 1))
        for number in range(2000)
    ),
}


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_compositor_is_an_error_of_the_session(
    compositor: Callable[[bytes], Path], answer: bytes
) -> None:
    with pytest.raises(DesktopError, match="cannot be reached"), within(5):
        Connection(compositor(answer))


def test_files_without_an_event_are_an_error_before_they_use_up_our_descriptors(tmp_path: Path) -> None:
    path, before = tmp_path / "s", open_files()
    with socket.socket(socket.AF_UNIX) as listener, open(os.devnull, "rb") as null:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            with listener.accept()[0] as client, suppress(OSError):
                for _ in range(200):
                    socket.send_fds(client, [message(9, 0)], [null.fileno()] * 20)

        server = gevent.spawn(serve)
        with pytest.raises(DesktopError, match="files that belong to no event"), within(5):
            Connection(path)
        server.join(5)
    assert open_files() <= before


def test_an_event_with_a_file_that_has_none_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            with listener.accept()[0] as client:
                client.recv(4096)
                client.sendall(GLOBAL + DONE)
                client.recv(4096)
                client.sendall(message(4, 0, struct.pack("=II", 1, 9)))
                client.recv(4096)

        server = gevent.spawn(serve)
        with within(5), Connection(path) as connection:
            connection.bind("wl_seat", 1, ("uhu",), lambda opcode, values: None)
            connection.flush()
            with pytest.raises(ValueError, match="without its file"):
                connection.dispatch()
        server.join(5)


def test_a_compositor_makes_no_object_with_a_number_of_ours_and_not_without_end(
    compositor: Callable[[bytes], Path],
) -> None:
    with within(5), Connection(compositor(GLOBAL + DONE)) as connection:
        with pytest.raises(ValueError, match="number of ours"):
            connection.adopt(2, "wl_registry", (), lambda opcode, values: None)
        with pytest.raises(ValueError, match="too many"):
            for number in range(1 << 17):
                connection.adopt(0xFF000000 + number, "data offer", (), lambda opcode, values: None)


def test_a_flood_of_events_ends_at_the_deadline_and_keeps_no_one_waiting(tmp_path: Path) -> None:
    path = tmp_path / "s"
    script = (
        "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\ns.listen()\n"
        "print(flush=True)\nclient = s.accept()[0]\nflood = bytes.fromhex(sys.argv[2]) * 4096\n"
        "while True: client.sendall(flood)\n"
    )
    argv = [sys.executable, "-c", script, str(path), message(9, 0).hex()]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as hostile:
        assert hostile.stdout is not None
        hostile.stdout.readline()
        with others_run(), pytest.raises(DesktopError, match="in time"), within(1):
            Connection(path)
        hostile.wait(10)  # it is hung up on


@pytest.mark.parametrize("kind", ["a pipe", "a device", "one that is shorter", "one without an end", "empty"])
def test_a_keyboard_map_is_read_only_from_a_file_of_its_size(tmp_path: Path, kind: str) -> None:
    reading, writing = os.pipe()
    (tmp_path / "map").write_bytes(b"x" * 100)
    with open(tmp_path / "map", "rb") as file, open("/dev/zero", "rb") as zero:
        handle, size = {
            "a pipe": (reading, 100),
            "a device": (zero.fileno(), 100),
            "one that is shorter": (file.fileno(), 101),
            "one without an end": (file.fileno(), 2**32 - 1),
            "empty": (file.fileno(), 0),
        }[kind]
        with pytest.raises(ValueError, match="not a keyboard map"):
            read_keymap(handle, size)
        assert read_keymap(file.fileno(), 100) == b"x" * 100
    os.close(reading)
    os.close(writing)
