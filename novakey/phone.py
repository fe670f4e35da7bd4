"""The reference phone: pairs with a daemon and sends it messages, over real sockets.

It does what a phone in the field does, and is what the tests drive. Its profile
holds its key, so the file is owner-only and replaced whole.
"""

from __future__ import annotations

import base64
import contextlib
import secrets
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from novakey.errors import NovaKeyError, SetupError, StoreError
from novakey.net.stream import DeadlineError, EndOfStreamError, Stream, TooLongError
from novakey.secret import Secret
from novakey.system import files, process
from novakey.wire import Malformed, ProtocolError, crypto, jsonline, message, pair, preface, uri
from novakey.wire.message import Message, MessageType
from novakey.wire.reply import Reply
from novakey.wire.reply import decode as decode_reply

CONNECT_S = 5
PAIRING_S = 10
REPLY_S = 75  # longer than the daemon waits for its owner (approve_wait_ms), so that its own reply arrives
MAX_LINE = 4096


class UnreachableError(NovaKeyError):
    """No connection to the daemon."""


class NoReplyError(NovaKeyError):
    """The daemon closed, or was silent for too long, before it replied."""


@dataclass(frozen=True)
class Profile:
    """One pairing, as the phone keeps it."""

    host: str
    port: int
    device_id: str
    device_key: Secret
    public: bytes

    def save(self, path: Path) -> None:
        """Write the profile, owner-only."""
        members = {
            "v": 1,
            "host": self.host,
            "port": self.port,
            "device_id": self.device_id,
            "device_key_hex": self.device_key.reveal().hex(),
            "kyber_pub_b64": base64.b64encode(self.public).decode(),
        }
        if not path.parent.is_dir():
            files.private_folder(path.parent)
        files.replace_private(path, jsonline.encode(members) + b"\n")


def load_profile(path: Path) -> Profile:
    """Read a profile; `StoreError` when there is none or it is damaged."""
    data = files.read_private(path)
    if data is None:
        raise StoreError(f"there is no profile {path}", "pair first: novakey.py phone pair")
    try:
        members = jsonline.decode(data)
        return Profile(
            jsonline.string(members, "host"),
            jsonline.integer(members, "port"),
            jsonline.string(members, "device_id"),
            Secret(bytes.fromhex(jsonline.string(members, "device_key_hex"))),
            base64.b64decode(jsonline.string(members, "kyber_pub_b64"), validate=True),
        )
    except (ProtocolError, ValueError):
        raise StoreError(
            f"the profile {path} is damaged", "pair again: novakey.py phone pair --replace"
        ) from None


def read_picture(path: Path) -> str:
    """Return the text of the QR in a picture, through `zbarimg`."""
    argv = ["zbarimg", "-q", "--raw", str(path.absolute())]
    try:
        # Only the path is an argument; what the QR says comes through the pipe.
        done = subprocess.run(  # noqa: S603
            argv,
            env=process.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=20,
            check=False,
        )
    except FileNotFoundError:
        raise SetupError(
            "reading a picture needs zbarimg", "apt install zbar-tools, or give the URI on standard input"
        ) from None
    except subprocess.TimeoutExpired:
        raise NovaKeyError(f"zbarimg did not finish with {path}") from None
    if done.returncode != 0:
        raise NovaKeyError(f"there is no readable QR in {path}", "is the window still open? see the daemon")
    return done.stdout.decode("utf-8", "replace").strip()


def pair_with(text: str, device_id: str | None = None, device_key: Secret | None = None) -> Profile:
    """Pair by the text of a QR. The fingerprint is compared before anything of ours is sent."""
    try:
        target = uri.decode(text)
    except Malformed as error:
        raise NovaKeyError(str(error), "scan the daemon's QR again") from None
    if target.expires <= time.time():
        raise NovaKeyError("this QR has expired", "start the daemon again for a new one")
    registration = pair.Registration(
        device_id or f"ios-{secrets.token_hex(4)}", device_key or Secret(secrets.token_bytes(crypto.KEY_SIZE))
    )
    with connect(target.host, target.port) as sock:
        stream = Stream(sock)
        stream.set_deadline(PAIRING_S)
        try:
            return _pair(stream, target, registration, sock)
        except (DeadlineError, EndOfStreamError, TooLongError):
            raise NovaKeyError(
                "the daemon closed the connection before it acknowledged",
                "look at its log; within a minute the same registration may be repeated",
            ) from None
        except ProtocolError as error:
            raise NovaKeyError(f"the daemon broke the protocol: {error}") from None


def _pair(
    stream: Stream, target: uri.PairingUri, registration: pair.Registration, sock: socket.socket
) -> Profile:
    stream.send(preface.Route.PAIR.value + pair.encode_hello(target.token))
    answer = pair.decode_server_line(stream.line(MAX_LINE))
    if isinstance(answer, pair.Refusal):
        raise NovaKeyError(f"the daemon refused: {answer.reason}: {answer.msg}")
    if crypto.fingerprint(answer.public) != target.fingerprint:
        raise NovaKeyError(
            "the daemon's key is not the one in the QR; nothing was sent to it",
            "somebody may be between the phone and the computer: pair on a network that you trust",
        )
    nonce = secrets.token_bytes(crypto.NONCE_SIZE)
    frame, ciphertext, key = pair.seal_registration(registration, answer.public, target.token, nonce)
    stream.send(frame)
    with contextlib.suppress(OSError):  # reset already: reading says so
        sock.shutdown(socket.SHUT_WR)
    acknowledgement = b""
    while piece := stream.read_some():
        acknowledgement += piece
        if len(acknowledgement) > MAX_LINE:
            raise TooLongError
    if not acknowledgement:
        raise EndOfStreamError
    stored = pair.decode_acknowledgement(acknowledgement, ciphertext, key)
    device_key = stored.device_key or registration.device_key
    if device_key is None or not stored.device_id:
        raise Malformed("the acknowledgement names no device or no key")
    return Profile(target.host, target.port, stored.device_id, device_key, answer.public)


def send(profile: Profile, kind: MessageType, payload: Secret, timestamp: int | None = None) -> Reply:
    """Send one message and return the reply; `NovaKeyError` when there is none."""
    now = int(time.time()) if timestamp is None else timestamp
    opened = Message(now, kind, profile.device_id.encode(), payload)
    nonce = secrets.token_bytes(crypto.NONCE_SIZE)
    return exchange(profile, message.seal(opened, profile.public, profile.device_key.reveal(), nonce))


def exchange(profile: Profile, frame: bytes) -> Reply:
    """Send a frame's bytes as they are and return the reply."""
    with connect(profile.host, profile.port) as sock:
        stream = Stream(sock)
        stream.set_deadline(REPLY_S)
        try:
            stream.send(preface.Route.MSG.value + frame)
            return decode_reply(stream.line(MAX_LINE))
        except (DeadlineError, EndOfStreamError, TooLongError, ProtocolError):
            raise NoReplyError("the daemon gave no reply", "look at its log") from None


def connect(host: str, port: int) -> socket.socket:
    """Connect to a daemon; `UnreachableError` where that fails."""
    try:
        return socket.create_connection((host, port), timeout=CONNECT_S)
    except OSError as error:
        why = error.strerror or str(error) or "no answer"
        raise UnreachableError(
            f"cannot reach {host} port {port}: {why.lower()}", "is the daemon running?"
        ) from None
