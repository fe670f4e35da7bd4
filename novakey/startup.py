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
from collections.abc import Callable
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


@dataclass
class Installation:
    """What a daemon serves with. Without a working backend nothing can be stored, so `can_pair` is false."""

    devices: DeviceStore
    server: crypto.Decapsulator
    pairing: Pairing
    backend: str
    fallback: bool
    can_pair: bool


def open_installation(
    paths: Paths, settings: Settings, confirm: Callable[[str], bool] = lambda question: False
) -> Installation:
    """Read everything; `StoreError` when devices may exist but cannot be served.

    `confirm` is asked before anything that makes paired phones useless.
    """
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
            raise store.key_is_gone(path)
        devices = store.unseal(sealed, path, key)
        if len(devices) and not _rotate(paths, settings, devices, key, confirm):
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
    server = store.matching_keys(devices, paths.data / settings.server_keys_file, key)
    pairing = _pairing(paths, settings, known, len(devices))
    if choose.stronger(backend.name, settings.device_store):
        raise StoreError(
            f"devices are stored under {backend.name}, and the weaker {settings.device_store} is refused",
            f"set device_store: {backend.name}, or give up every pairing with: novakey.py reset",
        )
    if known.fallback:
        log.warning(
            "devices are stored under %s, because %s failed when the first one was paired; "
            "only a reset and a new pairing changes that",
            backend.name,
            settings.device_store,
        )
        pairing.sealed_under(backend.name, fallback=True)
    elif choose.stronger(settings.device_store, backend.name):
        backend = _move_up(backend, choose.backend(settings.device_store, paths, settings), key, pairing)
    else:
        pairing.sealed_under(backend.name, fallback=False)
    return Installation(devices, server, pairing, backend.name, pairing.record.fallback, can_pair=True)


def _move_up(old: SealingBackend, new: SealingBackend, key: Secret, pairing: Pairing) -> SealingBackend:
    """Move the sealing key to the stronger backend; a crash leaves it in one of them, or in both."""
    there = new.load()
    if there is None:
        new.store(key)
    elif there != key:
        raise StoreError(
            f"the {new.name} backend holds the key of another store",
            f"set device_store: {old.name}, or give up every pairing with: novakey.py reset",
        )
    pairing.sealed_under(new.name, fallback=False)
    old.delete()
    log.warning("the sealing key moved from %s to %s", old.name, new.name)
    return new


def _rotate(
    paths: Paths, settings: Settings, devices: DeviceStore, key: Secret, confirm: Callable[[str], bool]
) -> bool:
    """Drop the devices for new server keys, where `rotate_kyber_keys` asks for it and the owner agrees."""
    if not settings.rotate_kyber_keys:
        return False
    count = f"{len(devices)} paired device{'s' if len(devices) > 1 else ''}"
    if not confirm(f"rotate_kyber_keys makes new server keys: {count} must pair again"):
        log.warning("the server keys are not rotated: that would unpair %s, and nobody agreed", count)
        return False
    log.warning("the server keys are rotated: %s must pair again", count)
    devices.remove_all()
    serverkeys.create(paths.data / settings.server_keys_file, key)
    return True


def _unpaired(paths: Paths, settings: Settings, known: Record) -> Installation:
    pairing = _pairing(paths, settings, known, 0)
    path = paths.data / settings.devices_file
    backend = choose.backend(settings.device_store, paths, settings)
    key = None if pairing.state is State.LOCKED else _probe(backend, pairing)
    fallback = False
    if key is None and pairing.state is not State.LOCKED and not settings.require_sealed_device_store:
        log.warning("falling back to the weaker keyfile backend: require_sealed_device_store is false")
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
        log.error("secure storage (%s) failed, so no pairing window opens: %s", backend.name, error)
        pairing.sealing_failed()
        return None
    pairing.sealing_worked()
    return key


def _server_keys(paths: Paths, settings: Settings, key: Secret) -> crypto.Decapsulator:
    """The server keys for a first pairing: no phone knows them yet, so unusable ones are made anew."""
    path = paths.data / settings.server_keys_file
    if settings.rotate_kyber_keys:
        return serverkeys.create(path, key)
    try:
        server = serverkeys.load(path, key)
    except StoreError as error:
        log.warning("no device is paired, so the server keys are made anew: %s", error)
        server = None
    return server or serverkeys.create(path, key)


def _pairing(paths: Paths, settings: Settings, known: Record, devices: int) -> Pairing:
    def save(changed: Record) -> None:
        try:
            record.save(paths.pairing, changed)
        except StoreError as error:
            log.error("the pairing state cannot be saved: %s", error)
            raise

    return Pairing(known, devices, settings.pair_max_windows, save)
