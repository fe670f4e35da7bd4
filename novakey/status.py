"""What the files say about pairing, for `status` and `doctor`. Needs no running daemon."""

from __future__ import annotations

from dataclasses import dataclass

from novakey import files
from novakey.config import Settings
from novakey.devices import store
from novakey.devices.sealing import choose
from novakey.errors import NovaKeyError
from novakey.pairing import record
from novakey.paths import Paths

WAY_OUT = "only a full reset lifts this: novakey.py reset"


@dataclass(frozen=True)
class Status:
    """A daemon's process id if one runs; the pairing state, why it is so, and the way out of it."""

    pid: int | None
    pairing: str
    devices: int | None
    reason: str = ""
    way_out: str = ""


def read(paths: Paths, settings: Settings) -> Status:
    """The status of an installation. Asks nobody: a store that may need a prompt is not opened."""
    pid = files.FolderLock.holder(paths.data)
    try:
        known = record.load(paths.pairing)
        sealed = store.read(paths.data / settings.devices_file)
        devices = _count(paths, settings, known.backend or settings.device_store, sealed)
    except NovaKeyError as error:
        return Status(pid, "unusable", None, error.problem, error.cure or "")
    if known.locked:
        return Status(pid, "locked", devices, known.locked, WAY_OUT)
    if devices != 0:
        return Status(pid, "paired", devices)
    if pid is not None and paths.qr.exists():
        return Status(pid, "window open", devices, "a QR waits for a phone", f"scan {paths.qr}")
    if known.sealing_failures:
        times = "once" if known.sealing_failures == 1 else f"{known.sealing_failures} times in a row"
        return Status(pid, "unpaired", devices, f"secure storage failed {times}", "see: novakey.py doctor")
    way_out = "start the daemon" if pid is None else "restart the daemon for a new window"
    return Status(pid, "unpaired", devices, "no phone is paired", way_out)


def _count(paths: Paths, settings: Settings, backend: str, sealed: bytes | None) -> int | None:
    """How many devices are stored; None when only the daemon can tell without asking somebody."""
    if sealed is None:
        return 0
    if backend != "keyfile":
        return None
    key = choose.backend(backend, paths, settings).load()
    if key is None:
        raise store.key_is_gone(paths.data / settings.devices_file)
    return len(store.unseal(sealed, paths.data / settings.devices_file, key))
