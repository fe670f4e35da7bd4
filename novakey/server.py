"""The listener: one port, two routes, a greenlet for each connection.

`Server._serve` is the edge: the one place that catches everything, logs it and
closes. What a peer can cause never reaches it.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import itertools
import logging
import socket
from dataclasses import dataclass, field

from gevent.pool import Pool
from gevent.server import StreamServer

from novakey.config import parse_listen_addr
from novakey.errors import NovaKeyError
from novakey.messages.handler import Handler
from novakey.messages.ratelimit import address_key
from novakey.pairing.handshake import Handshake
from novakey.stream import DeadlineError, EndOfStreamError, Stream, TooLongError
from novakey.wire import Malformed, message, preface
from novakey.wire.reply import Outcome, Reply

log = logging.getLogger(__name__)

PREFACE_S = 5
MAX_PREFACE = 64  # the longest of the two lines has 14 bytes
MSG_S = 10
REPLY_S = 2
GRACE_S = 5
MAX_CONNECTIONS = 64


@dataclass
class Server:
    """Serves one address until `stop`."""

    listen_addr: str
    max_payload_len: int
    handshake: Handshake
    handler: Handler
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def start(self) -> tuple[str, int]:
        """Listen and begin to accept; the bound address. `NovaKeyError` names a port in use."""
        listener = listen(self.listen_addr)
        self._pool = Pool(MAX_CONNECTIONS)
        self._server = StreamServer(listener, self._serve, spawn=self._pool)
        self._server.start()
        host, port = listener.getsockname()[:2]
        return host, port

    def stop(self) -> None:
        """Stop accepting and let running requests finish, for at most `GRACE_S` seconds."""
        self._server.close()
        self._pool.join(timeout=GRACE_S)
        self.handshake.pairing.stop()
        self._pool.kill()

    def _serve(self, sock: socket.socket, address: tuple[str, int]) -> None:
        req_id = next(self._ids)
        peer = address_key(address[0])
        stream = Stream(sock)
        route = None
        try:
            stream.allow(PREFACE_S)
            route = preface.parse(stream.line(MAX_PREFACE))
            match route:
                case preface.Route.PAIR:
                    self.handshake.run(stream, peer, req_id)
                    stream.finish()
                case preface.Route.MSG:
                    self._answer(stream, self._message(stream, peer, req_id))
                case None:
                    log.info("request %d from %s: closed: not this protocol's first line", req_id, peer)
        except (DeadlineError, EndOfStreamError, TooLongError) as error:
            log.info("request %d from %s: closed: %s", req_id, peer, error)
        except Exception:
            log.exception("request %d from %s: failed", req_id, peer)
            if route is preface.Route.MSG:
                reply = self.handler.reply(Outcome.INTERNAL_ERROR, "a fault in the daemon", peer, req_id)
                with contextlib.suppress(DeadlineError, EndOfStreamError):
                    self._answer(stream, reply)
        finally:
            stream.abort()

    def _answer(self, stream: Stream, reply: Reply) -> None:
        stream.allow(REPLY_S)
        stream.send(reply.encode())
        stream.finish()

    def _message(self, stream: Stream, peer: str, req_id: int) -> Reply:
        """Read the one message and answer it; what does not arrive whole is answered too."""
        stream.allow(MSG_S)
        try:
            prefix = stream.exactly(message.LENGTH_SIZE)
            payload = stream.exactly(message.frame_length(prefix, self.max_payload_len))
        except Malformed as error:
            return self.handler.malformed(str(error), peer, req_id)
        except EndOfStreamError:
            return self.handler.malformed("the message ends too early", peer, req_id)
        except DeadlineError:
            return self.handler.malformed(f"the message did not arrive within {MSG_S} s", peer, req_id)
        return self.handler.answer(payload, peer, req_id)


def listen(listen_addr: str) -> socket.socket:
    """A listening socket on a `listen_addr`; `[::]` takes IPv4 too. `NovaKeyError` when it cannot be."""
    host, port = parse_listen_addr(listen_addr)
    try:
        family, _, _, _, bound = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        dual = family == socket.AF_INET6 and ipaddress.ip_address(str(bound[0])).is_unspecified
        return socket.create_server(bound[:2], family=family, backlog=128, dualstack_ipv6=dual)
    except OSError as error:
        raise NovaKeyError(*_why_not_listening(host, port, error)) from None


def _why_not_listening(host: str, port: int, error: OSError) -> tuple[str, str]:
    match error.errno:
        case errno.EADDRINUSE:
            problem = f"port {port} on {host} is in use by another program"
            return problem, f"find it with: ss -ltnp 'sport = :{port}' - or choose another listen_addr"
        case errno.EACCES:
            return f"port {port} may not be opened by this user", "choose a port from 1024 in listen_addr"
        case errno.EADDRNOTAVAIL:
            return f"{host} is not an address of this computer", "see `ip address`, and set listen_addr"
        case _:
            return f"cannot listen on {host} port {port}: {error.strerror}", "set another listen_addr"
