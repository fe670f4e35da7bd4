"""How pairing stands, for `status` and `doctor`; `read` needs no running daemon."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from novakey.config.settings import Settings
from novakey.devices import other_daemon, store
from novakey.devices.sealing import choose
from novakey.devices.store import Device
from novakey.errors import NovaKeyError
from novakey.pairing import record
from novakey.pairing.model import WAY_OUT, Record
from novakey.system.interfaces import Interface, is_own
from novakey.system.paths import Paths
from novakey.wire.uri import plain_host


class Found(NamedTuple):
    """How pairing stands, why it is so, and the way out of it."""

    pairing: str
    devices: int | None
    reason: str = ""
    way_out: str = ""


def read(paths: Paths, settings: Settings) -> Found:
    """Read the files without a prompt: a store that may need one is not opened."""
    try:
        other_daemon.refuse(paths, settings)
        known = record.load(paths.pairing)
        sealed = store.read(paths.data / settings.devices_file)
        devices = _count(paths, settings, known.backend or settings.device_store, sealed)
    except NovaKeyError as error:
        return Found("unusable", None, error.problem, error.cure or "")
    return describe(known, devices)


def describe(
    known: Record, devices: int | None, window: bool = False, can_pair: bool = True, running: bool = False
) -> Found:
    """How pairing stands by its record, the number of devices, and whether a window is open."""
    if known.locked:
        return Found("locked", devices, known.locked, WAY_OUT)
    if window:
        return Found("window open", devices, "a QR waits for a phone", "show it: novakey.py pair")
    if devices != 0:
        return Found("paired", devices)
    if known.sealing_failures or not can_pair:
        times = {0: "", 1: " once"}.get(known.sealing_failures, f" {known.sealing_failures} times in a row")
        return Found("unpaired", devices, f"secure storage failed{times}", "see: novakey.py doctor")
    way_out = "open a window: novakey.py pair" if running else "start the daemon: novakey.py serve"
    return Found("unpaired", devices, "no phone is paired", way_out)


def out_of_reach(devices: Iterable[Device], advertise_host: str, known: list[Interface] | None) -> list[str]:
    """Return the addresses that phones were paired under and that are not this computer's any more.

    The phone goes on to use the host of the QR that it scanned. `known` is what `interfaces` returned.
    """
    hosts = {device.paired_to for device in devices} - {"", plain_host(advertise_host)}
    return sorted(host for host in hosts if not is_own(host, known))


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
