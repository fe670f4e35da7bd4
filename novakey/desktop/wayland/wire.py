"""The Wayland wire (The Wayland Protocol, chapter 4): a client in process, over one socket.

Only what we need of it: requests and events as signatures of letters (`u` and
`i` 32-bit numbers, `s` text, `a` bytes, `o` and `n` objects, `h` a file
descriptor), files beside the bytes, and the round trip. Nothing is loaded but
this file, no helper runs, and gevent makes the waiting cooperative.
"""

from __future__ import annotations

import array
import contextlib
import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import gevent

from novakey.desktop.pipe import close_now
from novakey.desktop.wayland import protocol
from novakey.desktop.wayland.protocol import Request
from novakey.system import peer

ERRORS = (OSError, EOFError, ValueError, struct.error)

Handler = Callable[[int, list[Any]], None]
"""Takes the number of an event and its values."""

_DISPLAY = 1
_FIRST_OF_SERVER = 0xFF000000
_MAX_FDS = 28  # as many as libwayland sends at once
_MAX_OBJECTS = 16384  # the compositor makes some of them: a window each, an offer for each copied text
_MAX_GLOBALS = 1024  # compositors have some fifty
_TURN = 1 << 13  # bytes that are handled before other greenlets get their turn: a thousand events
_WORD = struct.Struct("=I")


class ProtocolError(Exception):
    """The compositor refused a request and hangs up: the interface and the error's number."""


def socket_path(env: Mapping[str, str]) -> Path | None:
    """Where the compositor of this environment listens; None when none is named."""
    name = env.get("WAYLAND_DISPLAY")
    if not name:
        return None
    folder = env.get("XDG_RUNTIME_DIR")
    if name.startswith("/"):
        return Path(name)
    return Path(folder, name) if folder else None


