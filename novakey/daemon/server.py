"""The listener: one port, two routes, a greenlet for each connection.

`Server._serve` is the edge: the one place that catches everything, logs it and
closes. What a peer can cause never reaches it.
"""

from __future__ import annotations

import contextlib
import logging
import socket

import gevent

from novakey.messages.handler import Handler
from novakey.net.admission import Admission, ConnectionSlot
from novakey.net.listener import Listener, listen
from novakey.net.pairing_slots import PairingSlots
from novakey.net.rate_limit import address_key
from novakey.net.stream import CutOffError, DeadlineError, EndOfStreamError, Stream, TooLongError
from novakey.pairing.handshake import Handshake
from novakey.system import process, systemd
from novakey.system.clock import CLOCK, Clock
from novakey.wire import Malformed, message, pair, preface
from novakey.wire.reply import Outcome, Reply

log = logging.getLogger(__name__)

GRACE_S = 5


class Server:
    """Serves one address until `stop`."""

    def __init__(
        self,
        listen_addr: str,
        max_payload_len: int,
        handshake: Handshake,
        handler: Handler,
        clock: Clock = CLOCK,
    ) -> None:
        self.listen_addr = listen_addr
        self.max_payload_len = max_payload_len
        self.handshake = handshake
        self.handler = handler
        self._ids = handler.ids
        self.monotonic = clock.monotonic
        self._limits = handler.settings
        room = process.fd_budget()
        if room < self._limits.max_connections:
            log.warning("the limit on open files allows %d connections only: see `ulimit -n`", room)
        self._admission = Admission(self._limits, room)
        for device in handler.devices:  # which is likely to have its address still
            if device.paired_from:
                self._admission.remember(device.paired_from, clock.monotonic())
        self._pairing_slots = PairingSlots(self._limits.max_pairing_connections)
        self._running: set[gevent.Greenlet] = set()
        self._listener: Listener[ConnectionSlot] | None = None

    def start(self) -> tuple[str, int]:
        """Listen and begin to accept; the bound address. `NovaKeyError` names a port in use.

        A socket that the service manager listens on already goes before `listen_addr`.
        """
        sock = systemd.take_listener() or listen(self.listen_addr)
        self._listener = Listener(sock, self._admit, self._serve)
        self._listener.start()
        host, port = sock.getsockname()[:2]
        return host, port

    def stop(self) -> None:
        """Stop accepting and let running requests finish, for at most `GRACE_S` seconds.

        Also where `start` failed, or was never called.
        """
        if self._listener is not None:
            self._listener.close()
        gevent.sleep(0)  # the connection that was just accepted gets to its first read
        gevent.joinall(list(self._running), timeout=GRACE_S)
        self.handshake.stop()
        gevent.killall(list(self._running))

    def _admit(self, address: str) -> ConnectionSlot | None:
        peer = address_key(address)
        slot = self._admission.enter(peer, self.monotonic())
        if slot is None:
            log.warning("request %d from %s: closed: too many connections", self._ids.fresh(), peer)
        return slot

    def _serve(self, sock: socket.socket, slot: ConnectionSlot) -> None:
        req_id, peer = self._ids.fresh(), slot.peer
        stream = Stream(sock)
        slot.give_way = lambda: stream.cut_off("another connection took its place")
        if slot.displaced:  # before it had its turn: what it has sent by now is still read
            slot.give_way()
        route = None
        running = gevent.getcurrent()
        self._running.add(running)
        try:
            stream.set_deadline(self._limits.preface_timeout_s)
            route = preface.parse(stream.line(self._limits.preface_max_len))
            match route:
                case preface.Route.PAIR:
                    self._pair(stream, slot, req_id)
                case preface.Route.MSG:
                    self._answer(stream, *self._message(stream, slot, req_id))
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
            slot.leave()
            self._running.discard(running)

    def _answer(self, stream: Stream, reply: Reply, whole: bool = False) -> None:
        stream.set_deadline(self._limits.reply_timeout_s)
        stream.send(reply.encode())
        stream.finish(whole)

    def _message(self, stream: Stream, slot: ConnectionSlot, req_id: int) -> tuple[Reply, bool]:
        """Read the one message: the reply, also to one that does not arrive whole, and whether it did."""
        peer, seconds = slot.peer, self._limits.message_timeout_s
        stream.set_deadline(seconds)
        try:
            prefix = stream.read_exactly(message.LENGTH_SIZE)
            payload = stream.read_exactly(message.frame_length(prefix, self.max_payload_len))
            slot.whole = True
        except Malformed as error:
            return self.handler.malformed(str(error), peer, req_id), False
        except EndOfStreamError:
            return self.handler.malformed("the message ends too early", peer, req_id), False
        except DeadlineError:
            return self.handler.malformed(
                f"the message did not arrive within {seconds} s", peer, req_id
            ), False
        reply = self.handler.answer(
            payload,
            peer,
            req_id,
            on_genuine=lambda: slot.authenticated(self.monotonic()),
            is_open=stream.is_open,
            lain_s=stream.lain_s(),
        )
        return reply, True

    def _pair(self, stream: Stream, slot: ConnectionSlot, req_id: int) -> None:
        """One pairing, where there is a slot for it; a phone that gets or keeps none is told so."""
        refusal = self.handshake.over_limit(slot.peer)
        if refusal is not None:
            log.warning("request %d from %s: pair %s: %s", req_id, slot.peer, refusal.reason, refusal.msg)
            self._refuse(stream, refusal)
            stream.finish()
            return
        pairing_slot = self._pairing_slots.take(lambda: stream.cut_off("another connection took its place"))

        def settle() -> None:
            slot.whole = True
            if pairing_slot is not None:
                pairing_slot.settle()

        try:
            if pairing_slot is None:
                raise CutOffError("another phone is pairing")
            if self.handshake.run(stream, slot.peer, req_id, on_hello=settle):
                slot.authenticated(self.monotonic())
        except CutOffError as error:
            log.info("request %d from %s: pair busy: %s", req_id, slot.peer, error)
            self._refuse(stream, pair.Refusal("busy", str(error)))
        finally:
            if pairing_slot is not None:
                pairing_slot.leave()
        stream.finish()

    def _refuse(self, stream: Stream, refusal: pair.Refusal) -> None:
        stream.set_deadline(self._limits.reply_timeout_s)
        stream.send(refusal.encode())
