"""A secret that does not show itself.

Logging, formatting, comparing or pickling a `Secret` by accident gives nothing
away; reading it takes an explicit call that a reviewer can search for.
"""

from __future__ import annotations

import codecs
import ctypes
import hmac
import sys
from collections.abc import Iterator
from typing import NoReturn

_BYTES_HEAD = bytes.__basicsize__ - 1  # where the content of a bytes object begins in CPython
_SHORT = 8  # bytes objects of up to one byte are shared; nothing this short is a secret of ours


def erase(data: bytes) -> None:
    """Overwrite a bytes object that only the caller holds, such as a key that a library gave us.

    Its content is garbage afterwards: never call it on a constant, or on what others still read.
    Elsewhere than in CPython it does nothing.
    """
    if len(data) > _SHORT and sys.implementation.name == "cpython":
        ctypes.memset(id(data) + _BYTES_HEAD, 0, len(data))


class Secret:
    """Secret bytes with an explicit way to them.

    The buffer is mutable and can be wiped. Python may still hold copies made
    by the caller of `reveal` or `text`: keep those in the narrowest scope.
    """

    __slots__ = ("_buffer",)

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._buffer = bytearray(data)

    def reveal(self) -> bytes:
        """Return the bytes themselves."""
        return bytes(self._buffer)

    def text(self) -> str:
        """Return the bytes as UTF-8 text; `UnicodeDecodeError` when they are not."""
        return self._buffer.decode("utf-8")

    def view(self) -> memoryview:
        """Return a view of the bytes without a copy; release it before `wipe`, best by `with`."""
        return memoryview(self._buffer)

    def copy(self) -> Secret:
        """Another one of the same bytes, wiped by itself."""
        return Secret(self._buffer)

    def characters(self) -> Iterator[str]:
        """Yield the characters of the text one by one, so that no copy of the whole lies in memory.

        `UnicodeDecodeError` where the bytes are not UTF-8; it may quote a few of them.
        """
        decoder = codecs.getincrementaldecoder("utf-8")()
        for byte in self._buffer:
            yield from decoder.decode(bytes((byte,)))
        yield from decoder.decode(b"", True)

    def wipe(self) -> None:
        """Overwrite the buffer with zeros and forget its length."""
        self._buffer[:] = bytes(len(self._buffer))
        self._buffer.clear()

    def __len__(self) -> int:
        return len(self._buffer)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._buffer, other._buffer)

    __hash__ = None  # type: ignore[assignment]  # a mutable buffer has no hash

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "<secret>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")
