"""When each device was last heard, and how often: figures for the owner, and nothing depends on them.

They are kept in memory and written now and then, since a disk write for each
message would cost more than the message. The file is sealed like the store: it
would tell when its owner was at the machine. One that cannot be read is replaced.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import NamedTuple

from novakey.devices import sealed_file
from novakey.errors import StoreError
from novakey.secret import Secret
from novakey.system import files
from novakey.wire import Malformed, jsonline

log = logging.getLogger(__name__)

LABEL = b"NovaKey activity v1"


class DeviceStats(NamedTuple):
    """Of one device: unix seconds of the last message, accepted messages, delivered secrets."""

    last_seen: int = 0
    messages: int = 0
    delivered: int = 0


_NEVER = DeviceStats()


class Activity:
    """The figures of the devices, of which `known` are paired."""

    def __init__(self, path: Path, key: Secret, known: Set[str]) -> None:
        self._path = path
        self._key = key
        self._figures = _load(path, key, known) if known else {}
        self.dirty = False

    def get(self, device_id: str) -> DeviceStats:
        """Return the figures of a device; zeros if it was never heard."""
        return self._figures.get(device_id, _NEVER)

    def count(self, device_id: str, at: int, delivered: bool) -> None:
        """Count a message of the device."""
        stats = self.get(device_id)
        self._figures[device_id] = DeviceStats(at, stats.messages + 1, stats.delivered + delivered)
        self.dirty = True

    def forget(self, device_id: str) -> None:
        """Forget a device that was paired again or revoked."""
        if self._figures.pop(device_id, None) is not None:
            self.dirty = True

    def save(self) -> None:
        """Write the figures where they changed. A failure is logged: they are not worth more."""
        if not self.dirty:
            return
        document = {"devices": {device_id: stats._asdict() for device_id, stats in self._figures.items()}}
        self.dirty = False  # before it waits for the disk: what is counted in between is still to be written
        try:
            sealed_file.write(self._path, self._key, LABEL, document)
        except StoreError as error:
            self.dirty = True
            log.warning("when the devices were last seen cannot be written down: %s", error)


def _load(path: Path, key: Secret, known: Set[str]) -> dict[str, DeviceStats]:
    try:
        data = files.read_private(path)
        document = {} if data is None else sealed_file.open_bytes(data, path, key, LABEL)
        return {device_id: stats for device_id, stats in _parse(document) if device_id in known}
    except (StoreError, Malformed) as error:
        log.warning("when the devices were last seen is lost: %s", error)
        return {}


def _parse(document: Mapping[str, object]) -> Iterator[tuple[str, DeviceStats]]:
    devices = document.get("devices", {})
    if not isinstance(devices, dict):
        raise Malformed("it has no devices")
    for device_id, row in devices.items():
        if not isinstance(row, dict):
            raise Malformed("a device is not an object")
        yield device_id, DeviceStats(*(jsonline.integer(row, name) for name in DeviceStats._fields))
