"""What is found at start, and what follows from it.

| found | then |
| --- | --- |
| no store file, a zero-byte one, or no device in it; not locked | probe the sealing backend, open a window |
| devices | no window |
| a store, key or server keys that cannot be used while devices exist | `StoreError`, nothing is changed |
| pairing locked | no window until `reset` |
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass

from novakey import files
from novakey.config import Settings
from novakey.devices import serverkeys, store
from novakey.devices.sealing import choose
from novakey.devices.sealing.base import KEY_SIZE, SealingBackend
from novakey.devices.store import DeviceStore
from novakey.errors import StoreError
from novakey.pairing import record
from novakey.pairing.state import Pairing, Record, State
from novakey.paths import Paths
from novakey.secret import Secret
from novakey.wire import crypto

log = logging.getLogger(__name__)

RESTORE = "restore it from a backup, or give up every pairing with: novakey.py reset"


@dataclass
class Installation:
    """What a daemon serves with. Without a working backend nothing can be stored, so `can_pair` is false."""

    devices: DeviceStore
    server: crypto.Decapsulator
    pairing: Pairing
    backend: str
    fallback: bool
    can_pair: bool


def open_installation(paths: Paths, settings: Settings) -> Installation:
    """Read everything; `StoreError` when devices may exist but cannot be served."""
    paths.prepare()
    files.remove_leftovers(paths.data)
    files.remove(paths.qr)  # a picture left by a crash shows a token that is worth nothing
    known = record.load(paths.pairing)
    path = paths.data / settings.devices_file
    sealed = store.read(path)
    if sealed is not None:
        backend = choose.backend(known.backend or settings.device_store, paths, settings)
        key = backend.load()
        if key is None:
            raise StoreError(f"the sealing key is gone, but {path} needs it", RESTORE)
        devices = store.unseal(sealed, path, key)
        if len(devices):
            return _paired(paths, settings, known, devices, backend, key)
    return _unpaired(paths, settings, known)


def _paired(
    paths: Paths,
    settings: Settings,
    known: Record,
    devices: DeviceStore,
    backend: SealingBackend,
    key: Secret,
) -> Installation:
    path = paths.data / settings.server_keys_file
    server = serverkeys.load(path, key)
    if server is None:
        raise StoreError(f"the server keys {path} are gone, but devices are paired with them", RESTORE)
    if devices.server_fingerprint not in (None, crypto.fingerprint(server.public)):
        raise StoreError(f"the server keys {path} are not those that the devices were paired with", RESTORE)
    pairing = _pairing(paths, settings, known, paired=True)
    pairing.sealed_under(backend.name)
    return Installation(devices, server, pairing, backend.name, pairing.record.fallback, can_pair=True)


def _unpaired(paths: Paths, settings: Settings, known: Record) -> Installation:
    pairing = _pairing(paths, settings, known, paired=False)
    path = paths.data / settings.devices_file
    backend = choose.backend(settings.device_store, paths, settings)
    key = None if pairing.state is State.LOCKED else _probe(backend, pairing)
    fallback = False
    if key is None and pairing.state is not State.LOCKED and not settings.require_sealed_device_store:
        log.warning("falling back to the weaker keyfile backend (require_sealed_device_store is false)")
        backend, fallback = choose.backend("keyfile", paths, settings), True
        key = _probe(backend, pairing)
    if key is None:
        # Nothing can be stored and no window opens; there are only messages to refuse.
        nothing = DeviceStore(path, Secret(secrets.token_bytes(KEY_SIZE)), {}, None)
        return Installation(nothing, crypto.ExpandedKey.generate(), pairing, backend.name, False, False)
    server = _server_keys(paths, settings, key)
    return Installation(DeviceStore(path, key, {}, None), server, pairing, backend.name, fallback, True)


def _probe(backend: SealingBackend, pairing: Pairing) -> Secret | None:
    try:
        key = backend.load_or_create()
    except StoreError as error:
        log.error("secure storage (%s) failed, so pairing cannot begin: %s", backend.name, error)
        pairing.sealing_failed()
        return None
    pairing.sealing_worked()
    return key


def _server_keys(paths: Paths, settings: Settings, key: Secret) -> crypto.Decapsulator:
    """The server keys for a first pairing: no phone knows them yet, so unusable ones are made anew."""
    path = paths.data / settings.server_keys_file
    try:
        server = serverkeys.load(path, key)
    except StoreError as error:
        log.warning("no device is paired, so the server keys are made anew: %s", error)
        server = None
    return server or serverkeys.create(path, key)


def _pairing(paths: Paths, settings: Settings, known: Record, paired: bool) -> Pairing:
    def save(changed: Record) -> None:
        try:
            record.save(paths.pairing, changed)
        except StoreError as error:
            log.error("the pairing state cannot be saved: %s", error)
            raise

    return Pairing(known, paired, settings.pair_max_windows, save)
