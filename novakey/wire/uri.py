"""What the QR holds: where the daemon is, its key's fingerprint, and the window's token."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

from novakey.secret import Secret
from novakey.wire import Malformed
from novakey.wire.crypto import TOKEN_SIZE

VERSION = 3


class PairingUri(NamedTuple):
    """The members of a `novakey://pair` URI. `expires` is in unix seconds."""

    host: str
    port: int
    token: Secret
    fingerprint: str
    expires: int

    def encode(self) -> str:
        """Return the URI. It holds the token: treat it like a password."""
        return (
            f"novakey://pair?v={VERSION}&host={quote(self.host, safe=':')}&port={self.port}"
            f"&token={encode_token(self.token)}&fp={self.fingerprint}&exp={self.expires}"
        )


def plain_host(host: str) -> str:
    """Return a host in the one spelling that a QR has: lower case, the shortest address, no brackets.

    The phone app compares it as text with the listener that a person typed.
    """
    text, percent, zone = host.strip().lower().removeprefix("[").removesuffix("]").partition("%")
    try:
        return str(ipaddress.ip_address(text)) + percent + zone
    except ValueError:
        return text.removesuffix(".")


def listener(host: str, port: int) -> str:
    """Return the sentence that stands beside every QR. The app refuses a QR without its listener."""
    return f"In the app add a listener first: Host {host}, Port {port}, exactly so."


def decode(text: str) -> PairingUri:
    """Decode on the phone's side; `Malformed` names the fault without quoting the URI."""
    try:
        parts = urlsplit(text.strip())
        members = dict(parse_qsl(parts.query, strict_parsing=True))
    except ValueError:
        raise Malformed("not a pairing URI") from None
    if (parts.scheme, parts.netloc) != ("novakey", "pair"):
        raise Malformed("not a pairing URI: it must start with novakey://pair?")
    if members.get("v") != str(VERSION):
        raise Malformed("the pairing URI is not of version 3")
    for name in ("host", "port", "token", "fp", "exp"):
        if not members.get(name):
            raise Malformed(f"the pairing URI lacks {name}")
    for name in ("port", "exp"):
        if not (members[name].isascii() and members[name].isdigit() and len(members[name]) < 16):
            raise Malformed(f"the pairing URI's {name} is not a number")
    port = int(members["port"])
    if not 1 <= port <= 65535:
        raise Malformed("the pairing URI's port is not from 1 to 65535")
    return PairingUri(
        members["host"], port, decode_token(members["token"]), members["fp"].lower(), int(members["exp"])
    )


def encode_token(token: Secret) -> str:
    """16 bytes as 22 characters of base64url without padding (RFC 4648, section 5)."""
    return base64.urlsafe_b64encode(token.reveal()).decode().rstrip("=")


def decode_token(text: str) -> Secret:
    """Return the 16 bytes; `Malformed` unless it is the one encoding of exactly 16 bytes."""
    try:
        token = Secret(base64.b64decode(text.encode("ascii") + b"==", altchars=b"-_", validate=True))
    except (binascii.Error, UnicodeEncodeError):
        raise Malformed("the token is not base64url") from None
    if len(token) != TOKEN_SIZE or encode_token(token) != text:
        raise Malformed("the token must be 16 bytes in base64url without padding")
    return token
