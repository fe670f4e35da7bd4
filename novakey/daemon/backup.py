"""A backup of every pairing in one file under a passphrase, and the way back.

The first line is a random key under the passphrase, as the `passphrase` backend
keeps one; the second is a sealed file under that key:

    {"made_unix":…,"devices":[…],"server_keys":{…},"locked":…,"config_name":…,"config":…}

A backup opens on any machine. There the keys are sealed again, as the settings of that machine say.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from novakey.config import load
from novakey.config.settings import Settings
from novakey.daemon import adopt_devices, startup
from novakey.devices import other_daemon, sealed_file, server_keys, store
from novakey.devices.sealing import choose
from novakey.devices.sealing.base import KEY_SIZE
from novakey.devices.sealing.passphrase_source import Source
from novakey.devices.sealing.wrapped import COST, SALT_SIZE, Wrapped, derive
from novakey.devices.store import Device, DeviceStore
from novakey.errors import NovaKeyError, StoreError
from novakey.pairing import record
from novakey.secret import Secret
from novakey.system import files
from novakey.system.folder_lock import FolderLock
from novakey.system.paths import Paths
from novakey.wire import Malformed, ProtocolError, jsonline

LABEL = b"NovaKey backup v1"
MAX_FILE = 8 << 20  # some thousand devices, and a configuration
ASIDE = "before-restore"
_CURE = "give the file as `backup` wrote it"


@dataclass(frozen=True)
class Backup:
    """What a backup holds. `config` is the name and the text of the configuration, where there was one."""

    made_unix: int
    devices: dict[str, Device]
    server: server_keys.StoredKey
    locked: str
    config: tuple[str, str] | None


@dataclass(frozen=True)
class Difference:
    """What a restore would change for the worse. `returning` are the phones that this store has revoked."""

    older: bool
    returning: tuple[str, ...]
    unknown: bool  # the store that is here does not open, so its content is unknown


@dataclass(frozen=True)
class Restored:
    """What a restore has done."""

    devices: int
    aside: Path | None
    config: Path | None


def save(path: Path, paths: Paths, settings: Settings, source: Source) -> int:
    """Write the pairings of this installation to a new file; return how many.

    `StoreError` where they do not open, `NovaKeyError` where nothing is paired or the file exists.
    """
    if path.exists():
        raise NovaKeyError(f"{path} exists already", "give another name, or move it away")
    opened = _here(paths, settings)
    if opened is None:
        raise NovaKeyError("no phone is paired, so there is nothing to keep", "pair one: novakey.py pair")
    devices, server = opened
    config = next((file for name in load.FILE_NAMES if (file := paths.config / name).is_file()), None)
    document = {
        "made_unix": int(time.time()),
        "devices": store.rows(devices),
        "server_keys": server_keys.document(server),
        "locked": record.load(paths.pairing).locked,
        "config_name": config.name if config else "",
        "config": config.read_text("utf-8") if config else "",
    }
    key, salt = Secret(os.urandom(KEY_SIZE)), secrets.token_bytes(SALT_SIZE)
    head = Wrapped.seal(key, COST, salt, derive(source.ask(new=True), COST, salt))
    try:
        files.write_private(path, head.encode() + sealed_file.seal(key, LABEL, document))
    except FileExistsError:
        raise NovaKeyError(f"{path} exists already", "give another name, or move it away") from None
    return len(devices)


def read(path: Path, source: Source) -> Backup:
    """Open a backup; `StoreError` for a file that is none, was cut or changed, or for a wrong passphrase."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}", "name the file of a backup") from None
    head, end, rest = data.partition(b"\n")
    wrapped = Wrapped.checked(head + end, str(path), _CURE)
    for left in reversed(range(source.tries)):
        wrapping = derive(source.ask(new=False), wrapped.cost, wrapped.salt)
        try:
            key = wrapped.open(wrapping)
            break
        except ProtocolError:
            problem = f"{path} does not open: the passphrase is wrong, or the file was changed"
            if not left:
                raise StoreError(problem, "give the passphrase that the backup was made with") from None
            source.tell(problem)
    return _parse(sealed_file.open_bytes(rest, path, key, LABEL), path)


