"""Coming from the existing daemon without pairing again. The source folder is only read.

Its `server_keys.json` holds a 64-byte seed, its `devices.json` is plain or
sealed under a key in the OS keyring, and its `server_config.yaml` or `.json`
uses our names. Ours are written only when all of it could be read.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from novakey.config import load
from novakey.config.settings import Settings
from novakey.daemon import startup
from novakey.devices import sealed_file, server_keys, store
from novakey.devices.sealing import choose
from novakey.devices.seeded_key import SeededKey
from novakey.devices.store import Device, DeviceStore
from novakey.errors import NovaKeyError, StoreError
from novakey.messages import ledger
from novakey.pairing import record
from novakey.secret import Secret
from novakey.system import files
from novakey.system.paths import Paths
from novakey.wire import Malformed, crypto, jsonline

CONFIG_NAMES = ("server_config.yaml", "server_config.yml", "server_config.json")
# Names of files, which are ours in our folders whatever they were called in the other ones.
_NOT_TAKEN = ("devices_file", "server_keys_file", "log_dir", "log_file")
_MAX_FILE = 1 << 20
_CURE = "give the folder that the other daemon keeps its files in, as the user that it runs as"


@dataclass(frozen=True)
class Imported:
    """What was taken over: how many devices, and the configuration's file where one was written."""

    devices: int
    config: Path | None


def import_from(folder: Path, paths: Paths, settings: Settings) -> Imported:
    """Read `folder` and write our files; `NovaKeyError` and nothing written when that cannot be.

    Refuses where a device is paired already, or while a daemon runs.
    """
    if not folder.is_dir():
        raise NovaKeyError(f"{folder} is not a folder", "give the folder that holds the other daemon's files")
    theirs = _config_file(folder)
    taken = load.load(theirs, {}, folder) if theirs else Settings()
    server = _server_keys(folder / taken.server_keys_file)
    devices = _devices(folder / taken.devices_file, settings)
    paths.prepare()
    with files.FolderLock(paths.data):
        startup.prepare(paths, settings)
        known = record.load(paths.pairing)
        path = paths.data / settings.devices_file
        if store.read(path) is not None:
            raise NovaKeyError(
                f"there is a device store already: {path}", "to give it up first: novakey.py reset"
            )
        if known.device_stored:  # the store was removed, which is no reset
            startup.refuse_weaker(known.backend, settings)
        key = choose.backend(settings.device_store, paths, settings).load_or_create()
        config_file = _write_config(taken, paths)
        server_keys.save(paths.data / settings.server_keys_file, key, server)
        known = known._replace(backend=settings.device_store, fallback=False)
        record.save(paths.pairing, known)
        ledger.begin(paths.replay_ledger, int(time.time()))
        # The store comes last but one: with it the import is done, and a second one is refused.
        ours = DeviceStore(path, key, {}, None)
        ours.replace_all(devices, crypto.fingerprint(server.public))
        record.save(paths.pairing, record.imported(known))
        return Imported(len(devices), config_file)


def _config_file(folder: Path) -> Path | None:
    found = [folder / name for name in CONFIG_NAMES if (folder / name).is_file()]
    if len(found) > 1:
        raise NovaKeyError(
            f"{folder} holds more than one configuration: {', '.join(p.name for p in found)}",
            "move the stale one away",
        )
    return found[0] if found else None


def _server_keys(path: Path) -> SeededKey:
    try:
        document = jsonline.decode(_read(path))
        seed = base64.b64decode(jsonline.string(document, "kyber768_secret"), validate=True)
        public = base64.b64decode(jsonline.string(document, "kyber768_public"), validate=True)
        pair = SeededKey(Secret(seed))
        server_keys.check_pair(pair, public)
    except (Malformed, ValueError) as error:
        raise StoreError(f"{path} does not hold the other daemon's keys: {error}", _CURE) from None
    return pair


def _devices(path: Path, settings: Settings) -> Mapping[str, Device]:
    data = _read(path)
    try:
        document = jsonline.decode(data)
        if "ct_b64" in document:
            document = sealed_file.open_bytes(data, path, _their_key(settings), sealed_file.DEVICES_LABEL)
        devices = store.parse_devices(document)
    except Malformed as error:
        raise StoreError(f"{path} is not the other daemon's device store: {error}", _CURE) from None
    if not devices:
        raise NovaKeyError(f"{path} holds no device, so there is nothing to import", "pair a phone instead")
    return devices


def _their_key(settings: Settings) -> Secret:
    from novakey.devices.sealing import keyring

    return keyring.existing_daemon_key(settings.keyring_timeout_s)


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}", _CURE) from error
    if len(data) > _MAX_FILE:
        raise StoreError(f"{path} is larger than {_MAX_FILE} bytes, so it is not the other daemon's", _CURE)
    return data


def _write_config(taken: Settings, paths: Paths) -> Path | None:
    """What their configuration says, less the names of files, as ours; never over one that is there."""
    rows: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value, origin in load.effective(taken)
        if origin != load.DEFAULT_ORIGIN and name not in _NOT_TAKEN
    }
    path = paths.config / load.FILE_NAMES[0]
    if not rows or any((paths.config / name).exists() for name in load.FILE_NAMES):
        return None
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in rows.items()]
    files.replace_private(path, "\n".join(["# imported from the existing daemon", *lines, ""]).encode())
    return path
