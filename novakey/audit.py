"""`audit.jsonl`: what was decided about each genuine message, and what the owner changed. Never a content.

    {"at":…,"req":…,"device":…,"stage":…,"outcome":…,"program":…}
    {"at":…,"event":"paired","device":…,"from":…}

One line a decision, owner-only, rotated like the log. Strangers are not in it:
whoever is not authenticated could fill it, and the log has them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from novakey.log import OwnerOnlyFile
from novakey.messages.handler import Answered
from novakey.wire import Malformed, jsonline

log = logging.getLogger(__name__)

FILE = "audit.jsonl"
MAX_LINE = 8192


class Audit:
    """The open file. A disk that is full costs entries, never a delivery: that is said in the log, once."""

    def __init__(self, file: OwnerOnlyFile, unix_time: Callable[[], float] = time.time) -> None:
        self._unix_time = unix_time
        self._failed = False
        self._file = file
        self._file.setFormatter(logging.Formatter("%(message)s"))
        self._file.handleError = self._note_failure  # type: ignore[method-assign]

    def answered(self, answered: Answered) -> None:
        """A message of a paired device."""
        if answered.device_id is None:
            return
        self._write(
            {
                "at": answered.at,
                "req": answered.req_id,
                "device": answered.device_id,
                "stage": answered.stage,
                "outcome": answered.outcome.reason,
                "program": answered.program,
            }
        )

    def happened(self, event: str, device: str, **more: str) -> None:
        """Something that the owner did, or that a pairing changed."""
        self._write({"at": int(self._unix_time()), "event": event, "device": device, **more})

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, members: dict[str, object]) -> None:
        line = jsonline.encode(members).decode()
        self._file.emit(logging.LogRecord("audit", logging.INFO, "", 0, line, None, None))

    def _note_failure(self, record: logging.LogRecord) -> None:
        if not self._failed:
            self._failed = True
            log.error("the audit file cannot be written: from here on it lacks entries")


def read(path: Path, lines: int) -> Iterator[dict[str, Any]]:
    """The last entries, the oldest first; a line that is none of ours is left out."""
    entries: list[dict[str, Any]] = []
    for part in _parts(path):
        with open(part, "rb") as file:
            for line in file:
                try:
                    entries.append(jsonline.decode(line[:MAX_LINE]))
                except Malformed:
                    continue
                if len(entries) > 2 * lines:
                    del entries[:-lines]
    yield from entries[-lines:]


def _parts(path: Path) -> list[Path]:
    """The file and those that were put aside, the oldest first."""
    numbered = []
    for part in path.parent.glob(f"{path.name}.*"):
        number = part.name.removeprefix(f"{path.name}.")
        if number.isdigit():
            numbered.append((int(number), part))
    aside = [part for _, part in sorted(numbered, reverse=True)]
    return [*aside, path] if path.exists() else aside
