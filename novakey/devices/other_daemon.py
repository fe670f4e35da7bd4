"""The existing daemon's files in our data folder, told from ours by their content.

Its Linux package keeps everything in the folder that is ours too, and the names are
the same. Its server keys and, unless it seals them, its devices lie there in the
clear; ours are always sealed.

| file | its | ours |
| --- | --- | --- |
| device store | plain, or sealed beside plain server keys | sealed |
| server keys | plain | sealed |
| configuration | `server_config.*` | `novakey.*` |

A file that is cut before it says anything goes with the ones that do.
"""

from __future__ import annotations

import os
import stat
from enum import Enum, auto
from pathlib import Path

from novakey.config.settings import Settings
from novakey.devices import import_record
from novakey.errors import StoreError
from novakey.system.paths import Paths

CONFIG_NAMES = ("server_config.yaml", "server_config.yml", "server_config.json")
_PLAIN = (b'"kyber768_', b'"devices"', b'"key_hex"')
_SEALED = (b'"alg"', b'"ct_b64"', b'"nonce_b64"')
_HEAD = 4096  # the first member of either kind stands in it

TAKE_OVER = "take over from it, with its phones: novakey.py import"
INTERRUPTED = "an import was interrupted half-way"
GO_ON = "finish it: novakey.py import, or go back: novakey.py import --undo"


class _Kind(Enum):
    NONE = auto()  # not there, or no regular file
    PLAIN = auto()  # the existing daemon's
    SEALED = auto()  # by whom, its content does not say
    UNCLEAR = auto()  # cut, empty or something else


def files(folder: Path, devices_file: str, server_keys_file: str) -> list[Path]:
    """Its files under our names, and its configuration beside them; empty where none is in our way."""
    store, server_keys = folder / devices_file, folder / server_keys_file
    kinds = {path: _kind(path) for path in (store, server_keys)}
    configurations = [folder / name for name in CONFIG_NAMES if (folder / name).is_file()]
    ours = (folder / "pairing.json").exists() or kinds[server_keys] is _Kind.SEALED
    theirs = {path for path, kind in kinds.items() if kind is _Kind.PLAIN}
    beside_configuration = bool(configurations) and not ours
    if kinds[store] is _Kind.SEALED and (server_keys in theirs or beside_configuration):
        theirs.add(store)
    if theirs or beside_configuration:
        theirs |= {path for path, kind in kinds.items() if kind is _Kind.UNCLEAR}
    found = [path for path in (server_keys, store) if path in theirs]
    return [*found, *configurations] if found else []


def problem(paths: Paths, settings: Settings) -> StoreError | None:
    """Return what a start has to say to another daemon's files in our folder; None where there are none."""
    record = import_record.load(paths.data)
    if record is not None and not record.done:
        return StoreError(f"{INTERRUPTED}: {paths.data}", GO_ON)
    found = files(paths.data, settings.devices_file, settings.server_keys_file)
    if not found:
        return None
    names = ", ".join(path.name for path in found)
    return StoreError(f"{paths.data} holds the files of another daemon of this kind: {names}", TAKE_OVER)


def refuse(paths: Paths, settings: Settings) -> None:
    """`StoreError` where another daemon's files are in our folder: nothing of them is touched."""
    found = problem(paths, settings)
    if found is not None:
        raise found


def _kind(path: Path) -> _Kind:
    try:
        # Not blocking, and no link: what is not a plain file is the business of the start's own checks.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return _Kind.NONE
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return _Kind.NONE
        head = os.read(handle, _HEAD)
    finally:
        os.close(handle)
    if any(sign in head for sign in _SEALED):
        return _Kind.SEALED
    return _Kind.PLAIN if any(sign in head for sign in _PLAIN) else _Kind.UNCLEAR
