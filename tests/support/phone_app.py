"""The phone app in the field, as a double: what it keeps, what it sends, and what its owner reads.

A test uses it as a person uses the app: add a listener, scan or paste, arm, send. Each step returns the
`Screen` that the person sees. The double shares no code with the package that it is run against.

The page of facts does not say what the app shows for an unreadable link, for a lost reply, or after arming
and disarming: there the screen has no text. It tells of the endless connect for pairing only; the double
connects for messages in the same way.
"""

from __future__ import annotations

import base64
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from support import phone_frames as frames

if TYPE_CHECKING:
    from support.daemon import Daemon

    from novakey.phone import Profile

DEFAULT_PORT = 60768
ARM_MS = 15000  # always: the app has no other
PAUSE_S = 0.25  # between approve and inject
ACKNOWLEDGEMENT_S = 5.0
MAX_LINE = 16 * 1024
FOREVER_S = 120.0  # the app has no deadline here; a test must end

EXPIRED = "expired…"
MISMATCH = "Server address mismatch"
WORKING = "Working…"
NO_LINE = "no newline in server_key"
CLOSED = "connection closed while reading (got {got}/24)"
PAIRING_FAILED = "Pairing failed"
PAIRED = "Paired with {name}"
ARM_FAILED = "Arm failed: {why}"
BY_STATUS = {
    0: "Sent to {name}",
    9: "Copied to clipboard. Paste into the focused field. ({msg})",
    1: "Computer isn't armed… Arm NovaKey-Daemon and send again",
    2: "Computer needs approval. Approve on the computer, then try again.",
    3: "Not paired with {name}. Re-pair…",
    8: "Secure channel failed. Re-pair with the computer…",
    4: "Request rejected by the computer.",
    5: "Clock check failed…",
    6: "Replay detected. Try sending again.",
    7: "Rate limited… Wait a moment…",
    0x7F: "Computer error. Try again (or check daemon logs).",
}
SENTENCES = (
    *(EXPIRED, MISMATCH, WORKING, NO_LINE, CLOSED, PAIRING_FAILED, PAIRED, ARM_FAILED),
    *BY_STATUS.values(),
)
_SUCCESS = (0, 9)


@dataclass(frozen=True)
class Screen:
    """What the person reads, and what stands behind *Show technical details?*."""

    text: str
    ok: bool = False
    details: str = ""


@dataclass(frozen=True)
class Listener:
    """A computer as the person has typed it. There is no way to edit it."""

    name: str
    host: str
    port: int

    @property
    def address(self) -> str:
        """The text that is compared with the QR's, and lower-cased the name of the pairing record."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Record:
    """A pairing."""

    device_id: str
    device_key: bytes
    public: bytes


@dataclass(frozen=True)
class _Link:
    address: str
    host: str
    port: int
    token: str
    fingerprint: str


class _End(Exception):
    """The step is over; carries its screen."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.screen = Screen(text)