class Connection:
    """One connection; a context manager that closes it. Waiting has no end of its own: use a timeout.

    `globals` are the interfaces that the compositor offers, with their number and version.
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._received = b""
        self._handled = 0
        self._files: list[int] = []
        self._unsent = bytearray()
        self._unsent_files: list[int] = []
        self._objects: dict[int, tuple[tuple[str, ...], Handler]] = {}
        self._interfaces: dict[int, str] = {_DISPLAY: "wl_display"}
        self._next_id = _DISPLAY + 1
        self.globals: dict[str, tuple[int, int]] = {}
        try:
            self._socket.connect(str(path))
            self._objects[_DISPLAY] = (("ous", "u"), self._on_display)
            self._registry = self.make(
                _DISPLAY, protocol.DISPLAY_GET_REGISTRY, "wl_registry", ("usu", "u"), self._on_registry
            )
            self.roundtrip()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; the compositor forgets every object of ours."""
        self._socket.close()
        for handle in (*self._files, *self._unsent_files):
            with contextlib.suppress(OSError):
                close_now(handle)
        self._files, self._unsent_files = [], []

    @property
    def peer_pid(self) -> int:
        """The process id of the compositor, as the kernel knows it."""
        return peer.of(self._socket).pid

    def bind(self, interface: str, version: int, events: tuple[str, ...], handler: Handler) -> int:
        """Return the object of a global; `KeyError` when the compositor does not offer it."""
        number, offered = self.globals[interface]
        new = self.allocate(interface, events, handler)
        self.request(self._registry, protocol.REGISTRY_BIND, number, interface, min(version, offered), new)
        return new

    def make(
        self,
        parent: int,
        request: Request,
        interface: str,
        events: tuple[str, ...] = (),
        handler: Handler | None = None,
        before: tuple[int, ...] = (),
        after: tuple[int, ...] = (),
    ) -> int:
        """Return the object that a request of `parent` makes, between its objects `before` and `after`."""
        new = self.allocate(interface, events, handler)
        values = (*before, new, *after)
        self.request(parent, request, *values)
        return new

    def adopt(self, new: int, interface: str, events: tuple[str, ...], handler: Handler) -> None:
        """Handle the events of an object that the compositor has made."""
        if new < _FIRST_OF_SERVER:
            raise ValueError("the compositor takes a number of ours")
        self._add(new, interface, events, handler)

    def _add(self, new: int, interface: str, events: tuple[str, ...], handler: Handler) -> None:
        if len(self._objects) >= _MAX_OBJECTS:
            raise ValueError("the compositor makes too many objects")
        self._interfaces[new] = interface
        self._objects[new] = (events, handler)

    def request(self, target: int, request: Request, *values: Any) -> None:
        """Queue a request with the values of its signature; files are closed once sent. `flush` sends it."""
        body = bytearray()
        for kind, value in zip(request.signature, values, strict=True):
            if kind == "h":
                self._unsent_files.append(value)
            else:
                body += _packed(kind, value)
        self._unsent += struct.pack("=II", target, (len(body) + 8) << 16 | request.opcode) + body

    def flush(self) -> None:
        """Send what is queued."""
        while self._unsent:
            ancillary = []
            files = self._unsent_files[:_MAX_FDS]
            if files:
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
            sent = self._socket.sendmsg([self._unsent], ancillary)
            for handle in files:
                close_now(handle)
            del self._unsent_files[: len(files)]
            self._unsent[:sent] = bytes(sent)  # keys of a secret stand in it
            del self._unsent[:sent]

    def roundtrip(self) -> None:
        """Return when the compositor has carried out every request so far and its events are handled."""
        done: list[int] = []
        self.make(
            _DISPLAY, protocol.DISPLAY_SYNC, "wl_callback", ("u",), lambda opcode, values: done.append(opcode)
        )
        self.flush()
        while not done:
            self.dispatch()

    def dispatch(self) -> None:
        """Wait for events and handle them."""
        data, ancillary, _, _ = self._socket.recvmsg(_TURN, socket.CMSG_SPACE(_MAX_FDS * 4))
        for level, kind, packed in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._files += array.array("i", packed[: len(packed) // 4 * 4])
        if not data:
            raise EOFError("the compositor hung up")
        self._handled += len(data)
        if self._handled >= _TURN:
            self._handled = 0
            gevent.sleep(0)
        for target, opcode, body in self._messages(data):
            self._handle(target, opcode, body)
        if len(self._files) > _MAX_FDS:
            raise ValueError("files that belong to no event")

    def _messages(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """Return the whole messages that have come; the beginning of another stays for the next time."""
        data, at = self._received + data, 0
        found: list[tuple[int, int, bytes]] = []
        while len(data) - at >= 8:
            target, word = struct.unpack_from("=II", data, at)
            size = word >> 16
            if size < 8:
                raise ValueError("not a Wayland message")
            if len(data) - at < size:
                break
            found.append((target, word & 0xFFFF, data[at + 8 : at + size]))
            at += size
        self._received = data[at:]
        return found

    def _handle(self, target: int, opcode: int, body: bytes) -> None:
        if target not in self._objects:
            return  # made and deleted already
        events, handler = self._objects[target]
        if opcode >= len(events):
            raise ValueError("an event that this version of the interface does not have")
        handler(opcode, self._unpacked(events[opcode], body))

    def _unpacked(self, signature: str, body: bytes) -> list[Any]:
        values: list[Any] = []
        at = 0
        for kind in signature:
            if kind == "h":
                if not self._files:
                    raise ValueError("an event without its file")
                values.append(OwnedFile(self._files.pop(0)))
                continue
            (number,) = _WORD.unpack_from(body, at)
            at += 4
            if kind in "sa":
                piece = body[at : at + number]
                if len(piece) < number:
                    raise ValueError("an event that ends too early")
                at += (number + 3) // 4 * 4
                values.append(piece.rstrip(b"\0").decode("utf-8", "replace") if kind == "s" else piece)
            else:
                values.append(number if kind != "i" or number < 2**31 else number - 2**32)
        return values

    def allocate(self, interface: str, events: tuple[str, ...] = (), handler: Handler | None = None) -> int:
        """Return a number for an object that the next request makes."""
        new = self._next_id
        self._next_id += 1  # never used again: a connection lives for one delivery or one selection
        if new >= _FIRST_OF_SERVER:
            raise ValueError("no object ids are left")
        self._add(new, interface, events, handler or _ignore)
        return new

    def _on_display(self, opcode: int, values: list[Any]) -> None:
        if opcode == 0:
            target, code, _ = values  # the compositor's words may quote what was sent
            raise ProtocolError(f"{self._interfaces.get(target, 'an object')}: error {code}")
        self._objects.pop(values[0], None)
        self._interfaces.pop(values[0], None)

    def _on_registry(self, opcode: int, values: list[Any]) -> None:
        if opcode == 0:
            number, interface, version = values
            if len(self.globals) >= _MAX_GLOBALS:
                raise ValueError("the compositor offers too much")
            self.globals.setdefault(interface, (number, version))  # the first seat is the person's


def _packed(kind: str, value: Any) -> bytes:
    if kind in "sa":
        data: bytes = value.encode() + b"\0" if kind == "s" else value
        return _WORD.pack(len(data)) + data + bytes(-len(data) % 4)
    return _WORD.pack(value & 0xFFFFFFFF)


def _ignore(opcode: int, values: list[Any]) -> None:
    for value in values:
        if isinstance(value, OwnedFile):
            close_now(value)


class OwnedFile(int):
    """A file descriptor that came with an event; the event's handler closes it."""
