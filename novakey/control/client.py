"""The command line's end of the control socket."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

from novakey.control import listener
from novakey.errors import NovaKeyError
from novakey.net.stream import DeadlineError, EndOfStreamError, Stream, TooLongError
from novakey.secret import Secret
from novakey.system.folder_lock import FolderLock
from novakey.system.paths import Paths
from novakey.wire import Malformed, control, jsonline
from novakey.wire.control import Done, Event, Refused, Request

CONNECT_S = 3
FOLLOW_S = 3600  # nothing may happen for long; a command that waits waits on
ANSWER_S = 10  # storing a change waits for the disk


class NoDaemonError(NovaKeyError):
    """No daemon answers on the socket of this installation."""


class BusyError(NoDaemonError):
    """A daemon is there, but it does not answer in time."""


class Asked:
    """A request under way. `next` gives its events and, at the end, its result."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def next(self, seconds: float) -> Event | Done | None:
        """Return the next line within `seconds`, or None. A refusal is a `NovaKeyError`."""
        self._stream.set_deadline(seconds)
        try:
            line = control.decode_line(self._stream.line(control.MAX_LINE))
        except DeadlineError:
            return None
        except (EndOfStreamError, TooLongError):
            raise NoDaemonError("the daemon stopped, or ended the connection") from None
        except Malformed as error:
            raise _other_version(error) from None
        if isinstance(line, Refused):
            raise NovaKeyError(line.problem, line.cure or None)
        return line

    def report(self, outcome: str) -> None:
        """Say what became of the secret. `NoDaemonError` where the daemon has hung up."""
        self._stream.set_deadline(ANSWER_S)
        try:
            self._stream.send(control.Report(outcome).encode())
        except (EndOfStreamError, DeadlineError):
            raise NoDaemonError("the daemon stopped, or ended the connection") from None

    def secret(self, answer: Done | Event) -> Secret:
        """Return the secret that follows this line."""
        self._stream.set_deadline(ANSWER_S)
        try:
            return self._stream.secret(jsonline.integer(answer.members, control.FOLLOWING))
        except Malformed as error:
            raise _other_version(error) from None
        except EndOfStreamError:
            raise NoDaemonError("the daemon stopped, or ended the connection") from None


@contextlib.contextmanager
def request(paths: Paths, op: str, **arguments: Any) -> Iterator[Asked]:
    """Send a request; hangs up at the end. Arguments that are None are left out."""
    stream = Stream(_connected(paths))
    try:
        stream.set_deadline(CONNECT_S)
        given = {name: value for name, value in arguments.items() if value is not None}
        with contextlib.suppress(EndOfStreamError):  # what it said before it hung up is still to be read
            stream.send(Request(op, given).encode())
        yield Asked(stream)
    except DeadlineError:
        raise _busy(paths) from None
    finally:
        stream.abort()


def ask(paths: Paths, op: str, **arguments: Any) -> dict[str, Any]:
    """Have one operation done; its result. `NoDaemonError` when no daemon answers."""
    with request(paths, op, **arguments) as asked:
        answer = asked.next(ANSWER_S)
    if not isinstance(answer, Done):
        raise _busy(paths)
    return dict(answer.members)


def _connected(paths: Paths) -> socket.socket:
    try:
        for folder in paths.control_folders:
            sock = listener.connect(folder, CONNECT_S)
            if sock is not None:
                return sock
    except listener.FullError:
        raise _busy(paths) from None
    raise _no_daemon(paths)


def _busy(paths: Paths) -> BusyError:
    holder = FolderLock.holder(paths.data)
    process = "" if holder is None else f" (process {holder})"
    return BusyError(
        f"the daemon{process} is there, but it is too busy to answer",
        "try again in a moment; if it stays so, look at its log and restart it",
    )


def _no_daemon(paths: Paths) -> NoDaemonError:
    holder = FolderLock.holder(paths.data)
    if holder is None:
        return NoDaemonError("no daemon runs", "start it: novakey.py serve")
    return NoDaemonError(
        f"process {holder} uses {paths.data}, but it does not listen to its owner (yet)",
        "wait for its start to end, or look at its log",
    )


def _other_version(error: Malformed) -> NovaKeyError:
    if isinstance(error, control.OtherVersion):
        return NovaKeyError("the daemon is of another version", "restart it")
    return NovaKeyError(f"the daemon broke the control protocol: {error}")