class PhoneApp:
    """One phone with the app.

    `confirm` answers the question before a pairing, `face_id` is the look before a secret leaves;
    `unix_time` is the phone's own clock. `free` is the version that keeps one listener.
    """

    def __init__(
        self,
        free: bool = False,
        confirm: Callable[[str], bool] = lambda question: True,
        face_id: Callable[[], bool] = lambda: True,
        unix_time: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._free = free
        self._confirm = confirm
        self._face_id = face_id
        self._unix_time = unix_time
        self._sleep = sleep
        self._listeners: list[Listener] = []
        self._target: Listener | None = None
        self._swiped = threading.Event()
        self.working = threading.Event()
        self.records: dict[str, Record] = {}
        self.device_id = _new_device_id()

    # ---- what it keeps ----

    def add_listener(self, name: str, host: str, port: int = DEFAULT_PORT) -> None:
        """Type in a computer; it becomes the send target. The free version has no screen for a second one."""
        if self._free and self._listeners:
            raise AssertionError("the free version's screen for listeners does not open again")
        self._target = Listener(name, host.strip(), port)
        self._listeners.append(self._target)

    def choose(self, name: str) -> None:
        """Make another listener the send target."""
        (self._target,) = (listener for listener in self._listeners if listener.name == name)

    def delete_listener(self, name: str) -> None:
        """Delete a listener; its pairing goes with it."""
        (gone,) = (listener for listener in self._listeners if listener.name == name)
        self._listeners.remove(gone)
        self.records.pop(gone.address.lower(), None)
        if self._target is gone:
            self._target = self._listeners[0] if self._listeners else None

    def reinstall(self) -> None:
        """Remove the app and install it again: pairings and device id outlive it, no listener does."""
        self._listeners, self._target = [], None

    def reset_pairing(self) -> None:
        """*Reset Pairing*: only this gives the phone another device id."""
        self.records.clear()
        self.device_id = _new_device_id()

    def swipe_away(self) -> None:
        """End the app: the one way out of "Working…"."""
        self._swiped.set()

    # ---- pairing ----

    def scan(self, text: str) -> Screen:
        """Scan a QR."""
        try:
            link = self._read(text)
            if self._target is None or self._target.address != link.address:
                return Screen(MISMATCH)
            return self._pair(link)
        except _End as end:
            return end.screen

    def paste(self, text: str) -> Screen:
        """Paste a link, whose address is not compared with the listener; or the JSON of a ready pairing."""
        try:
            if text.lstrip().startswith("{"):
                return self._take(json.loads(text))
            return self._pair(self._read(text))
        except _End as end:
            return end.screen

    def _read(self, text: str) -> _Link:
        parts = urlsplit(text.strip())
        members = {name: values[0] for name, values in parse_qs(parts.query).items()}
        host, port = members.get("host", ""), members.get("port", "")
        if not (host and port):
            host, _, port = members.get("addr", "").rpartition(":")
        whole = (parts.scheme, parts.netloc) == ("novakey", "pair") and members.get("v", "3") == "3"
        if not (whole and members.get("token") and host and port.isdigit()):
            raise _End("")
        if "exp" in members and int(members["exp"]) < self._unix_time():
            raise _End(EXPIRED)
        return _Link(f"{host}:{port}", host, int(port), members["token"], members.get("fp", ""))

    def _take(self, blob: dict[str, str]) -> Screen:
        public = base64.b64decode(blob["server_kyber768_pub"])
        record = Record(blob["device_id"], bytes.fromhex(blob["device_key_hex"]), public)
        self.records[blob["server_addr"].lower()] = record
        return self._paired()

    def _paired(self) -> Screen:
        return Screen(PAIRED.format(name=self._target.name if self._target else ""), ok=True)

    def _pair(self, link: _Link) -> Screen:
        """Pair. The fingerprint goes to the daemon in the hello, and is compared with nothing."""
        if not self._confirm(link.address):
            return Screen("")
        with self._connect(link.host, link.port) as sock:
            sock.sendall(frames.PAIR)
            sock.sendall(frames.hello(link.token, link.fingerprint))
            line = _line(sock)
            if line is None:
                return Screen(NO_LINE)
            public = frames.server_key(line)
            if public is None:
                return Screen(line.decode("utf-8", "replace"))
            device_key = secrets.token_bytes(32)  # a new one at every try
            register = frames.Register(public, link.token, self.device_id, device_key)
            sock.sendall(register.frame)
            sock.shutdown(socket.SHUT_WR)
            self._acknowledge(sock, register)
        self.records[link.address.lower()] = Record(self.device_id, device_key, public)
        return self._paired()

    def _acknowledge(self, sock: socket.socket, register: frames.Register) -> None:
        """24 bytes, then one receive: the second part of one that comes in pieces is never read."""
        sock.settimeout(ACKNOWLEDGEMENT_S)
        nonce = b""
        try:
            while len(nonce) < frames.NONCE_SIZE and (piece := sock.recv(frames.NONCE_SIZE - len(nonce))):
                nonce += piece
            sealed = sock.recv(4096)
        except OSError:
            sealed = b""
        if len(nonce) < frames.NONCE_SIZE:
            raise _End(CLOSED.format(got=len(nonce)))
        if not register.acknowledged(nonce, sealed):
            raise _End(PAIRING_FAILED)

    # ---- messages ----

    def arm(self) -> Screen:
        """*Arm Computer (15s)*."""
        screen = self._message(frames.ARM, json.dumps({"ms": ARM_MS}, separators=(",", ":")).encode())
        if screen.ok:
            return Screen("", ok=True, details=screen.details)
        return Screen(ARM_FAILED.format(why=screen.text), details=screen.details)

    def disarm(self) -> Screen:
        """*Disarm Computer*."""
        screen = self._message(frames.DISARM)
        return Screen("", ok=True, details=screen.details) if screen.ok else screen

    def send(self, secret: str) -> Screen:
        """*Send*: after Face ID approve and inject. A failed inject, or a lost reply, is tried once more."""
        if not self._face_id():
            return Screen("")
        for _ in range(2):
            screen = self._message(frames.APPROVE)
            if not screen.ok:
                return screen  # the secret is not sent
            self._sleep(PAUSE_S)
            screen = self._message(frames.INJECT, secret.encode())
            if screen.ok:
                break
        return screen

    def _message(self, kind: int, payload: bytes = b"") -> Screen:
        """One message on a connection of its own. The screen depends on the status number alone."""
        target = self._target
        record = self.records.get(target.address.lower()) if target else None
        if target is None or record is None:
            return Screen(BY_STATUS[3].format(name=target.name if target else ""))
        now = int(self._unix_time())
        frame = frames.message(record.public, record.device_id, record.device_key, kind, payload, now)
        try:
            with self._connect(target.host, target.port) as sock:
                sock.sendall(frames.MSG)
                sock.sendall(frame)
                reply = frames.reply(_line(sock) or b"")
        except _End as end:
            return end.screen
        except OSError:
            reply = None
        if reply is None:
            return Screen("")
        status, msg = reply
        text = BY_STATUS.get(status, BY_STATUS[0x7F]).format(name=target.name, msg=msg)
        return Screen(text, status in _SUCCESS, msg)

    def _connect(self, host: str, port: int) -> socket.socket:
        """Connect. A refusal is not the end of it: the app waits until it is swiped away."""
        try:
            sock = socket.create_connection((host, port), timeout=FOREVER_S)
        except OSError:
            self.working.set()
            assert self._swiped.wait(FOREVER_S), "the app waits for ever, and no test ended it"
            raise _End(WORKING) from None
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # two writes are two segments
        return sock


def _new_device_id() -> str:
    return f"ios-{secrets.token_hex(4).upper()}"


def _line(sock: socket.socket) -> bytes | None:
    """Return the line without its end; None where none comes within 16 KiB or before the close."""
    received = b""
    try:
        while b"\n" not in received and len(received) < MAX_LINE and (piece := sock.recv(4096)):
            received += piece
    except TimeoutError:
        raise AssertionError("the app waits for ever, and no test ended it") from None
    except OSError:
        return None
    line, end, _ = received.partition(b"\n")
    return line if end else None


def app(daemon: Daemon, **options: Any) -> PhoneApp:
    """Return a phone with this computer as its listener; it does not wait between approve and inject."""
    phone = PhoneApp(**{"sleep": lambda seconds: None, **options})
    phone.add_listener("desk", "127.0.0.1", daemon.port)
    return phone


def paired(daemon: Daemon, **options: Any) -> PhoneApp:
    """Return the same, paired by the daemon's QR."""
    phone = app(daemon, **options)
    assert phone.scan(daemon.uri()) == Screen("Paired with desk", ok=True)
    return phone


def scanned(daemon: Daemon, phone: PhoneApp) -> Screen:
    """Scan a QR that the owner opens for it, whether or not phones are paired."""
    from novakey.control import client
    from novakey.system.paths import Paths

    with client.request(Paths.under(daemon.folder), "pair", add=True) as asked:
        window = asked.next(20)
        return phone.scan(window.members["uri"])  # type: ignore[union-attr]


def one_more(daemon: Daemon) -> PhoneApp:
    """Another phone, paired in a window that the owner opens."""
    phone = app(daemon)
    assert scanned(daemon, phone).ok
    return phone


def revoke(daemon: Daemon, phone: PhoneApp) -> None:
    """Revoke the phone as its owner does."""
    from support.daemon import run

    done = run("--data-dir", daemon.folder, "devices", "revoke", phone.device_id)
    assert done.returncode == 0, done.stderr


def blob(profile: Profile) -> str:
    """Return a pairing of the reference phone as the JSON that the app takes in place of a scan."""
    return json.dumps(
        {
            "v": 3,
            "device_id": profile.device_id,
            "device_key_hex": profile.device_key.reveal().hex(),
            "server_addr": f"{profile.host}:{profile.port}",
            "server_kyber768_pub": base64.b64encode(profile.public).decode(),
        }
    )


def with_app(profile: Profile, **options: Any) -> PhoneApp:
    """Return the app with a pairing of the reference phone: the same device, driven as a person does."""
    phone = PhoneApp(**{"sleep": lambda seconds: None, **options})
    phone.add_listener("desk", profile.host, profile.port)
    assert phone.paste(blob(profile)).ok
    return phone
