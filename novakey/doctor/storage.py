"""Whether phones can be stored and found again: packages, folders, pairing, store, keys, sealing."""

from __future__ import annotations

import importlib.util
import platform
import secrets
import sys
import tempfile
from pathlib import Path

from novakey.config.settings import Settings
from novakey.devices import other_daemon, sealed_file, store
from novakey.devices.sealing import choose
from novakey.devices.sealing.base import KEY_SIZE, SealingBackend
from novakey.doctor.finding import About, Check, Finding
from novakey.errors import NovaKeyError, StoreError
from novakey.pairing import record, status
from novakey.secret import Secret
from novakey.system import files
from novakey.system.paths import Paths

_PACKAGES = ("gevent", "nacl", "pqcrypto", "qrcode", "png", "platformdirs", "yaml", "Xlib") + (
    ("jeepney",) if sys.platform.startswith("linux") else ()
)


def _python(paths: Paths, settings: Settings) -> Finding:
    about = About("python", "the daemon needs its packages")
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    found = f"Python {platform.python_version()}"
    if missing:
        return about.fault(f"{found}, missing: {', '.join(missing)}", "start through novakey.py")
    return about.ok(found)


def _folders(paths: Paths, settings: Settings) -> Finding:
    about = About("folders", "what is kept here must be the owner's alone")
    try:
        for folder in (paths.config, paths.data):
            if folder.exists():
                files.private_folder(folder)
    except NovaKeyError as error:
        return about.failed(error)
    return about.ok(f"{paths.config} and {paths.data} are owner-only")


def _pairing(paths: Paths, settings: Settings) -> Finding:
    about = About("pairing", "a locked pairing opens no window")
    now = status.read(paths, settings)
    found = now.pairing + (f": {now.reason}" if now.reason else "")
    if now.pairing in ("locked", "unusable"):
        return about.fault(found, now.way_out)
    return about.ok(found)


def _store(paths: Paths, settings: Settings) -> Finding:
    about = About("store", "paired phones work only with the store and the keys they were paired with")
    path = paths.data / settings.devices_file
    try:
        other_daemon.refuse(paths, settings)
        data = store.read(path)
        if data is None:
            return about.ok(f"no device store {path}")
        known = record.load(paths.pairing)
        key = choose.backend(known.backend or settings.device_store, paths, settings).load()
        if key is None:
            raise store.key_is_gone(path)
        devices = store.unseal(data, path, key)
        if len(devices):
            store.matching_keys(devices, paths.data / settings.server_keys_file, key)
    except NovaKeyError as error:
        return about.failed(error)
    return about.ok(f"{len(devices)} paired, store and server keys open")


def sealing(paths: Paths, settings: Settings) -> Finding:
    """Check the backend of the sealing key by a real round trip."""
    about = About(
        f"sealing ({settings.device_store})", "without it no device can be stored, so no phone can pair"
    )
    try:
        backend = choose.backend(settings.device_store, paths, settings)
        key = backend.load()
        if key is None:
            _round_trip(settings, paths)
            return about.ok("a key was kept, given back and removed again")
        _seal_and_open(key)
    except NovaKeyError as error:
        return about.failed(error)
    except OSError as error:
        return about.fault(
            f"{paths.config} cannot be written: {error.strerror}", "make room, or correct its rights"
        )
    return about.ok("gives its key, and what is sealed with it opens")


def _round_trip(settings: Settings, paths: Paths) -> None:
    """With an entry of its own beside ours, which is removed again."""
    folder = paths.config if paths.config.is_dir() else None
    with tempfile.TemporaryDirectory(prefix=".doctor-", dir=folder) as made:
        backend = choose.backend(settings.device_store, Paths.under(Path(made)), settings)
        try:
            _keep(backend)
        finally:
            backend.delete()


def _keep(backend: SealingBackend) -> None:
    key = Secret(secrets.token_bytes(KEY_SIZE))
    backend.store(key)
    if backend.load() != key:
        raise StoreError(f"the {backend.name} backend does not give back the key that it was given")


def _seal_and_open(key: Secret) -> None:
    with tempfile.TemporaryDirectory(prefix="novakey-doctor-") as made:
        path = Path(made) / "sealed.json"
        sealed_file.write(path, key, sealed_file.DEVICES_LABEL, {"devices": []})
        sealed_file.open_bytes(path.read_bytes(), path, key, sealed_file.DEVICES_LABEL)


CHECKS: tuple[Check, ...] = (_python, _folders, _pairing, _store, sealing)
