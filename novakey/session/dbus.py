"""One connection to a D-Bus message bus (D-Bus Specification), each call with a deadline.

jeepney does the marshalling; its receiving thread is a greenlet here, like
everything else. A bus may be absent, hang, or end at any moment: each of these
is a `BusError` that says so, and the next `Bus` connects again.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Full, Queue
from typing import Any, Literal

import gevent
from jeepney import (
    DBusAddress,
    DBusErrorResponse,
    HeaderFields,
    MatchRule,
    Message,
    MessageFlag,
    MessageType,
    new_method_call,
)
from jeepney.bus import get_bus
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import prep_socket
from jeepney.io.common import RouterClosed
from jeepney.io.threading import DBusConnection, DBusRouter

CALL_S = 2.0
NO_ANSWER = "the service on the bus did not answer in time"
WRONG_TYPE = "the service on the bus answered with other types than it must"
SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"
MAX_MESSAGE = (
    1 << 20
)  # of 128 MiB that the specification allows; the longest that we need is a list of windows

_TURN = 16  # messages that one flood may have handled before other greenlets get their turn
# TypeError and the errors of `struct` come from a message that is none.
_ERRORS = (
    *(OSError, EOFError, RouterClosed, ValueError, LookupError, RuntimeError, StopIteration, TypeError),
    struct.error,
)


class BusError(Exception):
    """The bus or the service did not do what was asked; the message is one lower-case line.

    `name` is the D-Bus error's name where a service answered with one.
    """

    def __init__(self, problem: str, name: str = "") -> None:
        super().__init__(problem)
        self.name = name


class SilentError(BusError):
    """A bus or a service that is there did not answer in time."""


def session_address(env: Mapping[str, str]) -> str | None:
    """Where the session bus is: as the environment says, else the socket that systemd makes."""
    address = env.get("DBUS_SESSION_BUS_ADDRESS")
    if address:
        return address
    runtime = env.get("XDG_RUNTIME_DIR")
    if runtime and (Path(runtime) / "bus").is_socket():
        return f"unix:path={runtime}/bus"
    return None


class Bus:
    """A connection; a context manager that closes it."""

    def __init__(
        self, which: Literal["session", "system"] = "session", address: str | None = None, fds: bool = False
    ) -> None:
        """Connect within `CALL_S` seconds, or raise `BusError`; `address` is of a bus beside that one.

        With `fds`, messages may carry file descriptors.
        """
        self.which = which
        self._is_beside = address is not None
        self._address = address = address or _address(which)
        try:
            with gevent.Timeout(CALL_S, TimeoutError):
                self._router = _Router.open(address, fds)
        except TimeoutError:
            raise SilentError(f"the {which} bus did not answer in time") from None
        except _ERRORS as error:
            raise BusError(f"the {which} bus cannot be reached ({type(error).__name__})") from None
        self._closed = False

    def __enter__(self) -> Bus:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it; a greenlet that waits for an answer gets a `BusError`."""
        if self._closed:
            return
        self._closed = True
        self._router.end()

    @property
    def unique_name(self) -> str:
        """What the bus calls this connection."""
        return str(self._router.unique_name)

    @property
    def alive(self) -> bool:
        """Whether the bus has not hung up."""
        return self._router.alive

    @property
    def serves(self) -> bool:
        """Whether it is alive, and still the bus that the environment names."""
        try:
            return self.alive and (self._is_beside or self._address == _address(self.which))
        except BusError:
            return False

    def call(
        self,
        address: DBusAddress,
        method: str,
        signature: str | None = None,
        body: Sequence[object] = (),
        timeout: float = CALL_S,
        start: bool = True,
        returns: str | None = None,
    ) -> tuple[Any, ...]:
        """Return the values that a method returns; `BusError` when it does not within `timeout` seconds.

        A service that does not run is started for it by the bus, if the bus knows how, unless not `start`.
        `returns` is the signature that the answer must have: a service may answer with anything.
        """
        message = new_method_call(address, method, signature, tuple(body))
        if not start:
            message.header.flags |= MessageFlag.no_auto_start
        return self.send(message, timeout, returns)

    def send(self, message: Message, timeout: float = CALL_S, returns: str | None = None) -> tuple[Any, ...]:
        """As `call`, for a message made elsewhere."""
        try:
            reply = self._router.send_and_get_reply(message, timeout=timeout)
        except TimeoutError:
            raise SilentError(NO_ANSWER) from None
        except _ERRORS as error:
            raise BusError(f"the {self.which} bus hung up ({type(error).__name__})") from None
        if reply.header.message_type is MessageType.error:
            name = DBusErrorResponse(reply).name
            raise BusError(f"the service on the bus refused ({name})", name)
        if returns is not None and reply.header.fields.get(HeaderFields.signature, "") != returns:
            raise BusError(WRONG_TYPE)
        return tuple(reply.body)

    @contextmanager
    def signals(self, *rules: MatchRule, room: int = 64) -> Iterator[Queue[Message | None]]:
        """Return a queue of the signals that match one of the rules; None in it says that the bus hung up.

        At most `room` wait in it; later ones are dropped, as a flood must not fill the memory.
        """
        queue: Queue[Message | None] = Queue(maxsize=room)
        with contextlib.ExitStack() as undo:
            listeners = self._router.listeners
            listeners.append(queue)
            undo.callback(listeners.remove, queue)
            for rule in rules:
                self.send(message_bus.AddMatch(rule))
                undo.callback(self._forget, rule)
                undo.enter_context(self._router.filter(rule, queue=queue))
            yield queue

    def _forget(self, rule: MatchRule) -> None:
        if self.alive:
            with contextlib.suppress(BusError):
                self.send(message_bus.RemoveMatch(rule))


