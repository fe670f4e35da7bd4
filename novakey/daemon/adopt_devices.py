"""Devices and server keys that come from elsewhere: from the existing daemon, or from a backup."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from novakey.config.settings import Settings
from novakey.devices import server_keys
from novakey.devices.store import Device, DeviceStore
from novakey.errors import StoreError
from novakey.messages import ledger
from novakey.pairing import record
from novakey.pairing.model import Record
from novakey.secret import Secret
from novakey.system.paste import command
from novakey.system.paths import Paths
from novakey.wire import crypto


def adopt(
    server: server_keys.StoredKey,
    devices: Mapping[str, Device],
    known: Record,
    paths: Paths,
    settings: Settings,
    key: Secret,
) -> None:
    """Write server keys and devices that come from elsewhere, sealed under the key of this installation.

    A crash in between leaves a store that does not start, and the next try completes it.
    """
    server_keys.save(paths.data / settings.server_keys_file, key, server)
    known = known._replace(backend=settings.device_store, fallback=False)
    record.save(paths.pairing, known)
    _begin_ledger(paths.replay_ledger)
    ours = DeviceStore(paths.data / settings.devices_file, key, {}, None)
    ours.replace_all(devices, crypto.fingerprint(server.public))
    record.save(paths.pairing, record.imported(known))


def _begin_ledger(path: Path) -> None:
    """Begin a ledger that refuses every message that was sent before now."""
    try:
        ledger.begin(path, int(time.time()))
    except OSError as error:
        problem = f"{path} cannot be written: {(error.strerror or type(error).__name__).lower()}"
        raise StoreError(
            problem, f"make room, and try again: {command('df', '-h', foreign=path.parent)}"
        ) from error
