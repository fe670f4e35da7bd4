"""One pairing, as the server sees it. Read `Handshake.run`: it is the protocol.

hello -> server key -> register -> stored durably -> acknowledgement
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Protocol

import gevent
from gevent.util import wrap_errors

from novakey.config.settings import Settings
from novakey.devices.store import Device, DeviceStore
from novakey.errors import StoreError
from novakey.net.rate_limit import RateLimiter
from novakey.net.stream import DeadlineError, EndOfStreamError, Stream, TooLongError
from novakey.pairing import refusal
from novakey.pairing.clock import WindowClock
from novakey.pairing.refusal import RefusedPhone, RefusedPhoneError
from novakey.pairing.state import Pairing, RefusedHelloError
from novakey.secret import Secret
from novakey.system import interfaces
from novakey.wire import Malformed, crypto, pair

log = logging.getLogger(__name__)

_ALL_ADDRESSES = 4  # times the limit of one: many addresses gain little
_EVERYBODY = "everybody"
_WRITE_S = 1.5
_NO_TOKEN = frozenset({"bad_token", "bad_request", "not_pairing", "other_network"})
_TOO_MANY = "too many pairing requests, wait a minute"


class HandshakeError(Exception):
    """The handshake ended without a device; says why, for the log."""


class Events(Protocol):
    """Who hears what becomes of the handshakes."""

    def paired(self, device: Device, again: bool) -> None:
        """Hear of a device that is stored, before its acknowledgement leaves; `again` where it was known."""

    def refused(self, phone: RefusedPhone) -> None:
        """Hear of a phone that may not pair."""

    def changed(self) -> None:
        """Hear that the window may have ended."""


class Handshake:
    """Serves `/pair`. One object for the daemon; a handshake lives in `run`."""

    def __init__(
        self,
        settings: Settings,
        pairing: Pairing,
        devices: DeviceStore,
        server: crypto.Decapsulator,
        events: Events,
        clock: WindowClock,
        shown_host: Callable[[], str] = lambda: "",
    ) -> None:
        """Serve no connection yet. `shown_host` is the host in the QR of the open window."""
        self.settings = settings
        self.pairing = pairing
        self.devices = devices
        self.server = server
        self.events = events
        self.clock = clock
        self.shown_host = shown_host
        self._hellos = RateLimiter(settings.pair_hello_max_per_min, settings.max_tracked_addresses)
        self._wrong_hellos = RateLimiter(settings.pair_hello_max_per_min * _ALL_ADDRESSES, 1)
        self._registered: tuple[pair.Registration, Device] | None = None
        self._refused: RefusedPhone | None = None

    def over_limit(self, peer: str) -> pair.Refusal | None:
        """Count a connection to `/pair`; what to tell it where its address made too many, else None.

        To be asked before the connection gets a place among those that pair: one address that is far
        over its limit would push the phone out of its place, again and again.
        """
        if self._hellos.allow(peer, self.clock.monotonic()):
            return None
        return pair.Refusal("rate_limit", _TOO_MANY)

    def stop(self) -> None:
        """See `Pairing.stop`: the daemon ends."""
        self.pairing.stop()

    def run(self, stream: Stream, peer: str, req_id: int, on_hello: Callable[[], None]) -> bool:
        """Serve one connection, which the caller closes; whether a device paired.

        `on_hello` is called once the token was right. Of what a peer can cause, only the stream's errors
        before that are raised.
        """
        began = self.clock.monotonic()
        try:
            stream.set_deadline(self.settings.hello_timeout_s)
            token, repeating = self._hello(stream, peer, on_hello)
        except RefusedHelloError as error:
            refused = self._limited(error)
            log.warning("request %d from %s: pair %s: %s", req_id, peer, refused.reason, refused.msg)
            self.events.changed()
            stream.send(pair.Refusal(refused.reason, refused.msg).encode())
            return False
        device, again = None, False
        try:
            on_hello()
            device, again, acknowledgement = self._register(stream, token, peer, repeating, began)
        except RefusedPhoneError as error:
            log.warning("request %d from %s: pair refused: %s", req_id, peer, error)
            self.pairing.refused(self.clock())
            self._refused = error.refused
            self.events.refused(error.refused)
        except (HandshakeError, Malformed) as error:
            log.warning("request %d from %s: pair failed: %s", req_id, peer, error)
        except StoreError as error:
            log.error("request %d from %s: pair failed: %s", req_id, peer, error.in_one_line)
        finally:  # also after an error the window must not stay taken
            if device is None and not repeating and self.pairing.holds(token):
                self.pairing.failed(self.clock())
            self.events.changed()
        if device is not None:
            if not repeating:
                self.events.paired(device, again)
            stream.set_deadline(self.settings.reply_timeout_s)
            stream.send(acknowledgement)
            log.info("request %d from %s: pair ok%s", req_id, peer, " (repeated)" if repeating else "")
        return device is not None

    def _hello(self, stream: Stream, peer: str, on_hello: Callable[[], None]) -> tuple[Secret, bool]:
        """Begin the handshake; return the right token, and whether it repeats a registration."""
        try:
            token = pair.decode_hello(stream.line(self.settings.hello_max_len))
        except TooLongError:
            raise RefusedHelloError("bad_request", "the hello is too long") from None
        except Malformed as error:
            raise RefusedHelloError("bad_request", f"not a pairing hello: {error}") from None
        self._refuse_elsewhere(token, peer)
        self._tell_refused(token, peer)
        if self.pairing.waits_for(token):
            on_hello()  # before the disk is waited for: a newer connection must not take this one's place
        try:
            return token, self._begin(token)
        except StoreError:
            raise RefusedHelloError(
                "storage", "this computer cannot write to its disk, so it cannot pair now"
            ) from None

    def _begin(self, token: Secret) -> bool:
        """Begin the handshake; whether it repeats a registration. A disk that is too slow refuses it.

        A phone waits 5 s for its acknowledgement, which needs two writes such as this one.
        """
        hello = wrap_errors((RefusedHelloError, StoreError), self.pairing.hello)
        beginning = gevent.spawn(hello, token, self.clock())
        try:
            begun = beginning.get(timeout=_WRITE_S)
        except gevent.Timeout:
            gevent.spawn(self._give_back, token, beginning)
            raise RefusedHelloError(
                "storage", "this computer's disk is too slow to pair now: try again in a minute"
            ) from None
        if isinstance(begun, Exception):
            raise begun
        return bool(begun)

    def _give_back(self, token: Secret, beginning: gevent.Greenlet) -> None:
        """End a handshake that began too late."""
        if beginning.get() is False and self.pairing.holds(token):
            self.pairing.failed(self.clock())
        self.events.changed()

    def _refuse_elsewhere(self, token: Secret, peer: str) -> None:
        """Refuse a phone that comes through a router, such as by a forwarded port (`pair_from`)."""
        if self.settings.pair_from == "any" or interfaces.is_attached(peer, interfaces.interfaces()):
            return
        refused = refusal.elsewhere(peer)
        if self.pairing.waits_for(token):  # else a stranger on the internet could tell the owner things
            self.events.refused(refused)
        raise RefusedHelloError(*refused.line)

    def _tell_refused(self, token: Secret, peer: str) -> None:
        """Answer the next hello of a phone that was refused with the reason, once.

        After a register the wire has only a silent close. Another phone may have the same address, so
        the hello after this one begins a handshake.
        """
        refused = self._refused
        if refused is None or refused.peer != peer or not self.pairing.waits_for(token):
            return
        self._refused = None
        if self._refusal(refused.device_id, peer) is not None:  # else the owner has made room for it
            raise RefusedHelloError(*refused.line)

    def _refusal(self, device_id: str, peer: str) -> RefusedPhone | None:
        return refusal.of(device_id, self.devices, self.settings.rotate_device_psk_on_repair, peer)

    def _limited(self, refused: RefusedHelloError) -> RefusedHelloError:
        """Return the refusal, or that there were too many like it from all addresses together.

        Only what came without the right token counts, and only that is told: a stranger with many addresses
        must not be able to keep the owner's phone out.
        """
        if refused.reason not in _NO_TOKEN or self._wrong_hellos.allow(_EVERYBODY, self.clock.monotonic()):
            return refused
        return RefusedHelloError("rate_limit", _TOO_MANY)

    def _register(
        self, stream: Stream, token: Secret, peer: str, repeating: bool, began: float
    ) -> tuple[Device, bool, bytes]:
        """Answer the hello, read the register, store the device.

        Returns the device, whether it paired again, and its acknowledgement.
        """
        now = self.clock()
        seconds = self._time_to_register(now, began)
        stream.set_deadline(seconds)
        try:
            stream.send(pair.ServerKey(self.server.public, now + seconds).encode())
            reader = pair.RegisterReader(self.server, token, self.settings.register_max_len)
            while (registration := reader.feed(stream.read_some())) is None:
                if stream.ended:
                    raise HandshakeError("the phone stopped before its register was whole and genuine")
        except DeadlineError:
            raise HandshakeError("the phone took too long") from None
        except EndOfStreamError:
            raise HandshakeError("the phone hung up") from None
        if repeating:
            device, again = self._known(registration), False
        else:
            device, again = self._store(registration, token, peer)
        key = None if registration.device_key else device.key
        return device, again, reader.acknowledge(os.urandom(crypto.NONCE_SIZE), device.id, key)

    def _time_to_register(self, now: int, began: float) -> int:
        """Seconds: a phone does it in well under one, and the window has to be given back soon."""
        of_all = self.settings.pairing_timeout_s - int(self.clock.monotonic() - began)
        seconds = max(1, min(self.settings.register_timeout_s, of_all))
        window = self.pairing.window
        return seconds if window is None else min(seconds, window.expires - now)

    def _store(self, registration: pair.Registration, token: Secret, peer: str) -> tuple[Device, bool]:
        """Store the device, or the new key of a device that is paired; whether it is the latter."""
        if not self.pairing.holds(token):
            raise HandshakeError("the window has been closed")
        device_id = registration.device_id or f"ios-{os.urandom(8).hex()}"
        refused = self._refusal(device_id, peer)
        if refused is not None:
            raise RefusedPhoneError(refused)
        now, known = self.clock(), self.devices.get(device_id)
        key = registration.device_key or Secret(os.urandom(crypto.KEY_SIZE))
        device = Device(device_id, key, now, peer, known.name if known else "", self.shown_host())
        self.devices.add(device, crypto.fingerprint(self.server.public))
        self.pairing.registered(now, device.id, len(self.devices))
        self._registered = (registration, device)
        return device, known is not None

    def _known(self, registration: pair.Registration) -> Device:
        """Return the device of a repeated registration, which must be the very same one.

        The token went over the network in the clear. Only a key that the phone
        itself chose tells it from a reader of the token there: one that the
        server chose is given away once.
        """
        if registration.device_key is None:
            raise HandshakeError("a repeated registration without a key")
        if self._registered is None or self._registered[0] != registration:
            raise HandshakeError("a repeated registration with another id or key")
        device = self.devices.get(self._registered[1].id)  # its owner may have named it by now
        if device is None or device.key != self._registered[1].key:
            raise HandshakeError("the device has been revoked")
        return device
