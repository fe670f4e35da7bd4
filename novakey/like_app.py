"""What the app in the field does and shows, for people who have no such phone at hand.

The reference phone is stricter and more patient than that app. The app compares the fingerprint with
nothing, reads the acknowledgement in one piece within 5 s, arms for 15 s always, and approves before each
secret. It sends a secret that failed once more by itself. Its sentence depends on the status number alone.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable
from typing import NamedTuple

from novakey import phone
from novakey.errors import NovaKeyError
from novakey.net.stream import DeadlineError, EndOfStreamError, Stream, TooLongError
from novakey.phone import NoReplyError, Profile, UnreachableError
from novakey.secret import Secret
from novakey.wire import Malformed, ProtocolError, crypto, jsonline, pair, preface, uri
from novakey.wire.message import MessageType
from novakey.wire.reply import Reply

ARM_MS = 15000
PAUSE_S = 0.25
ACKNOWLEDGEMENT_S = 5
SERVER_KEY_S = 60  # the app has no deadline
MAX_LINE = 16 * 1024

MISMATCH = "Server address mismatch"
WORKING = "Working…"
_BY_STATUS = {
    0x00: "Sent to {name}",
    0x01: "Computer isn't armed… Arm NovaKey-Daemon and send again",
    0x02: "Computer needs approval. Approve on the computer, then try again.",
    0x03: "Not paired with {name}. Re-pair…",
    0x04: "Request rejected by the computer.",
    0x05: "Clock check failed…",
    0x06: "Replay detected. Try sending again.",
    0x07: "Rate limited… Wait a moment…",
    0x08: "Secure channel failed. Re-pair with the computer…",
    0x09: "Copied to clipboard. Paste into the focused field. ({msg})",
    0x7F: "Computer error. Try again (or check daemon logs).",
}


class Step(NamedTuple):
    """One message of a tap; `reply` is None where none came."""

    kind: MessageType
    reply: Reply | None


class Shown(NamedTuple):
    """What the person reads, empty where the app shows nothing that is known; and whether it succeeded."""

    text: str
    success: bool
    steps: tuple[Step, ...] = ()
    profile: Profile | None = None


def new_device_id() -> str:
    """Return an id such as the app makes once for each phone."""
    return f"ios-{secrets.token_hex(4).upper()}"


def pair_with(text: str, device_id: str, listener: str | None = None) -> Shown:
    """Pair by the text of a QR, or by a pasted link where `listener` is None.

    Args:
        text: the link.
        device_id: the id of this phone.
        listener: `HOST:PORT` as it was typed in; it is compared with the link's as text.

    """
    try:
        target = uri.decode(text)
    except Malformed as error:
        raise NovaKeyError(str(error), "scan the daemon's QR again") from None
    if target.expires < time.time():
        return Shown("expired…", False)
    if listener is not None and listener != f"{target.host}:{target.port}":
        return Shown(MISMATCH, False)
    try:
        with phone.connect(target.host, target.port) as sock:
            return _pair(sock, target, device_id)
    except UnreachableError:
        return Shown(WORKING, False)


def _pair(sock: socket.socket, target: uri.PairingUri, device_id: str) -> Shown:
    stream = Stream(sock)
    stream.set_deadline(SERVER_KEY_S)
    try:
        stream.send(preface.Route.PAIR.value)
        stream.send(pair.encode_hello(target.token))
        line = stream.line(MAX_LINE)
    except (DeadlineError, EndOfStreamError, TooLongError):
        return Shown("no newline in server_key", False)
    try:
        answer = pair.decode_server_line(line)
    except ProtocolError:
        answer = None
    if not isinstance(answer, pair.ServerKey):
        return Shown(line.decode("utf-8", "replace").strip(), False)
    registration = pair.Registration(device_id, Secret(secrets.token_bytes(crypto.KEY_SIZE)))
    nonce = secrets.token_bytes(crypto.NONCE_SIZE)
    frame, ciphertext, key = pair.seal_registration(registration, answer.public, target.token, nonce)
    try:
        stream.send(frame)
        sock.shutdown(socket.SHUT_WR)
    except (DeadlineError, EndOfStreamError, OSError):
        return Shown("Pairing failed", False)
    failure = _acknowledgement(sock, ciphertext, key)
    if failure:
        return Shown(failure, False)
    assert registration.device_key is not None
    profile = Profile(target.host, target.port, device_id, registration.device_key, answer.public)
    return Shown(f"Paired with {target.host}", True, profile=profile)


def _acknowledgement(sock: socket.socket, ciphertext: bytes, key: bytes) -> str:
    """Read 24 bytes and then once more; return what went wrong, or nothing."""
    sock.settimeout(ACKNOWLEDGEMENT_S)
    nonce, sealed = b"", b""
    try:
        while len(nonce) < crypto.NONCE_SIZE and (piece := sock.recv(crypto.NONCE_SIZE - len(nonce))):
            nonce += piece
        sealed = sock.recv(phone.MAX_LINE)
    except OSError:
        pass
    if len(nonce) < crypto.NONCE_SIZE:
        return f"connection closed while reading (got {len(nonce)}/24)"
    try:
        pair.decode_acknowledgement(nonce + sealed, ciphertext, key)
    except ProtocolError:
        return "Pairing failed"
    return ""


def arm(profile: Profile) -> Shown:
    """Tap *Arm Computer (15s)*."""
    shown = _message(profile, MessageType.ARM, Secret(jsonline.encode({"ms": ARM_MS})))
    return shown._replace(text="" if shown.success else f"Arm failed: {shown.text}")


def disarm(profile: Profile) -> Shown:
    """Tap *Disarm Computer*."""
    shown = _message(profile, MessageType.DISARM, Secret(b""))
    return shown._replace(text="") if shown.success else shown


def send(profile: Profile, secret: Secret, sleep: Callable[[float], None] = time.sleep) -> Shown:
    """Tap *Send*: approve and inject; once more where the inject failed or its reply was lost."""
    steps: tuple[Step, ...] = ()
    for _ in range(2):
        shown = _message(profile, MessageType.APPROVE, Secret(b""))
        steps += shown.steps
        if not shown.success:
            break
        sleep(PAUSE_S)
        shown = _message(profile, MessageType.INJECT, secret)
        steps += shown.steps
        if shown.success:
            break
    return shown._replace(steps=steps)


def _message(profile: Profile, kind: MessageType, payload: Secret) -> Shown:
    try:
        reply = phone.send(profile, kind, payload)
    except UnreachableError:
        return Shown(WORKING, False, (Step(kind, None),))
    except NoReplyError:
        return Shown("", False, (Step(kind, None),))
    text = _BY_STATUS[reply.outcome.status].format(name=profile.host, msg=reply.msg)
    return Shown(text, reply.outcome.success, (Step(kind, reply),))
