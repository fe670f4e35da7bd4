"""What the program of a live operation says after its request: what became of its secret. Said once."""

from __future__ import annotations

from collections.abc import Callable

from novakey.net.stream import DeadlineError, EndOfStreamError, Stream, TooLongError
from novakey.wire import Malformed, control

MAX_REPORT = 256
_LISTEN_S = 86_400.0  # a request may wait for long; its connection ends it


class Reports:
    """The one report of a connection."""

    def __init__(self) -> None:
        self._outcome: str | None = None
        self._tell: Callable[[str], None] | None = None

    def then(self, tell: Callable[[str], None]) -> None:
        """Call `tell` with the outcome when it comes, or now where it has come already."""
        self._tell = tell
        if self._outcome is not None:
            tell(self._outcome)

    def listen(self, stream: Stream, end: Callable[[], None]) -> None:
        """Read until the program hangs up or breaks the protocol, then call `end`.

        The same stream is written to, and each line that is sent sets its own deadline.
        """
        while True:
            stream.set_deadline(_LISTEN_S)
            try:
                self._take(control.decode_report(stream.line(MAX_REPORT)).outcome)
            except DeadlineError:
                continue
            except (EndOfStreamError, TooLongError, Malformed):
                break
        end()

    def _take(self, outcome: str) -> None:
        if self._outcome is not None:
            raise Malformed("a second report")
        self._outcome = outcome
        if self._tell is not None:
            self._tell(outcome)
