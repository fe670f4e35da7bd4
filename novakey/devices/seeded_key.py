"""An ML-KEM-768 key pair kept as its 64-byte seed d||z (FIPS 203, section 7.1).

Only pairs that came from the existing daemon are kept so. pqcrypto cannot
derive a pair from a seed, so these need the optional `cryptography` package.
"""

from __future__ import annotations

from novakey.errors import SetupError
from novakey.secret import Secret

SEED_SIZE = 64


class SeededKey:
    """A `wire.crypto.Decapsulator` over a seed."""

    def __init__(self, seed: Secret) -> None:
        """Derive the pair. `SetupError` without the package, `ValueError` for a seed of another size."""
        try:
            from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
        except ImportError:
            raise SetupError(
                "keys that came from the existing daemon need the `cryptography` package",
                "install it: python3 -m pip install --require-hashes -r requirements-optional.txt",
            ) from None
        if len(seed) != SEED_SIZE:
            raise ValueError("an ML-KEM-768 seed has 64 bytes")
        self._seed = seed
        self._private = MLKEM768PrivateKey.from_seed_bytes(seed.reveal())
        self.public: bytes = self._private.public_key().public_bytes_raw()

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """See `wire.crypto.Decapsulator`."""
        return self._private.decapsulate(ciphertext)

    def reveal(self) -> bytes:
        """Return the seed, for the sealed store only."""
        return self._seed.reveal()
