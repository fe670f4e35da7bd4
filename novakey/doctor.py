"""Checks in order: what was found, why it matters, and the command that mends it."""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from novakey import files, status
from novakey.config import Settings
from novakey.devices import store
from novakey.devices.sealing import choose
from novakey.errors import NovaKeyError
from novakey.pairing import record
from novakey.paths import Paths


@dataclass(frozen=True)
class Finding:
    """One line of the report. `cure` is empty where nothing needs mending."""

    check: str
    good: bool
    found: str
    why: str
    cure: str = ""


Check = Callable[[Paths, Settings], Finding]


def examine(paths: Paths, settings: Settings) -> Iterator[Finding]:
    """Run every check, in the order in which one builds on another. Changes nothing."""
    for check in (_python, _folders, _pairing, _store, _sealing):
        yield check(paths, settings)


def _python(paths: Paths, settings: Settings) -> Finding:
    missing = [name for name in ("gevent", "nacl", "pqcrypto") if importlib.util.find_spec(name) is None]
    found = f"Python {platform.python_version()}" + (f", missing: {', '.join(missing)}" if missing else "")
    why = "the daemon needs its packages"
    return Finding("python", not missing, found, why, "start through novakey.py" if missing else "")


def _folders(paths: Paths, settings: Settings) -> Finding:
    why = "what is kept here must be the owner's alone"
    try:
        for folder in (paths.config, paths.data):
            if folder.exists():
                files.private_folder(folder)
    except NovaKeyError as error:
        return Finding("folders", False, error.problem, why, error.cure or "")
    return Finding("folders", True, f"{paths.config} and {paths.data} are owner-only", why)


def _pairing(paths: Paths, settings: Settings) -> Finding:
    now = status.read(paths, settings)
    found = now.pairing + (f": {now.reason}" if now.reason else "")
    good = now.pairing not in ("locked", "unusable")
    return Finding("pairing", good, found, "a locked pairing opens no window", "" if good else now.way_out)


def _store(paths: Paths, settings: Settings) -> Finding:
    why = "paired phones work only with the store and the keys they were paired with"
    path = paths.data / settings.devices_file
    try:
        data = store.read(path)
        if data is None:
            return Finding("store", True, f"no device store {path}", why)
        known = record.load(paths.pairing)
        key = choose.backend(known.backend or settings.device_store, paths, settings).load()
        if key is None:
            raise store.key_is_gone(path)
        devices = store.unseal(data, path, key)
        if len(devices):
            store.matching_keys(devices, paths.data / settings.server_keys_file, key)
    except NovaKeyError as error:
        return Finding("store", False, error.problem, why, error.cure or "")
    return Finding("store", True, f"{len(devices)} paired, store and server keys open", why)


def _sealing(paths: Paths, settings: Settings) -> Finding:
    """A real round trip where a key is already; making one is left to the daemon."""
    why = "without it no device can be stored, so no phone can pair"
    name = f"sealing ({settings.device_store})"
    try:
        key = choose.backend(settings.device_store, paths, settings).load()
    except NovaKeyError as error:
        return Finding(name, False, error.problem, why, error.cure or "")
    return Finding(name, True, "gives its key" if key else "reachable, no key made yet", why)