def _parse(document: dict[str, object], path: Path) -> Backup:
    try:
        keys = document.get("server_keys")
        if not isinstance(keys, dict):
            raise Malformed("it has no server keys")
        name = jsonline.string(document, "config_name")
        if name not in ("", *load.FILE_NAMES):
            raise Malformed("a configuration of another name")
        return Backup(
            jsonline.integer(document, "made_unix"),
            store.parse_devices(document),
            server_keys.parse(keys),
            jsonline.string(document, "locked"),
            (name, jsonline.string(document, "config")) if name else None,
        )
    except (Malformed, ValueError) as error:
        raise StoreError(f"{path} opens but is no backup: {error}", _CURE) from None


def compare(backup: Backup, paths: Paths, settings: Settings) -> Difference:
    """Compare a backup with the store that is here, if there is one."""
    path = paths.data / settings.devices_file
    if store.read(path) is None:
        return Difference(False, (), False)
    older = path.stat().st_mtime > backup.made_unix + 1
    try:
        opened = _here(paths, settings)
    except StoreError:
        return Difference(older, (), True)
    known = {device.id for device in opened[0]} if opened else set()
    gone = (device for device in backup.devices.values() if device.id not in known)
    return Difference(older, tuple(device.name or device.id for device in gone), False)


def restore(backup: Backup, paths: Paths, settings: Settings, reload: Callable[[], Settings]) -> Restored:
    """Put the pairings of a backup in place of those that are here, whose files are kept beside.

    `reload` reads the settings again, since a configuration may have come back. Refuses while a daemon runs.
    """
    other_daemon.refuse(paths, settings)
    paths.prepare()
    with FolderLock(paths.data):
        known = record.load(paths.pairing)
        config = _put_config(backup, paths)
        try:
            settings = reload()
            if known.device_stored:
                startup.refuse_weaker(known.backend, settings)
            startup.prepare(paths, settings)
            key = choose.backend(settings.device_store, paths, settings).load_or_create()
        except BaseException:
            if config is not None:
                files.remove(config)
            raise
        aside = _keep(paths, settings)
        adopt_devices.adopt(backup.server, backup.devices, known, paths, settings, key)
        if backup.locked and not known.locked:
            record.save(paths.pairing, record.load(paths.pairing)._replace(locked=backup.locked))
    return Restored(len(backup.devices), aside, config)


def _here(paths: Paths, settings: Settings) -> tuple[DeviceStore, server_keys.StoredKey] | None:
    """Open the store of this installation; None where no device is paired."""
    path = paths.data / settings.devices_file
    sealed = store.read(path)
    if sealed is None:
        return None
    known = record.load(paths.pairing)
    key = choose.backend(known.backend or settings.device_store, paths, settings).load()
    if key is None:
        raise store.key_is_gone(path)
    devices = store.unseal(sealed, path, key)
    if not len(devices):
        return None
    return devices, store.matching_keys(devices, paths.data / settings.server_keys_file, key)


def _keep(paths: Paths, settings: Settings) -> Path | None:
    """Copy the state that is here to a folder beside it; None where there is none."""
    kept = paths.kept(settings.devices_file, settings.server_keys_file)
    there = [path for path in kept if path.is_file() and path != paths.qr]
    if not (paths.data / settings.devices_file).exists():
        return None
    aside = files.free_name(paths.data / ASIDE)
    aside.mkdir(mode=0o700)
    for path in there:
        shutil.copy2(path, aside / path.name)
    return aside


def _put_config(backup: Backup, paths: Paths) -> Path | None:
    """Write the configuration of the backup where none is here."""
    if backup.config is None or any((paths.config / name).exists() for name in load.FILE_NAMES):
        return None
    name, text = backup.config
    files.replace_private(paths.config / name, text.encode())
    return paths.config / name
