"""Standard input and output as the pipe to a browser. Waiting in it lets other greenlets run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from gevent import os as gevent_os

_CHUNK = 65536


class DescriptorPipe:
    """Two descriptors, both set not to block."""

    def __init__(self, source: int, output: int) -> None:
        self._source, self._output = source, output
        for descriptor in (source, output):
            gevent_os.make_nonblocking(descriptor)

    def read(self, count: int) -> bytes:
        """Return exactly so many bytes; fewer at the end."""
        got = bytearray()
        while len(got) < count:
            piece = gevent_os.nb_read(self._source, min(_CHUNK, count - len(got)))
            if not piece:
                break
            got += piece
        return bytes(got)

    def write(self, data: memoryview) -> None:
        """Write all of it; `OSError` where the browser is gone."""
        sent = 0
        while sent < len(data):
            with data[sent:] as rest:
                sent += gevent_os.nb_write(self._output, rest)


@contextlib.contextmanager
def standard() -> Iterator[DescriptorPipe]:
    """Use standard input and output; what else is printed goes to standard error until the end."""
    output = os.dup(1)
    os.dup2(2, 1)
    try:
        yield DescriptorPipe(0, output)
    finally:
        os.dup2(output, 1)
        os.close(output)
