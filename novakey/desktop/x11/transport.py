"""Requests as bytes over a connection of python-xlib, and the way of their replies back.

python-xlib's own way serves threads and any kind of request, and takes for each reply
as long as the server does. Only one greenlet may use a connection at a time, which
`x11_display` watches. All but the replies to requests of this module are left to python-xlib.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from threading import Lock
from typing import Any

from Xlib.protocol import rq

_HEAD = 32  # bytes that a reply, an event and an error have at least
_REPLY = 1
_AT_ONCE = 1 << 16
_MAX_REPLY = 1 << 23  # the longest, the tree of all windows, has 4 bytes for each


class PendingReply(rq.ReplyRequest):  # type: ignore[misc]
    """A request that has been queued; reading `raw` sends what is queued and waits."""

    _reply = None  # python-xlib tells requests with a reply by having this
    _data: dict[str, Any] | None
    _serial: int | None

    def __init__(self, display: Any, binary: bytes) -> None:
        self._display = display.display
        self._binary = binary
        self._serial = None
        self._data = None
        self._error = None
        self._response_lock = Lock()  # for python-xlib, which takes what we leave to it
        self._octets: bytes | None = None
        self._display.send_request(self, True)

    def _parse_response(self, data: Any) -> None:
        octets = self._octets = bytes(data)
        self._data = {"sequence_number": int.from_bytes(octets[2:4], sys.byteorder)}

    @property
    def raw(self) -> bytes:
        """The reply's bytes; raises the error that the server gave instead."""
        if self._octets is None and self._error is None:
            self._display.check_for_error()
            with self._display.exchange():
                _send(self._display)
                while self._octets is None and self._error is None:
                    _receive(self._display)
        if self._error is not None:
            raise self._error
        assert self._octets is not None
        return self._octets


class VoidRequest(rq.Request):  # type: ignore[misc]
    """Requests without a reply that have been queued, of which the server counts each."""

    def __init__(self, display: Any, requests: Sequence[bytes]) -> None:
        own = display.display
        self._errorhandler = None
        self._binary = b"".join(requests)
        self._serial = None
        own.send_request(self, False)
        own.request_serial = (own.request_serial + len(requests) - 1) % 65536


def send_and_wipe(display: Any, requests: bytearray, count: int) -> None:
    """Send so many requests that hold parts of a secret, after those that are queued, and overwrite them.

    No copy is made on the way.
    """
    own = display.display
    try:
        with own.exchange():
            _send(own)
            try:
                own.socket.sendall(requests)
            except OSError as error:
                own.close_internal(f"server: {error}")
                raise own.socket_error from None
            own.request_serial = (own.request_serial + count) % 65536
    finally:
        requests[:] = bytes(len(requests))


def _send(own: Any) -> None:
    queue = list(own.request_queue)
    own.request_queue.clear()
    data = own.data_send + b"".join(request._binary for request, _ in queue)
    own.sent_requests += [request for request, has_reply in queue if has_reply]
    own.data_send = b""
    try:
        own.socket.sendall(data)
    except OSError as error:
        own.close_internal(f"server: {error}")
        raise own.socket_error from None


def _receive(own: Any) -> None:
    """Wait for something from the server, and take in all that is there."""
    try:
        came = own.socket.recv(_AT_ONCE)
    except OSError as error:
        own.close_internal(f"server: {error}")
        raise own.socket_error from None
    if not came:
        own.close_internal("server")
        raise own.socket_error
    data = bytes(own.data_recv) + came
    at = 0
    while (
        (size := _reply_size(data, at))
        and own.sent_requests
        and isinstance(own.sent_requests[0], PendingReply)
    ):
        request = own.sent_requests[0]
        if request._serial != int.from_bytes(data[at + 2 : at + 4], sys.byteorder):
            break
        del own.sent_requests[0]
        request._octets = data[at : at + size]
        at += size
    own.data_recv = data[at:]
    own.recv_packet_len = 0  # what is left begins with a packet
    if own.data_recv:
        own.parse_response(None)


def _reply_size(data: bytes, at: int) -> int:
    """How long the reply is that begins here; 0 where there is none, or not yet all of it."""
    if len(data) - at < _HEAD or data[at] != _REPLY:
        return 0
    size = _HEAD + 4 * int.from_bytes(data[at + 4 : at + 8], sys.byteorder)
    if size > _MAX_REPLY:
        raise ValueError("a reply that is too long")
    return size if len(data) - at >= size else 0
