"""The wire: bytes in, objects out. No socket, no clock, no logging, no gevent.

Layouts, labels and associated data stand in this package and nowhere else.
What a peer did wrong is a `ProtocolError`; a wrong call of ours is a
`ValueError` or `TypeError`, as everywhere in Python.

    preface   the first line, which names the route
    message   one message (protocol v3): frame, header, sealed inner frame
    pair      pairing (v1): hello, server key, register, acknowledgement, refusal
    uri       what the QR holds
    reply     the one line that answers a message
    refused   a message that goes no further, with its reply and a sentence for people
    control   the owner's local socket
    native    a browser's extension and its host
    crypto    ML-KEM-768, HKDF-SHA-256, XChaCha20-Poly1305, and every label
    jsonline  one JSON object a line, strictly
"""

from __future__ import annotations


class ProtocolError(Exception):
    """The peer broke the protocol. The text never quotes what it sent."""


class Malformed(ProtocolError):
    """The bytes are not in the layout: `bad_request` on the wire."""


class NotAuthenticated(ProtocolError):
    """The bytes do not authenticate: `crypto_fail` on the wire."""
