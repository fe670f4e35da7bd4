"""Sway's own socket (sway-ipc(7)): a header, a length, a type, and JSON."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from novakey.system import peer

MAX_REPLY = 4 * 1024 * 1024  # a tree of thousands of windows is far below

_MAGIC = b"i3-ipc"
_HEADER = struct.Struct("=6sII")
_GET_TREE = 4


class SwayError(Exception):
    """Sway did not answer as its documentation says."""


class SwaySocket:
    """One connection. Waiting has no end of its own: use a timeout."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(str(path))
        except BaseException:
            self._socket.close()
            raise

    @classmethod
    def of(cls, compositor: int, env: Mapping[str, str]) -> SwaySocket | None:
        """Return the socket of the sway with this process id; None when the compositor is not sway.

        `SWAYSOCK` may be left over from another session, and a daemon that was not started by
        sway has none: what counts is that the same process listens.
        """
        for path in _candidates(env):
            with contextlib.suppress(OSError):
                made = cls(path)
                if made._peer_pid == compositor:
                    return made
                made.close()
        return None

    @property
    def _peer_pid(self) -> int:
        return peer.of(self._socket).pid

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def tree(self) -> dict[str, Any]:
        """Return the tree of outputs, workspaces and windows."""
        self._socket.sendall(_HEADER.pack(_MAGIC, 0, _GET_TREE))
        magic, size, kind = _HEADER.unpack(self._exactly(_HEADER.size))
        if magic != _MAGIC or kind != _GET_TREE or size > MAX_REPLY:
            raise SwayError("sway's answer is not one")
        try:
            tree = json.loads(self._exactly(size))
        except (ValueError, RecursionError):
            raise SwayError("sway's answer is not JSON") from None
        if not isinstance(tree, dict):
            raise SwayError("sway's answer is not a tree")
        return tree

    def _exactly(self, size: int) -> bytes:
        pieces = bytearray()
        while len(pieces) < size:
            piece = self._socket.recv(size - len(pieces))
            if not piece:
                raise SwayError("sway hung up")
            pieces += piece
        return bytes(pieces)


def _candidates(env: Mapping[str, str]) -> Iterator[Path]:
    if env.get("SWAYSOCK"):
        yield Path(env["SWAYSOCK"])
    if env.get("XDG_RUNTIME_DIR"):
        yield from sorted(Path(env["XDG_RUNTIME_DIR"]).glob("sway-ipc.*.sock"))
