"""The native host of the browser's extension: it passes a page's request to the daemon, and nothing else.

A browser starts it for its extension and ends it by closing the pipe. It keeps nothing, and it does nothing
that the extension did not ask for. Both browsers say on the command line whose extension it is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import gevent
from gevent.lock import BoundedSemaphore

from novakey.control import client
from novakey.control.client import Asked, BusyError, NoDaemonError
from novakey.errors import NovaKeyError
from novakey.log.format import one_line
from novakey.secret import Secret
from novakey.system.paths import Paths
from novakey.wire import Malformed, control, native
from novakey.wire.control import Done, Event
from novakey.wire.native import BadMessage, Message

NAME = "org.novakey.browser"
CHROMIUM_ORIGIN = "chrome-extension://jbplfndohnifiagikigniiokadlmhibk/"
GECKO_ID = "novakey@novakey.invalid"

MAX_REQUESTS = 8  # of one connection at a time; the daemon has a cap for all
WAIT_S = 120.0
BECAME_S = 6.0  # from the secret to the daemon's last word about it
_POLL_S = 5.0


class StrangerError(NovaKeyError):
    """Something else than our extension started the host."""


class Pipe(Protocol):
    """Both directions to the browser. Waiting in it lets others run."""

    def read(self, count: int) -> bytes:
        """Return exactly so many bytes; fewer at the end."""

    def write(self, data: memoryview) -> None:
        """Write all of it; `OSError` where the browser is gone."""


class _Cancelled(Exception):
    """The extension takes its request back."""


def check_caller(arguments: Sequence[str]) -> None:
    """Raise `StrangerError` unless a browser started us for our extension.

    Chromium gives the extension's origin; Firefox the manifest's path and the extension's id.
    """
    if list(arguments[:1]) == [CHROMIUM_ORIGIN] or list(arguments[1:2]) == [GECKO_ID]:
        return
    raise StrangerError(
        "only the NovaKey extension in a browser may start this", "see: novakey.py browser --help"
    )


class Host:
    """One connection of the extension."""

    def __init__(self, paths: Paths, pipe: Pipe, wait_s: float = WAIT_S) -> None:
        self._paths = paths
        self._pipe = pipe
        self._wait_s = wait_s
        self._writing = BoundedSemaphore()
        self._requests: dict[str, _Request] = {}

    def serve(self) -> None:
        """Answer until the browser closes the pipe. `Malformed` for what is no frame of the extension."""
        try:
            while (data := self._frame()) is not None:
                try:
                    self._take(native.decode(data))
                except BadMessage as error:
                    self._end(error.message_id, "bad_request", str(error))
        except OSError:
            pass  # the browser is gone, and waits for nothing more
        finally:
            gevent.killall([request.running for request in self._requests.values()])

    def _frame(self) -> bytes | None:
        header = self._pipe.read(native.HEADER.size)
        if not header:
            return None
        if len(header) < native.HEADER.size:
            raise Malformed("the pipe ended inside a frame")
        count = native.length(header)
        data = self._pipe.read(count)
        if len(data) < count:
            raise Malformed("the pipe ended inside a frame")
        return data

    def _take(self, message: Message) -> None:
        request = self._requests.get(message.id)
        if message.type == "request":
            if request is not None:
                request.cancel()  # which of the two it is for cannot be told any more
                self._end(message.id, "bad_request", "this id is in use")
            elif len(self._requests) >= MAX_REQUESTS:
                self._end(message.id, "busy", "too many requests of this browser wait already")
            else:
                self._requests[message.id] = _Request(self, message.id, message.text)
        elif request is None:
            pass  # it has just ended here, and the extension will read so
        elif message.type == "cancel":
            request.cancel()
        else:
            request.became(message.text)

    def write(self, data: memoryview) -> None:
        """Write one frame, whole."""
        with self._writing:
            self._pipe.write(data)

    def open_request(self, origin: str) -> AbstractContextManager[Asked]:
        """Ask the daemon for a secret for a page."""
        return client.request(self._paths, "fill", origin=origin)

    @property
    def wait_s(self) -> float:
        """How long a request waits for a phone."""
        return self._wait_s

    def finished(self, message_id: str, reason: str, message: str) -> None:
        """Forget a request and tell the extension its end."""
        self._requests.pop(message_id, None)
        try:
            self._end(message_id, reason, message)
        except OSError:
            pass

    def _end(self, message_id: str, reason: str, message: str) -> None:
        self.write(memoryview(native.ended(message_id, reason, one_line(message))))


class _Request:
    """One field that waits. Its greenlet follows the daemon; the host's own tells it what the page did."""

    def __init__(self, host: Host, message_id: str, origin: str) -> None:
        self._host = host
        self._id = message_id
        self._asked: Asked | None = None
        self._reported = False
        self._outcome = ""
        self._is_filled = False
        self._has_begun = False
        self._is_cancelled = False
        self.running = gevent.spawn(self._run, origin)

    def cancel(self) -> None:
        """Take the request back; a secret that is out already is told as cancelled."""
        if self._is_filled:
            self.became("cancelled")
        elif not self._is_cancelled:
            self._is_cancelled = True
            if self._has_begun:  # a greenlet that is killed before it runs would tell of no end
                self.running.kill(_Cancelled, block=False)

    def became(self, outcome: str) -> None:
        """Tell the daemon what became of the field, once."""
        if self._outcome:
            return
        self._outcome = outcome
        if self._asked is not None:
            self._report(self._asked)

    def _report(self, asked: Asked) -> None:
        if self._outcome and not self._reported:
            self._reported = True
            try:
                asked.report(self._outcome)
            except NoDaemonError:
                pass  # what reads from the daemon says so

    def _run(self, origin: str) -> None:
        self._has_begun = True
        try:
            if self._is_cancelled:
                raise _Cancelled
            reason, message = self._follow(origin)
        except _Cancelled:
            reason, message = "cancelled", "it was cancelled in the browser"
        except BusyError as error:
            reason, message = "busy", error.in_one_line
        except NoDaemonError as error:
            reason, message = "daemon_gone", error.in_one_line
        except NovaKeyError as error:
            reason, message = "not_now", error.in_one_line
        except OSError:
            return  # the browser is gone
        self._host.finished(self._id, reason, message)

    def _follow(self, origin: str) -> tuple[str, str]:
        with self._host.open_request(origin) as asked:
            self._asked = asked
            self._report(asked)
            until, is_told = time.monotonic() + self._host.wait_s, False
            while (left := until - time.monotonic()) > 0:
                answer = asked.next(min(left, _POLL_S))
                if isinstance(answer, Done):
                    return _text(answer, "reason"), _text(answer, "message")
                if isinstance(answer, Event) and answer.name == control.HAND_OVER:
                    self._fill(asked.secret(answer))
                    until = time.monotonic() + BECAME_S
                elif isinstance(answer, Event) and not is_told:
                    is_told = True
                    waiting = native.frame({"type": "waiting", "id": self._id})
                    self._host.write(memoryview(waiting))
        if self._is_filled:
            return "daemon_gone", "the daemon did not say that it knows what became of the secret"
        return "timeout", f"no phone sent a secret within {self._host.wait_s:g} s"

    def _fill(self, secret: Secret) -> None:
        self._is_filled = True
        framed = native.fill(self._id, secret)
        secret.wipe()
        try:
            with framed.view() as view:
                self._host.write(view)
        finally:
            framed.wipe()


def _text(answer: Done, name: str) -> str:
    value = answer.members.get(name)
    return value if isinstance(value, str) else ""