def _address(which: Literal["session", "system"]) -> str:
    if which == "system":
        return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or SYSTEM_BUS
    address = session_address(os.environ)
    if address is None:
        raise BusError("there is no session bus")
    return address


class _Connection(DBusConnection):  # type: ignore[misc]
    """A connection that closes the pipe that stops its reading, too: jeepney leaves that open."""

    _open = True

    def interrupt(self) -> None:
        if self._open:  # the number of the closed pipe may be another file's by now
            super().interrupt()

    def reset_interrupt(self) -> None:
        if self._open:
            super().reset_interrupt()

    def close(self) -> None:
        if self._open:
            try:
                super().close()
            finally:
                self._open = False
                os.close(self._stop_r)
                os.close(self._stop_w)

    def _read_some_data(self, timeout: float | None = None) -> Any:
        if (self.parser.next_msg_size or 0) > MAX_MESSAGE:
            raise ValueError("a message that is too long")
        return super()._read_some_data(timeout)


class _Router(DBusRouter):  # type: ignore[misc]
    """Ends without a traceback when the bus hangs up, and tells who listens."""

    def __init__(self, connection: _Connection) -> None:
        self.listeners: list[Queue[Message | None]] = []
        self._handled = 0
        super().__init__(connection)

    @classmethod
    def open(cls, address: str, fds: bool) -> _Router:
        """Connect and say Hello; use a timeout. What fails on the way leaves nothing open."""
        router = cls(_Connection(prep_socket(get_bus(address), fds, timeout=CALL_S), fds))
        try:
            (router.conn.unique_name,) = router.send_and_get_reply(message_bus.Hello(), timeout=CALL_S).body
        except BaseException:
            router.end()
            raise
        return router

    @property
    def alive(self) -> bool:
        return bool(self._rcv_thread.is_alive())

    def end(self) -> None:
        """Stop the reading and close the connection."""
        try:
            with contextlib.suppress(*_ERRORS):
                self.close()
        finally:
            with contextlib.suppress(*_ERRORS):
                self.conn.close()

    def _dispatch(self, msg: Message) -> None:
        super()._dispatch(msg)
        self._handled += 1
        if not self._handled % _TURN:
            gevent.sleep(0)

    def _receiver(self) -> None:
        with contextlib.suppress(*_ERRORS):
            super()._receiver()
        for queue in self.listeners:
            with contextlib.suppress(Full):  # it is read later, and `alive` says the rest
                queue.put_nowait(None)
