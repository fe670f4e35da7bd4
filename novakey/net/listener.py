"""The listening socket: a `StreamServer` that asks who may come in, and bears a lack of descriptors."""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
from collections.abc import Callable
from typing import Generic, TypeVar

import gevent
from gevent.server import StreamServer

from novakey.config.validate import parse_listen_addr
from novakey.errors import NovaKeyError
from novakey.system.paste import command

log = logging.getLogger(__name__)

Slot = TypeVar("Slot")

# Connections that wait to be accepted cost us nothing. In a queue that a thousand at once fill up, the
# phone's is dropped, and it tries again only after a second (RFC 6298, section 2).
BACKLOG = 4096
_OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_BACK_OFF_S = 0.25
# Taken in a row before the open connections get their turn. Refusing one is quick work, and behind a flood
# of them a phone may wait to be reached.
_AT_ONCE = 20


class Listener(StreamServer, Generic[Slot]):  # type: ignore[misc]
    """Serves each connection that `admit` has a slot for, in a greenlet of its own."""

    max_accept = _AT_ONCE

    def __init__(
        self,
        sock: socket.socket,
        admit: Callable[[str], Slot | None],
        serve: Callable[[socket.socket, Slot], None],
    ) -> None:
        super().__init__(sock, serve)
        self._admit = admit

    def do_read(self) -> tuple[socket.socket, tuple[str, int]] | None:
        """Return the next connection, or None if there is none now."""
        try:
            accepted: tuple[socket.socket, tuple[str, int]] | None = super().do_read()
        except OSError as error:  # the peer was gone before it was accepted, or:
            if error.errno in _OUT_OF:
                # The connection stays in the queue: trying at once again would only burn the processor.
                log.error("no more connections can be taken: %s", error.strerror)
                self.stop_accepting()
                gevent.spawn_later(_BACK_OFF_S, self._go_on)
            return None
        return accepted

    def do_handle(self, sock: socket.socket, address: tuple[str, int]) -> None:
        """Serve it, or close it at once."""
        slot = self._admit(address[0])
        if slot is None:
            sock.close()
        else:
            super().do_handle(sock, slot)

    def _go_on(self) -> None:
        if self.started:
            self.start_accepting()


def listen(listen_addr: str) -> socket.socket:
    """Return a listening socket on a `listen_addr`; `[::]` takes IPv4 too. Raises `NovaKeyError`."""
    host, port = parse_listen_addr(listen_addr)
    try:
        address = _address(host)
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        dual = address.version == 6 and address.is_unspecified
        return socket.create_server((str(address), port), family=family, backlog=BACKLOG, dualstack_ipv6=dual)
    except OSError as error:
        raise NovaKeyError(*_why_not_listening(host, port, error)) from None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(host)
    except ValueError:  # a name; asking for one starts the resolver's threads
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return ipaddress.ip_address(str(found[0][4][0]))


def _why_not_listening(host: str, port: int, error: OSError) -> tuple[str, str]:
    match error.errno:
        case errno.EADDRINUSE:
            problem = f"port {port} on {host} is in use by another program"
            return (
                problem,
                f"find it with: {command('ss', '-ltnp', f'sport = :{port}')} - or choose another listen_addr",
            )
        case errno.EACCES:
            return f"port {port} may not be opened by this user", "choose a port from 1024 in listen_addr"
        case errno.EADDRNOTAVAIL:
            return f"{host} is not an address of this computer", "see `ip address`, and set listen_addr"
        case _:
            return f"cannot listen on {host} port {port}: {error.strerror}", "set another listen_addr"
