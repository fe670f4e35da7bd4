"""Start: read the facts on disk, choose one plan, act on it.

| facts | plan |
| --- | --- |
| a store that no key here opens | `KEY_GONE`: refuse, and change nothing |
| no device | `FIRST_PAIRING`: probe the sealing backend; a window may open unless pairing is locked |
| devices under a stronger backend than the configured one | `WEAKER`: refuse, and change nothing |
| devices, and `rotate_kyber_keys` | `ROTATE`: ask; with consent drop them, else go on without |
| devices under a weaker backend, which was a fallback | `KEEP_FALLBACK`: serve, and warn |
| devices under a weaker backend | `MOVE_UP`: move the key to the configured backend, and serve |
| devices | `SERVE` |
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from novakey.config.settings import Settings
from novakey.devices import server_keys, store
from novakey.devices.sealing import choose
from novakey.devices.sealing.base import KEY_SIZE, SealingBackend
from novakey.devices.store import DeviceStore
from novakey.errors import ConfigError, StoreError
from novakey.pairing import record
from novakey.pairing.model import Record
from novakey.pairing.state import Pairing, State
from novakey.secret import Secret
from novakey.system import files
from novakey.system.folder_lock import FolderLock
from novakey.system.paths import Paths
from novakey.wire import crypto

log = logging.getLogger(__name__)


class Installation(NamedTuple):
    """What a daemon serves with. Without a working backend nothing can be stored, so `can_pair` is false."""

    devices: DeviceStore
    server: crypto.Decapsulator
    pairing: Pairing
    can_pair: bool


class Facts(NamedTuple):
    """What stands on disk, as far as it decides what start does."""

    configured: str  # `device_store`
    backend: str  # whose key seals the store, or would
    sealed: bool = False  # there is a store with something in it
    has_key: bool = False
    devices: int = 0
    fallback: bool = False  # `backend` was taken because the configured one failed
    rotate: bool = False  # the configuration wants new server keys


class Plan(Enum):
    """What start does; see the table above."""

    KEY_GONE = auto()
    FIRST_PAIRING = auto()
    WEAKER = auto()
    ROTATE = auto()
    KEEP_FALLBACK = auto()
    MOVE_UP = auto()
    SERVE = auto()


def plan(facts: Facts) -> Plan:
    """Choose what start does. Pure."""
    match facts:
        case Facts(sealed=True, has_key=False):
            return Plan.KEY_GONE
        case Facts(devices=0):
            return Plan.FIRST_PAIRING
        case _ if choose.stronger(facts.backend, facts.configured):
            return Plan.WEAKER
        case Facts(rotate=True):
            return Plan.ROTATE
        case _ if choose.stronger(facts.configured, facts.backend):
            return Plan.KEEP_FALLBACK if facts.fallback else Plan.MOVE_UP
    return Plan.SERVE


class _Opened(NamedTuple):
    """A store, and the key that opened it."""

    backend: SealingBackend
    devices: DeviceStore
    key: Secret


def open_installation(
    paths: Paths, settings: Settings, confirm: Callable[[str], bool] = lambda question: False
) -> Installation:
    """Open everything; `StoreError` when devices may exist but cannot be served.

    `confirm` is asked before anything that makes paired phones useless.
    """
    prepare(paths, settings)
    known = record.load(paths.pairing)
    facts, opened = _read(paths, settings, known)
    chosen = plan(facts)
    if chosen is Plan.KEY_GONE:
        raise store.key_is_gone(paths.data / settings.devices_file)
    if chosen is Plan.WEAKER:
        raise _weaker(facts.backend, facts.configured)
    if chosen is Plan.FIRST_PAIRING or opened is None:
        return _unpaired(paths, settings, known)
    if chosen is Plan.ROTATE:
        if _rotate(paths, settings, opened, confirm):
            return _unpaired(paths, settings, known)
        chosen = plan(facts._replace(rotate=False))
    return _paired(paths, settings, known, opened, chosen)


def _read(paths: Paths, settings: Settings, known: Record) -> tuple[Facts, _Opened | None]:
    """Return the facts and, if there is a store whose key is here, that store."""
    path = paths.data / settings.devices_file
    facts = Facts(
        settings.device_store,
        known.backend or settings.device_store,
        fallback=known.fallback,
        rotate=settings.rotate_kyber_keys,
    )
    sealed = store.read(path)
    if sealed is None:
        return facts, None
    backend = choose.backend(facts.backend, paths, settings)
    key = backend.load()
    if key is None:
        return facts._replace(sealed=True), None
    devices = store.unseal(sealed, path, key)
    return facts._replace(sealed=True, has_key=True, devices=len(devices)), _Opened(backend, devices, key)


def check_names(paths: Paths, settings: Settings) -> None:
    """Raise `ConfigError` where a key names a file that holds something else of ours."""
    kept = paths.kept(settings.devices_file, settings.server_keys_file)
    store_file, keys_file, *others = (path.parent.resolve() / path.name for path in kept)
    reserved = {*others, paths.data.resolve() / FolderLock.NAME}
    if store_file == keys_file or {store_file, keys_file} & reserved:
        raise ConfigError(
            "devices_file or server_keys_file is the name of another file of this program",
            "give each of them a name of its own, or leave them out",
        )


def prepare(paths: Paths, settings: Settings) -> None:
    """Make sure that our files lie in owner-only folders; sweep up after a crash."""
    paths.prepare()
    kept = paths.kept(settings.devices_file, settings.server_keys_file)
    for path in kept[:2]:
        files.private_folder(path.parent.resolve())
    files.remove_leftovers(*kept)
    files.remove(paths.qr)  # a picture left by a crash shows a token that is worth nothing


def refuse_weaker(backend: str, settings: Settings) -> None:
    """`StoreError` where the configuration would go down from the backend that devices were stored under."""
    if choose.stronger(backend, settings.device_store):
        raise _weaker(backend, settings.device_store)


def _weaker(backend: str, configured: str) -> StoreError:
    return StoreError(
        f"devices are stored under {backend}, and the weaker {configured} is refused",
        f"set device_store: {backend}, or give up every pairing with: novakey.py reset",
    )


def _paired(paths: Paths, settings: Settings, known: Record, opened: _Opened, chosen: Plan) -> Installation:
    backend, devices, key = opened
    server = store.matching_keys(devices, paths.data / settings.server_keys_file, key)
    pairing = _pairing(paths, settings, known, len(devices))
    if known.left_behind:
        _forget_weaker_copy(choose.backend(known.left_behind, paths, settings), backend, pairing)
    match chosen:
        case Plan.KEEP_FALLBACK:
            log.warning(
                "devices are stored under %s, because %s failed when the first one was paired; "
                "only a reset and a new pairing changes that",
                backend.name,
                settings.device_store,
            )
            pairing.sealed_under(backend.name, fallback=True)
        case Plan.MOVE_UP:
            _move_up(backend, choose.backend(settings.device_store, paths, settings), key, pairing)
        case _:
            pairing.sealed_under(backend.name)
    return Installation(devices, server, pairing, can_pair=True)


def _move_up(old: SealingBackend, new: SealingBackend, key: Secret, pairing: Pairing) -> None:
    """Move the sealing key to the stronger backend; a crash leaves it in one of them, or in both."""
    there = new.load()
    if there is None:
        new.store(key)
    elif there != key:
        raise StoreError(
            f"the {new.name} backend holds the key of another store",
            f"set device_store: {old.name}, or give up every pairing with: novakey.py reset",
        )
    pairing.sealed_under(new.name, left_behind=old.name)
    log.warning("the sealing key moved from %s to %s", old.name, new.name)
    _forget_weaker_copy(old, new, pairing)


def _forget_weaker_copy(old: SealingBackend, new: SealingBackend, pairing: Pairing) -> None:
    """Also at the start after a crash or a failure: a key in a weaker place is as weak as that place."""
    try:
        old.delete()
    except StoreError as error:
        log.error("a copy of the sealing key is still under %s: %s", old.name, error.in_one_line)
        return
    pairing.sealed_under(new.name)


def _rotate(paths: Paths, settings: Settings, opened: _Opened, confirm: Callable[[str], bool]) -> bool:
    """Drop the devices for new server keys, if the owner agrees."""
    devices = opened.devices
    count = f"{len(devices)} paired device{'s' if len(devices) > 1 else ''}"
    if not confirm(f"rotate_kyber_keys makes new server keys: {count} must pair again"):
        log.warning("the server keys are not rotated: that would unpair %s, and no consent was given", count)
        return False
    log.warning("the server keys are rotated: %s must pair again", count)
    devices.remove_all()
    server_keys.create(paths.data / settings.server_keys_file, opened.key)
    return True


def _unpaired(paths: Paths, settings: Settings, known: Record) -> Installation:
    pairing = _pairing(paths, settings, known, 0)
    path = paths.data / settings.devices_file
    key = None if pairing.state is State.LOCKED else _probe(paths, settings, pairing)
    if key is None:
        # Nothing can be stored and no window opens; there are only messages to refuse.
        nothing = DeviceStore(path, Secret(os.urandom(KEY_SIZE)), {}, None)
        return Installation(nothing, crypto.ExpandedKey.generate(), pairing, can_pair=False)
    server = _server_keys(paths, settings, key)
    return Installation(DeviceStore(path, key, {}, None), server, pairing, can_pair=True)


def _probe(paths: Paths, settings: Settings, pairing: Pairing) -> Secret | None:
    """Return the key to seal a first store with; None when no backend that may be used gives one."""
    known = pairing.record
    if known.device_stored:  # the store was removed, which is no reset
        refuse_weaker(known.backend, settings)
    weaker = settings.device_store != "keyfile" and not settings.require_sealed_device_store
    if known.device_stored and choose.stronger(known.backend, "keyfile"):
        weaker = False
    try:
        key = choose.backend(settings.device_store, paths, settings).load_or_create()
    except StoreError as error:
        if not weaker:
            log.error(
                "secure storage (%s) failed, so no pairing window opens: %s",
                settings.device_store,
                error.in_one_line,
            )
            pairing.sealing_failed()
            return None
        log.warning("secure storage (%s) failed: %s", settings.device_store, error.in_one_line)
        log.warning("falling back to the weaker keyfile backend: require_sealed_device_store is false")
        return _fall_back(paths, settings, pairing)
    pairing.sealing_worked(settings.device_store, fallback=False)
    return key


def _fall_back(paths: Paths, settings: Settings, pairing: Pairing) -> Secret | None:
    try:
        key = choose.backend("keyfile", paths, settings).load_or_create()
    except StoreError as error:
        log.error("secure storage (keyfile) failed, so no pairing window opens: %s", error.in_one_line)
        pairing.sealing_failed()
        return None
    pairing.sealing_worked("keyfile", fallback=True)
    return key


def _server_keys(paths: Paths, settings: Settings, key: Secret) -> crypto.Decapsulator:
    """Return the server keys for a first pairing: no phone knows them yet, so unusable ones are replaced."""
    path = paths.data / settings.server_keys_file
    if settings.rotate_kyber_keys:
        return server_keys.create(path, key)
    try:
        server = server_keys.load(path, key)
    except StoreError as error:
        log.warning("no device is paired, so the server keys are replaced: %s", error.in_one_line)
        server = None
    return server or server_keys.create(path, key)


def _pairing(paths: Paths, settings: Settings, known: Record, devices: int) -> Pairing:
    def save(changed: Record) -> None:
        try:
            record.save(paths.pairing, changed)
        except StoreError as error:
            log.error("the pairing state cannot be saved: %s", error.in_one_line)
            raise

    return Pairing(known, devices, settings.pair_max_windows, save)
