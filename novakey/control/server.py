"""Serves the owner's socket: one request a connection, answered, or followed while it is live.

`ControlServer._serve` is this socket's edge: it catches everything, logs it and
hangs up. What goes wrong here must not stop a delivery.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gevent
from gevent.server import StreamServer

from novakey.control import listener
from novakey.control.reports import Reports
from novakey.errors import NovaKeyError
from novakey.net.stream import DeadlineError, EndOfStreamError, Stream, TooLongError
from novakey.secret import Secret
from novakey.system import peer
from novakey.wire import Malformed, control
from novakey.wire.control import Done, Event, Refused, Request

log = logging.getLogger(__name__)

REQUEST_S = 5
ANSWER_S = 5
FAREWELL_S = 0.2
# All of them the owner's. Those that follow something may stay for days, so some places are kept from them.
MAX_CONNECTIONS = 24
MAX_LIVE = 16

Answer = Mapping[str, object]
Live = Iterator[Event | Answer | Secret]
"""Events, and at the end, where there is one, an answer or a secret. It is closed when the owner hangs up."""


class ControlServer:
    """The socket in `folder`, whose lock the caller holds.

    `operations` makes, when the owner first comes, a function for each of
    `wire.control.OPERATIONS`, which takes its arguments by name. It gives an
    answer, or `Live` where the operation is live; a `NovaKeyError` is told to
    the owner.
    """

    def __init__(self, folder: Path, operations: Callable[[], Mapping[str, Callable[..., Any]]]) -> None:
        self._folder = folder
        self._operations = functools.cache(operations)
        self._live = 0
        self._listener = listener.listen(folder)
        self._running: set[gevent.Greenlet] = set()
        self._server = StreamServer(self._listener, self._serve, spawn=self._spawn)
        self._server.full = lambda: len(self._running) >= MAX_CONNECTIONS

    def start(self) -> None:
        """Begin to accept."""
        self._server.start()

    def stop(self) -> None:
        """Hang up on everybody, those first who are told the end anyway, and take the socket away."""
        self._server.close()
        gevent.joinall(list(self._running), timeout=FAREWELL_S)
        gevent.killall(list(self._running))
        listener.remove(self._folder)

    def _spawn(self, serve: Callable[..., None], *arguments: object) -> None:
        greenlet = gevent.spawn(serve, *arguments)
        self._running.add(greenlet)
        greenlet.link(self._ended)

    def _ended(self, greenlet: gevent.Greenlet) -> None:
        self._running.discard(greenlet)
        if self._server.started:
            self._server.start_accepting()  # it stops where there are as many as may be

    def _serve(self, sock: socket.socket, address: object) -> None:
        stream = Stream(sock)
        try:
            if not listener.is_owner(sock):
                log.warning("the control socket: a process of another user was hung up on")
                return
            stream.set_deadline(REQUEST_S)
            request = self._request(stream)
            if request is not None:
                self._answer(stream, sock, request)
        except _HungUp:
            pass
        except (DeadlineError, EndOfStreamError, TooLongError) as error:
            log.info("the control socket: closed: %s", error)
        except Exception:
            log.exception("the control socket: failed")
            with contextlib.suppress(DeadlineError, EndOfStreamError):
                self._say(stream, Refused("a fault in the daemon", "look at its log"))
        finally:
            stream.abort()

    def _request(self, stream: Stream) -> Request | None:
        try:
            return control.decode_request(stream.line(control.MAX_REQUEST))
        except control.OtherVersion:
            self._say(stream, Refused("the daemon is of another version", "restart it"))
        except Malformed as error:
            self._say(stream, Refused(str(error)))
        return None

    def _answer(self, stream: Stream, sock: socket.socket, request: Request) -> None:
        try:
            if request.live:
                self._follow(stream, sock, request)
            else:
                self._say(stream, Done(self._operations()[request.op](**request.arguments)))
        except NovaKeyError as error:
            self._say(stream, Refused(error.problem, error.cure or ""))

    def _follow(self, stream: Stream, sock: socket.socket, request: Request) -> None:
        """Pass on what a live operation gives, until it ends or the owner hangs up."""
        if self._live >= MAX_LIVE:
            raise NovaKeyError("too many are following already", "end one of them")
        operation = control.OPERATIONS[request.op]
        more: dict[str, Any] = {"pid": peer.of(sock).pid} if operation.asks_who else {}
        if operation.reports:
            more["reports"] = reports = Reports()
            watcher = gevent.spawn(reports.listen, stream, _end_of(gevent.getcurrent()))
        else:
            watcher = gevent.spawn(_wait_for_end, sock, _end_of(gevent.getcurrent()))
        self._live += 1
        try:
            live: Live = self._operations()[request.op](**request.arguments, **more)
            for item in live:
                if isinstance(item, Secret):
                    self._hand_over(stream, item, operation.reports)
                else:
                    self._say(stream, item if isinstance(item, Event) else Done(item))
        finally:
            self._live -= 1
            watcher.kill()

    def _hand_over(self, stream: Stream, secret: Secret, is_reported: bool) -> None:
        """Send the bytes as they are behind a line: a text in JSON would leave copies in memory."""
        members = {control.FOLLOWING: len(secret)}
        self._say(stream, Event(control.HAND_OVER, members) if is_reported else Done(members))
        with secret.view() as view:
            stream.send(view)

    @staticmethod
    def _say(stream: Stream, line: Done | Refused | Event) -> None:
        stream.set_deadline(ANSWER_S)
        stream.send(line.encode())


class _HungUp(Exception):
    """The owner ended the connection."""


def _end_of(follower: gevent.Greenlet) -> Callable[[], None]:
    """Return what interrupts `follower`, which may wait for something that never comes."""
    return lambda: follower.kill(_HungUp, block=False)


def _wait_for_end(sock: socket.socket, end: Callable[[], None]) -> None:
    """Call `end` once the owner is gone."""
    try:
        gevent.socket.wait_read(sock.fileno())
    except OSError:
        return
    end()
