"""The record of decisions about genuine messages, and of what the owner changed. Never a content.

`audit.jsonl`

    {"at":…,"req":…,"device":…,"stage":…,"outcome":…,"program":…}
    {"at":…,"event":"ask","device":…,…}                 a program's request for a secret

The same, and alone in `audit-events.jsonl`

    {"at":…,"event":"paired","device":…,"from":…}      or paired again, revoked, armed, disarmed, renamed
    {"at":…,"event":"paused","device":""}              or resumed
    {"at":…,"event":"approved","device":…,"program":…}  on the computer; or denied, put away
    {"at":…,"event":"locked","device":"","reason":…}   or reset, restored

One line a decision, owner-only, rotated like the log. Strangers are not in it,
because they could fill it, and the log has them. A recorded message can be sent
again without end, so a device's refusals of one reason get a few lines a minute.
The others are counted, in `more` of the next such line. What only the owner or a
pairing can cause stands in a second file too: no flood of messages rotates it away.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from pathlib import Path
from typing import Any

from novakey.config.settings import Settings
from novakey.errors import ConfigError
from novakey.log import rotate
from novakey.log.rotate import OwnerOnlyFile, rotated_files
from novakey.messages.handler import MessageResult
from novakey.net.rate_limit import RateLimiter
from novakey.system import files
from novakey.system.clock import CLOCK, Clock
from novakey.wire import Malformed, jsonline

log = logging.getLogger(__name__)

FILE = "audit.jsonl"
EVENTS = "audit-events.jsonl"
MAX_LINE = 8192
REFUSALS = 10  # lines a minute, for each device and reason


class Audit:
    """The open file. A disk that is full costs entries, never a delivery: that is said in the log, once."""

    def __init__(
        self,
        file: OwnerOnlyFile,
        events: OwnerOnlyFile,
        clock: Clock = CLOCK,
    ) -> None:
        self._clock = clock
        self._refusals = RateLimiter(REFUSALS)
        self._left_out: dict[tuple[str, str], MessageResult] = {}
        self._more: Counter[tuple[str, str]] = Counter()
        self._failed = False
        self._file = file
        self._events = events

    def answered(self, answered: MessageResult) -> None:
        """Record a message of a paired device."""
        if answered.device_id is None:
            return
        kind = (answered.device_id, answered.outcome.reason)
        if not answered.outcome.success and not self._refusals.allow(" ".join(kind), self._clock.monotonic()):
            self._more[kind] += 1
            self._left_out[kind] = answered
            return
        self._left_out.pop(kind, None)
        self._note(answered, self._more.pop(kind, 0))

    def happened(self, event: str, device: str, **more: str) -> None:
        """Record what the owner did, or what a pairing changed."""
        for file in (self._file, self._events):
            self._write(file, self._event(event, device, more))

    def asked(self, device: str, **more: str) -> None:
        """Record a step of a program's request for a secret."""
        self._write(self._file, self._event("ask", device, more))

    def _event(self, event: str, device: str, more: dict[str, str]) -> dict[str, object]:
        return {"at": int(self._clock.unix()), "event": event, "device": device, **more}

    def close(self) -> None:
        """Write down the last of what was only counted, and close the file."""
        for kind, answered in self._left_out.items():
            self._note(answered, self._more[kind] - 1)
        self._file.close()
        self._events.close()

    def _note(self, answered: MessageResult, more: int) -> None:
        entry: dict[str, object] = {
            "at": answered.at,
            "req": answered.req_id,
            "device": answered.device_id,
            "stage": answered.stage,
            "outcome": answered.outcome.reason,
            "program": answered.program,
        }
        self._write(self._file, {**entry, "more": more} if more > 0 else entry)

    def _write(self, file: OwnerOnlyFile, members: dict[str, object]) -> None:
        try:
            file.write_line(jsonline.encode(members).decode())
        except OSError as error:
            if not self._failed:
                self._failed = True
                log.error("the audit file cannot be written, so it lacks entries: %s", error)


def opened(settings: Settings, log_dir: Path) -> Audit:
    """Open the record; `ConfigError` if it cannot be written."""
    file, events = (rotate.rotating(settings, log_dir, name) for name in (FILE, EVENTS))
    return Audit(file, events)


def note(settings: Settings, log_dir: Path, event: str, **more: str) -> None:
    """Record what a command did while no daemon runs. What was done stays done if that cannot be written."""
    try:
        audit = opened(settings, log_dir)
    except ConfigError as error:
        log.warning("the record lacks this (%s): %s", event, error.in_one_line)
        return
    audit.happened(event, "", **more)
    audit.close()


def read(folder: Path, lines: int) -> list[dict[str, Any]]:
    """Return the last entries of both files, the oldest first; a line that is none of ours is left out.

    `StoreError` for a file that is a link, or that others have rights on.
    """
    entries = _read(folder / FILE, lines)
    rotated_away = [entry for entry in _read(folder / EVENTS, lines) if entry not in entries]
    return (rotated_away + entries)[-lines:]


def _read(path: Path, lines: int) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for part in rotated_files(path):
        missing = lines - len(entries)
        if missing <= 0:
            break
        entries = _last(part, missing) + entries
    return entries


def _last(path: Path, count: int) -> list[dict[str, Any]]:
    file = files.open_private(path)
    if file is None:  # put aside under another name just now
        return []
    with file:
        entries = map(_entry, iter(lambda: file.readline(MAX_LINE), b""))
        return list(deque((entry for entry in entries if entry is not None), maxlen=count))


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = jsonline.decode(line)
        if not 0 <= jsonline.integer(entry, "at") < 1 << 40:
            return None
        jsonline.string(entry, "device")
    except Malformed:
        return None
    return entry
