"""`pairing.json`: what pairing must remember over a restart. It holds no secret."""

from __future__ import annotations

from pathlib import Path

from novakey.devices.sealing import choose
from novakey.errors import StoreError
from novakey.pairing.model import Record
from novakey.system import files
from novakey.wire import Malformed, jsonline


def load(path: Path) -> Record:
    """Return the record, or a fresh one when there is no file; `StoreError` for a damaged one.

    A damaged record is never taken for a fresh one: that would lift a lock.
    """
    data = files.read_private(path)
    if data is None:
        return Record()
    try:
        members = jsonline.decode(data)
        if members.pop("v", None) != 1 or members.keys() != set(Record._fields):
            raise Malformed("not our members")
        record = Record(**members)
        if any(type(member) is not type(default) for member, default in zip(record, Record(), strict=True)):
            raise Malformed("a member of another type")
        if min(record.interrupted, record.sealing_failures, record.devices_before) < 0:
            raise Malformed("a negative count")
        if not {record.backend, record.left_behind} <= {"", *choose.WEAKEST_FIRST}:
            raise Malformed("a backend that we do not have")
    except Malformed:
        raise StoreError(
            f"the pairing state {path} is damaged",
            "restore it from a backup, or start over with: novakey.py reset",
        ) from None
    return record


def save(path: Path, record: Record) -> None:
    """Replace the record, durably; `StoreError` when that fails."""
    files.replace_private(path, jsonline.encode({"v": 1, **record._asdict()}) + b"\n")


def imported(known: Record) -> Record:
    """Return the record after devices came from elsewhere: as after a pairing, but a lock stays."""
    return known._replace(
        interrupted=0,
        handshake_running=False,
        devices_before=0,
        sealing_failures=0,
        device_stored=True,
    )
