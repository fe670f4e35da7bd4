r"""Pairing v1: hello, server key, register, acknowledgement, and the refusal line.

    phone   {"op":"hello","v":1,"token":"<base64url of 16 bytes>"}\n
    server  {"op":"server_key","v":1,"kid":"1","kyber_pub_b64":…,"fp16_hex":…,"expires_unix":…}\n
    phone   u16 1088 | ciphertext | nonce 24 | sealed {"op":"register",…}
    server  nonce 24 | sealed {"op":"ok",…}

The associated data of both sealed parts is `PAIR` | ciphertext | nonce. The
sealed parts have no length: they end where they authenticate, or at the end.
"""

from __future__ import annotations

import base64
import binascii
import struct
import unicodedata
from typing import NamedTuple

from novakey.secret import Secret
from novakey.wire import Malformed, NotAuthenticated, crypto, jsonline, uri

VERSION = 1
KEY_ID = "1"
MAX_REGISTER = 4096  # 1114 fixed bytes and a register object of about 150
MAX_NEW_DEVICE_ID = 64  # bytes; longer ids occur in old stores only
ID_RULE = "must be 1 to 64 letters, digits, spaces or ._-@'(), and not begin with - or ."

_KEM_LENGTH = struct.pack(">H", crypto.CIPHERTEXT_SIZE)
_MARKS = frozenset(" ._-@'()")
_BLANK_LETTERS = frozenset("\u115f\u1160")  # Hangul fillers: letters to Unicode, blank on the screen
_SEALED_AT = len(_KEM_LENGTH) + crypto.CIPHERTEXT_SIZE + crypto.NONCE_SIZE


class ServerKey(NamedTuple):
    """The server's answer to a hello. `expires` is in unix seconds."""

    public: bytes
    expires: int

    def encode(self) -> bytes:
        """Return the line, with its line end."""
        members = {
            "op": "server_key",
            "v": VERSION,
            "kid": KEY_ID,
            "kyber_pub_b64": base64.b64encode(self.public).decode(),
            "fp16_hex": crypto.fingerprint(self.public),
            "expires_unix": self.expires,
        }
        return jsonline.encode(members) + b"\n"


class Refusal(NamedTuple):
    """Why the server will not pair: one word for programs, one sentence for people."""

    reason: str
    msg: str

    def encode(self) -> bytes:
        """Return the line, with its line end."""
        members = {"op": "error", "v": VERSION, "reason": self.reason, "msg": self.msg}
        return jsonline.encode(members) + b"\n"


class Registration(NamedTuple):
    """What a phone registers; None where it leaves the choice to the server."""

    device_id: str | None
    device_key: Secret | None

    def encode(self) -> bytes:
        """Return the plaintext of the register, or of the acknowledgement when `op` is replaced."""
        key = "" if self.device_key is None else self.device_key.reveal().hex()
        members = {"op": "register", "v": VERSION, "device_id": self.device_id or "", "device_key_hex": key}
        return jsonline.encode(members)


def encode_hello(token: Secret) -> bytes:
    """Return the phone's first line, with its line end."""
    return jsonline.encode({"op": "hello", "v": VERSION, "token": uri.encode_token(token)}) + b"\n"


def decode_hello(line: bytes) -> Secret:
    """Return the token of a hello line; `Malformed` for anything else. Unknown members are ignored."""
    members = _operation(line, "hello")
    return uri.decode_token(jsonline.string(members, "token"))


