"""`replay.ledger`: the accepted messages of the last minutes, so that a restart forgets none.

    header   "NovaKey replay 1" | state u8 | slots u32 | boot id 16 | crc u32        41 bytes, padded to 64
    slot     timestamp u64 | floor u64 (its value plus one) | key 12 | crc u32        32 bytes, or all zero

The file has its whole size from the beginning and is a ring of slots: a
message is one write of 32 bytes over a slot that is empty or stale, and every
cut shows in the size. The state says whether the daemon closed it; while it is
open, only the boot in which it was opened may trust it, because a write
outlives `kill -9` but, without a sync for each message, no loss of power.
"""

from __future__ import annotations

import os
import struct
from array import array
from binascii import crc32
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from novakey.errors import StoreError
from novakey.messages.replay import KEY_SIZE, MAX_AHEAD_S, ReplayGuard
from novakey.system import files

_MAGIC = b"NovaKey replay 1"
_HEADER = struct.Struct(">16sBI16s")
_HEADER_SIZE = 64
_OPEN, _CLOSED = 0, 1
_SLOT = struct.Struct(f">QQ{KEY_SIZE}s")
_SLOT_SIZE = 32
_CRC = struct.Struct(">I")
_EMPTY = bytes(_SLOT_SIZE)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

MIN_SLOTS = 1024  # 32 KiB: two devices at 60 a minute never fill it with what is fresh
MAX_SLOTS = 1 << 20  # 32 MiB: a fence; more messages than this in seven minutes are refused
MAX_FILE = _HEADER_SIZE + MAX_SLOTS * _SLOT_SIZE


class DamagedError(Exception):
    """The ledger does not tell everything that was accepted; says why."""


class LedgerContents(NamedTuple):
    """What a ledger tells: the accepted (key, timestamp) pairs, and the newest forgotten timestamp."""

    entries: Sequence[tuple[bytes, int]]
    floor: int


