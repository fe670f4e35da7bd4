"""The cryptography of the protocol: every primitive and every label, in one place.

ML-KEM-768 (FIPS 203) through pqcrypto, HKDF-SHA-256 (RFC 5869) on the standard
library, XChaCha20-Poly1305-IETF (draft-irtf-cfrg-xchacha) through libsodium.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Protocol

from nacl import bindings
from nacl._sodium import ffi, lib
from pqcrypto.kem import ml_kem_768

from novakey.wire import NotAuthenticated

PUBLIC_KEY_SIZE = 1184
SECRET_KEY_SIZE = 2400
CIPHERTEXT_SIZE = 1088
KEY_SIZE = 32
NONCE_SIZE = 24
TAG_SIZE = 16
TOKEN_SIZE = 16

MESSAGE_INFO = b"NovaKey v3 AEAD key"
PAIRING_INFO = b"NovaKey v3 Pair AEAD"
PAIRING_AD = b"PAIR"


class Decapsulator(Protocol):
    """The server's side of the KEM, however its key is kept."""

    @property
    def public(self) -> bytes:
        """The public key, 1184 bytes."""

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Return the 32-byte shared secret of a 1088-byte ciphertext.

        A forged ciphertext gives a secret unknown to all, not an error
        (FIPS 203, section 6.3, implicit rejection).
        """


class ExpandedKey:
    """An ML-KEM-768 key pair kept as FIPS 203's 2400-byte decapsulation key."""

    def __init__(self, public: bytes, secret: bytes) -> None:
        if len(public) != PUBLIC_KEY_SIZE or len(secret) != SECRET_KEY_SIZE:
            raise ValueError("an ML-KEM-768 key pair has 1184 and 2400 bytes")
        self.public = public
        self._secret = secret

    @classmethod
    def generate(cls) -> ExpandedKey:
        """Return a new pair from the system's randomness."""
        public, secret = ml_kem_768.keygen()
        return cls(public, secret)

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """See `Decapsulator`."""
        return bytes(ml_kem_768.decaps(self._secret, ciphertext))

    def reveal(self) -> bytes:
        """Return the 2400-byte decapsulation key, for the sealed store only."""
        return self._secret


def encapsulate(public: bytes) -> tuple[bytes, bytes]:
    """Return a fresh (ciphertext, shared secret) of 1088 and 32 bytes for a 1184-byte public key."""
    ciphertext, shared = ml_kem_768.encaps(public)
    return bytes(ciphertext), bytes(shared)


def fingerprint(public: bytes) -> str:
    """Return a public key's fingerprint in the QR: the first 16 bytes of its SHA-256, in hex."""
    return hashlib.sha256(public).digest()[:16].hex()


def message_key(shared: bytes, device_key: bytes) -> bytes:
    """Return the AEAD key of one message: only who holds the device's key can derive it."""
    return _hkdf(shared, salt=device_key, info=MESSAGE_INFO)


def pairing_key(shared: bytes, token: bytes) -> bytes:
    """Return the AEAD key of one pairing, bound to the window's 16-byte token."""
    return _hkdf(shared, salt=token, info=PAIRING_INFO)


def seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Ciphertext and 16-byte tag, under a 32-byte key and a 24-byte nonce."""
    return bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, associated, nonce, key)


def unseal(key: bytes, nonce: bytes, sealed: bytes, associated: bytes) -> bytearray:
    """Return the plaintext of what `seal` made; `NotAuthenticated` if anything differs.

    A buffer that the caller can wipe. PyNaCl's own wrapper leaves a second copy in freed memory, so
    libsodium is called through the names that PyNaCl gives it.
    """
    if (len(key), len(nonce)) != (KEY_SIZE, NONCE_SIZE) or len(sealed) < TAG_SIZE:
        raise NotAuthenticated("the sealed part does not authenticate")
    plaintext = bytearray(len(sealed) - TAG_SIZE)
    failed = lib.crypto_aead_xchacha20poly1305_ietf_decrypt(
        ffi.from_buffer(plaintext),
        ffi.NULL,
        ffi.NULL,
        sealed,
        len(sealed),
        associated,
        len(associated),
        nonce,
        key,
    )
    if failed:
        raise NotAuthenticated("the sealed part does not authenticate")
    return plaintext


def _hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA-256, RFC 5869 section 2, for one block of output (32 bytes)."""
    extracted = hmac.digest(salt, secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")