def decode_server_line(line: bytes) -> ServerKey | Refusal:
    """Decode the second line on the phone's side: the key, checked against its fingerprint, or a refusal."""
    members = jsonline.decode(line)
    if members.get("op") == "error":
        return Refusal(jsonline.string(members, "reason"), jsonline.string(members, "msg", ""))
    _operation(line, "server_key")
    try:
        public = base64.b64decode(jsonline.string(members, "kyber_pub_b64"), validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("kyber_pub_b64 is not base64") from None
    if len(public) != crypto.PUBLIC_KEY_SIZE:
        raise Malformed("the server's key must have 1184 bytes")
    if jsonline.string(members, "fp16_hex") != crypto.fingerprint(public):
        raise Malformed("the server's key does not have the fingerprint beside it")
    return ServerKey(public, jsonline.integer(members, "expires_unix"))


def associated(ciphertext: bytes, nonce: bytes) -> bytes:
    """Return the associated data of the register and of the acknowledgement."""
    return crypto.PAIRING_AD + ciphertext + nonce


class RegisterReader:
    """Collects the register frame, however it is cut, until it authenticates.

    `feed` gives the registration as soon as the bytes so far hold one, else
    None. Bytes behind the sealed part are not read: they cannot authenticate.
    Each prefix is tried once, so a peer costs at most `cap` openings.
    """

    def __init__(self, server: crypto.Decapsulator, token: Secret, cap: int = MAX_REGISTER) -> None:
        self._cap = cap
        self._server = server
        self._token = token
        self._received = bytearray()
        self._tried = _SEALED_AT + crypto.TAG_SIZE - 1
        self._key: bytes | None = None
        self.ciphertext = b""

    def feed(self, data: bytes) -> Registration | None:
        """Take more bytes; `Malformed` for a wrong layout, too many bytes or a wrong register."""
        self._received += data
        overflow = len(self._received) > self._cap
        del self._received[self._cap :]
        head = bytes(self._received[: len(_KEM_LENGTH)])
        if head != _KEM_LENGTH[: len(head)]:
            raise Malformed("the ciphertext must have 1088 bytes")
        for end in range(len(self._received), self._tried, -1):
            plaintext = self._open(end)
            if plaintext is not None:
                return decode_registration(plaintext)
        self._tried = max(self._tried, len(self._received))
        if overflow:
            raise Malformed(f"the register is longer than {self._cap} bytes")
        return None

    def acknowledge(self, nonce: bytes, device_id: str, device_key: Secret | None) -> bytes:
        """Seal the acknowledgement; `device_key` only if the server chose it."""
        if self._key is None:
            raise ValueError("nothing was registered")
        members: dict[str, object] = {"op": "ok", "v": VERSION, "device_id": device_id}
        if device_key is not None:
            members["device_key_hex"] = device_key.reveal().hex()
        return nonce + crypto.seal(
            self._key, nonce, jsonline.encode(members), associated(self.ciphertext, nonce)
        )

    def _open(self, end: int) -> bytearray | None:
        nonce_at = _SEALED_AT - crypto.NONCE_SIZE
        if self._key is None:
            self.ciphertext = bytes(self._received[len(_KEM_LENGTH) : nonce_at])
            self._key = crypto.pairing_key(self._server.decapsulate(self.ciphertext), self._token.reveal())
        nonce = bytes(self._received[nonce_at:_SEALED_AT])
        sealed = bytes(self._received[_SEALED_AT:end])
        try:
            return crypto.unseal(self._key, nonce, sealed, associated(self.ciphertext, nonce))
        except NotAuthenticated:
            return None


def decode_registration(plaintext: bytes | bytearray) -> Registration:
    """Return the register object, of any id; `Malformed` says what is wrong with it."""
    members = _operation(plaintext, "register")
    device_id = jsonline.string(members, "device_id", "")
    key_hex = jsonline.string(members, "device_key_hex", "")
    return Registration(device_id or None, _decode_key(key_hex) if key_hex else None)


def seal_registration(
    registration: Registration, public: bytes, token: Secret, nonce: bytes
) -> tuple[bytes, bytes, bytes]:
    """Seal on the phone's side: (frame, ciphertext, key). The last two open the acknowledgement."""
    ciphertext, shared = crypto.encapsulate(public)
    key = crypto.pairing_key(shared, token.reveal())
    sealed = crypto.seal(key, nonce, registration.encode(), associated(ciphertext, nonce))
    return _KEM_LENGTH + ciphertext + nonce + sealed, ciphertext, key


def decode_acknowledgement(data: bytes, ciphertext: bytes, key: bytes) -> Registration:
    """Decode on the phone's side: the id, and the key if the server chose it."""
    nonce, sealed = data[: crypto.NONCE_SIZE], data[crypto.NONCE_SIZE :]
    members = _operation(crypto.unseal(key, nonce, sealed, associated(ciphertext, nonce)), "ok")
    key_hex = jsonline.string(members, "device_key_hex", "")
    return Registration(jsonline.string(members, "device_id"), _decode_key(key_hex) if key_hex else None)


def valid_device_id(device_id: str) -> bool:
    """Return whether an id may be paired: letters, digits, space and `._-@'()`, 1 to 64 bytes of UTF-8.

    The owner types an id and pastes it into a shell. An id that begins with `-`
    looks like an option, and one that begins with `.` like a hidden file. Letters
    that NFKC changes (UAX 15), or that show nothing, are not accepted.
    """
    if not 1 <= len(device_id.encode("utf-8")) <= MAX_NEW_DEVICE_ID or device_id[0] in "-.":
        return False
    return unicodedata.is_normalized("NFKC", device_id) and all(map(_may_be_in_an_id, device_id))


def _may_be_in_an_id(char: str) -> bool:
    return char in _MARKS or (char not in _BLANK_LETTERS and (char.isalpha() or char.isdecimal()))


def _operation(data: bytes | bytearray, op: str) -> dict[str, object]:
    members = jsonline.decode(data)
    if members.get("op") != op or jsonline.integer(members, "v") != VERSION:
        raise Malformed(f"not a {op} of version {VERSION}")
    return members


def _decode_key(text: str) -> Secret:
    try:
        key = Secret(bytes.fromhex(text))
    except ValueError:
        raise Malformed("device_key_hex is not hex") from None
    if len(key) != crypto.KEY_SIZE or len(text) != 2 * crypto.KEY_SIZE:
        raise Malformed("device_key_hex must be 64 hex digits")
    return key
