"""The service manager: telling it how we are, and taking over the socket that it listens on.

sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3), which are a few
variables each. Without a manager that speaks them, nothing happens.
"""

from __future__ import annotations

import contextlib
import os
import socket

from novakey.errors import NovaKeyError

_FIRST_FD = 3  # SD_LISTEN_FDS_START
_LISTEN = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def notify(state: str) -> None:
    """Send `state` (such as `READY=1`) when a service manager listens; else do nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):  # the abstract namespace of unix(7)
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        sock.sendall(state.encode())


def watchdog_s() -> float | None:
    """How often to send `WATCHDOG=1`, in seconds: twice in the time allowed. None when no watchdog is set."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # meant for the process that started us
    allowed = _number("WATCHDOG_USEC")
    return allowed / 2_000_000 if allowed else None


def take_listener() -> socket.socket | None:
    """Return the listening socket that socket activation hands to this process; None without one.

    `NovaKeyError` unless it is exactly one, TCP, and listening. The variables
    are taken out of the environment: a child has no such socket.
    """
    ours = os.environ.get("LISTEN_PID") == str(os.getpid())
    count = _number("LISTEN_FDS") if ours else 0
    for name in _LISTEN:
        os.environ.pop(name, None)
    if not count:
        return None
    if count > 1:
        raise NovaKeyError(f"the service manager hands over {count} sockets", "name one ListenStream= only")
    try:
        os.set_inheritable(_FIRST_FD, False)
        sock = socket.socket(fileno=_FIRST_FD)
        listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise NovaKeyError(f"the service manager's socket cannot be used: {error.strerror}") from None
    if not listening or sock.family not in (socket.AF_INET, socket.AF_INET6):
        sock.close()
        raise NovaKeyError(
            "the service manager's socket does not listen on a TCP port", "write ListenStream= with a port"
        )
    return sock


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