class Ledger:
    """The open ledger; a `replay.Writer`."""

    def __init__(self, path: Path, boot: bytes, past: LedgerContents) -> None:
        """Replace the file by one with what is still to be known, marked as open, durably."""
        self._path = path
        self._boot = boot
        self._handle = -1
        self._next = 0
        self._begin(past.entries, past.floor)

    def append(self, key: bytes, timestamp: int, floor: int) -> None:
        """See `replay.Writer`. One write into the page cache; the slot is the next one that is stale."""
        if self._times[self._next] > floor + 1:  # still fresh, so the ring is too small (or uneven)
            try:
                self._grow(floor)
            except StoreError as error:
                raise OSError(error.problem) from None
        record = _slot(key, timestamp, floor)
        if os.pwrite(self._handle, record, _HEADER_SIZE + self._next * _SLOT_SIZE) != len(record):
            raise OSError("the ledger was written in part")  # the slot is written again next time
        self._times[self._next] = timestamp + 1
        self._next = (self._next + 1) % len(self._times)

    def close(self) -> None:
        """Sync, then mark as closed: only then may another boot trust it."""
        if self._handle < 0:
            return
        try:
            os.fsync(self._handle)
            os.pwrite(self._handle, _header(_CLOSED, len(self._times), self._boot), 0)
            os.fsync(self._handle)
        finally:
            os.close(self._handle)
            self._handle = -1

    def _grow(self, floor: int) -> None:
        """Begin again with what may still be fresh. The slots are taken as they were written."""
        data = files.read_private(self._path, MAX_FILE)
        if data is None or len(data) != _HEADER_SIZE + len(self._times) * _SLOT_SIZE:
            raise OSError("the ledger was changed by somebody else")
        live = [number for number, time in enumerate(self._times) if time > floor + 1]
        starts = [_HEADER_SIZE + number * _SLOT_SIZE for number in live]
        slots = [data[at : at + _SLOT_SIZE] for at in starts]
        times = [self._times[number] for number in live]
        # Nothing waits for the disk: until it is closed, another boot trusts neither this file nor the last.
        self._replace(slots or _floor_slots(floor), times, durable=False)

    def _begin(self, entries: Sequence[tuple[bytes, int]], floor: int) -> None:
        slots = [_slot(key, timestamp, floor) for key, timestamp in entries]
        self._replace(slots or _floor_slots(floor), [timestamp + 1 for _, timestamp in entries], durable=True)

    def _replace(self, written: Sequence[bytes], times: Sequence[int], durable: bool) -> None:
        # Twice what there is, so that the next growth is as many messages away.
        slots = max(MIN_SLOTS, 1 << (2 * len(written) - 1).bit_length())
        if slots > MAX_SLOTS:
            raise OSError("more messages than can be remembered")
        data = _header(_OPEN, slots, self._boot) + b"".join(written)
        files.replace_private(self._path, data.ljust(_HEADER_SIZE + slots * _SLOT_SIZE, b"\0"), durable)
        handle = os.open(self._path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = handle
        # Zero is a slot that anything may overwrite; so times are kept plus one.
        self._times = array("Q", times)
        self._times.extend(array("Q", bytes(8 * (slots - len(times)))))
        self._next = len(times)


def open_guard(
    path: Path, now: int, devices: int, boot: bytes | None = None
) -> tuple[ReplayGuard, str | None]:
    """Return the guard over the ledger at `path`, and a warning if a part of the past is lost.

    Where it is lost, every timestamp that could have been accepted before `now`
    is refused. Without a paired device there is nothing that could be sent again.
    `StoreError` when the file is not ours (a link, a fifo, wider rights) or cannot be written.
    """
    boot = boot_id() if boot is None else boot
    data = files.read_private(path, MAX_FILE) or b""
    trouble = None
    try:
        past = parse(data, boot)
    except DamagedError as error:
        past = LedgerContents((), -1)
        if devices:
            # The clock may have been set back since: what is left of the ledger still counts.
            past = LedgerContents((), max(now + MAX_AHEAD_S, _newest(data)))
            trouble = f"the record of accepted messages ({path.name}) {error}"
    try:
        return ReplayGuard(past.entries, past.floor, Ledger(path, boot, past)), trouble
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error


def begin(path: Path, now: int) -> None:
    """Begin a ledger for another daemon's devices: it refuses all that was sent before.

    It cannot tell what a phone with a fast clock sent to the other one; see docs/attacks.md.
    """
    Ledger(path, boot_id(), LedgerContents((), now - 1)).close()


def boot_id() -> bytes:
    """16 bytes that change with each boot; where the system does not tell, with each call."""
    try:
        return bytes.fromhex(_BOOT_ID.read_text().strip().replace("-", ""))[:16].ljust(16, b"\0")
    except (OSError, ValueError):
        return os.urandom(16)


def parse(data: bytes, boot: bytes) -> LedgerContents:
    """Parse a ledger's bytes; `DamagedError` if a part may be missing."""
    if not data:
        raise DamagedError("is missing")
    if len(data) < _HEADER_SIZE:
        raise DamagedError("is cut off")
    magic, state, slots, opened_in = _HEADER.unpack_from(data)
    if magic != _MAGIC or data[:_HEADER_SIZE] != _header(state, slots, opened_in):
        raise DamagedError("is damaged")
    if len(data) != _HEADER_SIZE + slots * _SLOT_SIZE:
        raise DamagedError("is cut off")
    if state != _CLOSED and opened_in != boot:
        raise DamagedError("was not closed before this computer went down")
    return _past(data[at : at + _SLOT_SIZE] for at in range(_HEADER_SIZE, len(data), _SLOT_SIZE))


def _past(slots: Iterable[bytes]) -> LedgerContents:
    entries: list[tuple[bytes, int]] = []
    floor, ended = -1, False
    for slot in slots:
        if slot == _EMPTY:
            ended = True
            continue
        timestamp, its_floor, key = _SLOT.unpack_from(slot)
        if ended or slot != _slot(key, timestamp, its_floor - 1):
            raise DamagedError("is damaged")
        entries.append((key, timestamp))
        floor = max(floor, its_floor - 1)
    return LedgerContents([(key, timestamp) for key, timestamp in entries if timestamp > floor], floor)


def _newest(data: bytes) -> int:
    """Return the newest timestamp in the slots that are whole; -1 when there is none."""
    newest = -1
    for at in range(_HEADER_SIZE, len(data) - _SLOT_SIZE + 1, _SLOT_SIZE):
        slot = data[at : at + _SLOT_SIZE]
        timestamp, floor, key = _SLOT.unpack_from(slot)
        if slot == _slot(key, timestamp, floor - 1):
            newest = max(newest, timestamp)
    return newest


def _header(state: int, slots: int, boot: bytes) -> bytes:
    head = _HEADER.pack(_MAGIC, state, slots, boot)
    return (head + _CRC.pack(crc32(head))).ljust(_HEADER_SIZE, b"\0")


def _floor_slots(floor: int) -> list[bytes]:
    """Where nothing is to be remembered, a floor must still stand somewhere, until it is overwritten."""
    return [_slot(bytes(KEY_SIZE), floor, floor)] if floor >= 0 else []


def _slot(key: bytes, timestamp: int, floor: int) -> bytes:
    head = _SLOT.pack(timestamp, floor + 1, key)
    return head + _CRC.pack(crc32(head))
