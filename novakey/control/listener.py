"""The control socket: in an owner-only folder, owner-only itself, and asked who connects.

Three fences, each of which would do alone: no other user can enter the folder,
no other user may write to the socket, and a peer of another user is hung up on.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from novakey.errors import NovaKeyError, SetupError, StoreError
from novakey.system import files, peer
from novakey.system.paste import command
from novakey.wire.control import SOCKET_NAME

# Commands may come in a burst, from a script or a hook. The kernel caps it at net.core.somaxconn (listen(2)).
BACKLOG = 128
_RETRY_S = 0.02
# sockaddr_un.sun_path of unix(7) has 108 bytes with its zero, 104 on the BSDs and macOS.
_MAX_ADDRESS = 103
_PROC = Path("/proc/self/fd")


class FullError(Exception):
    """A daemon listens, but as many connections wait for it as its backlog holds."""


def listen(folder: Path) -> socket.socket:
    """Bind and listen in `folder`, which the caller holds the lock of. `NovaKeyError` says why not.

    A socket left by a daemon that died is replaced; anything else of that name,
    a link too, is refused.
    """
    files.private_folder(folder)
    with _opened(folder) as handle:
        _remove_stale(folder, handle)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # The socket's rights are those of its creation, less the umask: there is no moment with wider ones.
        before = os.umask(0o177)
        try:
            sock.bind(_address(folder, handle))
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            raise StoreError(f"{folder / SOCKET_NAME} cannot be made: {error.strerror}") from error
        finally:
            os.umask(before)
    return sock


def remove(folder: Path) -> None:
    """Take the socket away at the end; the caller still holds the lock."""
    with contextlib.suppress(OSError):
        (folder / SOCKET_NAME).unlink()


def connect(folder: Path, seconds: float) -> socket.socket | None:
    """Connect to the daemon of `folder`; None when there is no socket or no process behind it.

    `FullError` when the daemon accepts no connection within `seconds`; `NovaKeyError` when another
    user's daemon is there.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _opened(folder) as handle:
            _connect(sock, _address(folder, handle), seconds)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        sock.close()
        return None
    except BlockingIOError:
        sock.close()
        raise FullError from None
    except OSError as error:
        sock.close()
        problem = f"{folder / SOCKET_NAME} cannot be reached: {(error.strerror or str(error)).lower()}"
        raise NovaKeyError(problem, "only the user that runs the daemon can command it") from None
    sock.settimeout(seconds)
    # Root may command anybody's daemon; no user has to trust another user's.
    if os.geteuid() != 0 and not is_owner(sock):
        sock.close()
        raise NovaKeyError(f"{folder / SOCKET_NAME} is served by another user", "do not trust that folder")
    return sock


def _connect(sock: socket.socket, address: str, seconds: float) -> None:
    """Connect, and retry for `seconds` while the backlog is full; then `BlockingIOError`.

    connect(2) reports a full backlog of a local socket as EAGAIN. Such a socket cannot be polled:
    it counts as writable at once, and gevent would spin on it.
    """
    sock.setblocking(False)
    until = time.monotonic() + seconds
    while True:
        try:
            return sock.connect(address)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(_RETRY_S)


def is_owner(sock: socket.socket) -> bool:
    """Whether the process at the other end runs as our user, or as root, who could do anything anyway."""
    return peer.of(sock).uid in (os.geteuid(), 0)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Hold the folder open: all that follows happens in this very folder, even if its name moves."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


def _address(folder: Path, handle: int) -> str:
    """Return a name of the socket that an address has room for."""
    if _PROC.is_dir():
        return f"{_PROC}/{handle}/{SOCKET_NAME}"
    address = str(folder / SOCKET_NAME)
    if len(os.fsencode(address)) > _MAX_ADDRESS:
        raise SetupError(
            f"{address} is too long for a socket: at most {_MAX_ADDRESS} bytes", "use a shorter --data-dir"
        )
    return address


def _remove_stale(folder: Path, handle: int) -> None:
    status = os.fstat(handle)
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise StoreError(f"{folder} was changed while the daemon started", "start it again")
    path = folder / SOCKET_NAME
    try:
        found = os.stat(SOCKET_NAME, dir_fd=handle, follow_symlinks=False)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"{path} cannot be looked at: {error.strerror}") from error
    if not stat.S_ISSOCK(found.st_mode):
        kind = "a link" if stat.S_ISLNK(found.st_mode) else "not a socket"
        raise StoreError(
            f"{path} is {kind}, and only our own socket is replaced", command("rm", foreign=path)
        )
    os.unlink(SOCKET_NAME, dir_fd=handle)
