"""Coming from the existing daemon without pairing again, and the way back.

Its `server_keys.json` holds a 64-byte seed, its `devices.json` is plain or
sealed under a key in the OS keyring, and its `server_config.yaml` or `.json`
uses our names. Everything is read before anything is written.

A folder of its own is only read. Where it shares our data folder, its files are
moved aside whole. `devices.import_record` says how that survives a crash.
"""

from __future__ import annotations

import base64
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from novakey.config import adopt, load
from novakey.config.adopt import Adopted
from novakey.config.settings import Settings
from novakey.daemon import adopt_devices, startup
from novakey.devices import import_record, other_daemon, sealed_file, server_keys, store
from novakey.devices.import_record import ImportRecord
from novakey.devices.sealing import choose
from novakey.devices.seeded_key import SeededKey
from novakey.devices.store import Device
from novakey.errors import NovaKeyError, StoreError
from novakey.pairing import record
from novakey.pairing.model import Record
from novakey.secret import Secret
from novakey.system import files
from novakey.system.folder_lock import FolderLock
from novakey.system.paths import Paths
from novakey.wire import Malformed, jsonline

_MAX_FILE = 1 << 20
_CURE = "give the folder that the other daemon keeps its files in, as the user that it runs as"


class Theirs(NamedTuple):
    """What the other daemon's folder holds."""

    files: list[Path]  # in this folder, all of it
    server: SeededKey
    devices: Mapping[str, Device]
    adopted: Adopted | None


class Unit(NamedTuple):
    """Its unit of systemd, which `stop` ends and disables, and says why where it cannot."""

    path: Path
    stop: Callable[[], str | None]


class Imported(NamedTuple):
    """What was taken over: how many devices, and the configuration's file where one was written."""

    devices: int
    config: Path | None
    adopted: Adopted | None
    aside: list[str]
    still_runs: str | None  # why its service could not be stopped; "" where it has none


def searched(paths: Paths) -> list[Path]:
    """Where the other daemon's packages keep its files, after our own data folder."""
    local = os.environ.get("LOCALAPPDATA", "")
    found = {
        "darwin": [
            Path.home() / "Library/Application Support/NovaKey",
            Path("/Library/Application Support/NovaKey/data"),
            Path("/Library/Application Support/NovaKey"),
        ],
        "win32": [Path(local) / "NovaKey"] if local else [],
    }
    return list(dict.fromkeys((paths.data, *found.get(sys.platform, [Path.home() / ".local/share/novakey"]))))


def find(paths: Paths) -> Path:
    """Return the folder with its files; `NovaKeyError` says where there are none."""
    places = searched(paths)
    for folder in places:
        if folder.is_dir() and _is_theirs(folder):
            return folder
    looked = ", ".join(map(str, places))
    if import_record.load(paths.data) is not None:
        raise NovaKeyError(
            f"the import is done already, and nothing else is in: {looked}",
            "to go back: novakey.py import --undo",
        )
    raise NovaKeyError(
        f"no files of another daemon are in: {looked}", "name its folder: novakey.py import DIR"
    )


def _is_theirs(folder: Path) -> bool:
    config = _config_file(folder)
    names = adopt.adopt(config).settings if config else Settings()
    return bool(other_daemon.files(folder, names.devices_file, names.server_keys_file))


def read(folder: Path, settings: Settings) -> Theirs:
    """Read all of its folder; `NovaKeyError` where something cannot be read."""
    if not folder.is_dir():
        raise NovaKeyError(f"{folder} is not a folder", "give the folder that holds the other daemon's files")
    config = _config_file(folder)
    adopted = adopt.adopt(config) if config else None
    names = adopted.settings if adopted else Settings()
    keys_file, devices_file = folder / names.server_keys_file, folder / names.devices_file
    server, devices = _server_keys(keys_file), _devices(devices_file, settings)
    there = [folder / name for name in (*other_daemon.CONFIG_NAMES, "novakey-pair.png")]
    own = [path for path in (keys_file, devices_file, *there) if path.is_file() and path.parent == folder]
    return Theirs(own, server, devices, adopted)


def import_from(folder: Path, paths: Paths, settings: Settings, unit: Unit | None = None) -> Imported:
    """Read `folder` and write our files; `NovaKeyError` and nothing changed when that cannot be.

    Refuses where a device is paired already, or while a daemon of ours runs.
    """
    shared = folder.is_dir() and paths.data.is_dir() and folder.samefile(paths.data)
    if shared:
        folder = paths.data  # however it was spelled
    theirs = read(folder, settings)
    kept = _ours(paths, settings)
    plan = ImportRecord(
        made=[str(path) for path in kept if not os.path.lexists(path)],
        folders=[str(path) for path in _missing(paths.config, paths.data)],
    )
    paths.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FolderLock(paths.data):
        _refuse_paired(paths, settings, theirs.files if shared else [])
        known = record.load(paths.pairing)
        if known.device_stored:  # the store was removed, which is no reset
            startup.refuse_weaker(known.backend, settings)
        if settings.device_store == "keyring" and choose.backend("keyring", paths, settings).load() is None:
            plan.backend = "keyring"
        _plan_moves(plan, paths, settings, theirs.files if shared else [], unit)
        import_record.save(paths.data, plan)
        why_not: str | None = ""
        try:
            if unit is not None:
                why_not = unit.stop()
                theirs = read(folder, settings)  # it may have written to the end
            if shared:
                paths.data.chmod(0o700)
            import_record.move(plan)
            config = _write(theirs, known, paths, settings)
            plan.done = True
            import_record.save(paths.data, plan)
        except BaseException:
            _back(plan, paths, settings)
            raise
    return Imported(
        len(theirs.devices), config, theirs.adopted, [target for _, target in plan.moved], why_not
    )


def clear_interrupted(paths: Paths, settings: Settings) -> ImportRecord | None:
    """Go back to before an import that was cut off; what was undone, None where none was."""
    found = import_record.load(paths.data)
    return undo(paths, settings) if found is not None and not found.done else None


def undo(paths: Paths, settings: Settings) -> ImportRecord:
    """Put everything back as it was before the import, also before one that was cut off; what was undone.

    What was paired since is forgotten. Refuses while a daemon of ours runs.
    """
    done = import_record.load(paths.data)
    if done is None:
        raise NovaKeyError(f"nothing was imported to {paths.data}", "there is nothing to undo")
    with FolderLock(paths.data):
        for source, target in done.moved:
            if source == done.unit and Path(source).exists() and Path(target).exists():
                raise NovaKeyError(
                    f"{source} is the unit of this daemon now", "take it away: novakey.py setup --uninstall"
                )
        _back(done, paths, settings)
    return done


def _back(plan: ImportRecord, paths: Paths, settings: Settings) -> None:
    if plan.backend:
        choose.backend(plan.backend, paths, settings).delete()
    import_record.undo(paths.data, plan)


def _ours(paths: Paths, settings: Settings) -> list[Path]:
    """Every file that an import, or a daemon after it, makes in our folders."""
    state = (*paths.kept(settings.devices_file, settings.server_keys_file), paths.activity)
    config = [paths.config / name for name in load.FILE_NAMES]
    return [*state, paths.data / FolderLock.NAME, config[0]]


def _missing(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from reversed([path for path in (folder, *folder.parents) if not path.exists()])


def _refuse_paired(paths: Paths, settings: Settings, theirs: list[Path]) -> None:
    path = paths.data / settings.devices_file
    if path not in theirs and store.read(path) is not None:
        raise NovaKeyError(
            f"there is a device store already: {path}", "to give it up first: novakey.py reset"
        )


def _plan_moves(
    plan: ImportRecord, paths: Paths, settings: Settings, theirs: list[Path], unit: Unit | None
) -> None:
    """Plan to move aside its files, its unit and the rest of an earlier state of ours."""
    ours = [paths.data / settings.devices_file, paths.data / settings.server_keys_file]
    ours += [paths.pairing, paths.replay_ledger]
    aside = files.free_name(paths.data / import_record.ASIDE)
    for path in dict.fromkeys((*theirs, *ours)):
        if path.is_file() and path.parent == paths.data:
            plan.moved.append([str(path), str(aside / path.name)])
    if unit is not None:
        plan.unit = str(unit.path)
        if os.access(unit.path.parent, os.W_OK):  # a unit of the system's stays, and is only disabled
            plan.moved.append([plan.unit, f"{plan.unit}.{aside.name}"])
    mode = stat.S_IMODE(paths.data.stat().st_mode)
    if theirs and mode & 0o077:
        plan.mode = mode


def _write(theirs: Theirs, known: Record, paths: Paths, settings: Settings) -> Path | None:
    startup.prepare(paths, settings)
    key = choose.backend(settings.device_store, paths, settings).load_or_create()
    config_file = _write_config(theirs.adopted, paths)
    adopt_devices.adopt(theirs.server, theirs.devices, known, paths, settings, key)
    return config_file


def _config_file(folder: Path) -> Path | None:
    """Return the configuration that it reads: the first of these names. On macOS it lies beside the data."""
    places = (folder, folder.parent / "config") if folder.name == "data" else (folder,)
    paths = [place / name for place in places for name in other_daemon.CONFIG_NAMES]
    return next((path for path in paths if path.is_file()), None)


def _server_keys(path: Path) -> SeededKey:
    try:
        document = jsonline.decode(_read(path))
        seed = base64.b64decode(jsonline.string(document, "kyber768_secret"), validate=True)
        public = base64.b64decode(jsonline.string(document, "kyber768_public"), validate=True)
        pair = SeededKey(Secret(seed))
        server_keys.check_pair(pair, public)
    except (Malformed, ValueError) as error:
        raise StoreError(f"{path} does not hold the other daemon's keys: {error}", _cure(path)) from None
    return pair


def _devices(path: Path, settings: Settings) -> Mapping[str, Device]:
    data = _read(path)
    try:
        document = jsonline.decode(data)
        if "ct_b64" in document:
            document = _opened(data, path, _their_key(settings))
        devices = store.parse_devices(document)
    except Malformed as error:
        raise StoreError(f"{path} is not the other daemon's device store: {error}", _cure(path)) from None
    if not devices:
        raise NovaKeyError(f"{path} holds no device, so there is nothing to import", _without(path))
    return devices


def _opened(data: bytes, path: Path, key: Secret) -> dict[str, Any]:
    try:
        return sealed_file.open_bytes(data, path, key, sealed_file.DEVICES_LABEL)
    except StoreError as error:
        raise StoreError(error.problem, _cure(path)) from None  # a reset would not help: it is not ours


def _their_key(settings: Settings) -> Secret:
    from novakey.devices.sealing import keyring

    return keyring.existing_daemon_key(settings.keyring_timeout_s)


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}", _cure(path)) from error
    if len(data) > _MAX_FILE:
        raise StoreError(f"{path} is larger than {_MAX_FILE} bytes, so it is not the other daemon's", _CURE)
    return data


def _cure(path: Path) -> str:
    return f"{_CURE}; if it is that one: restore {path.name} from a backup, or {_without(path)}"


def _without(path: Path) -> str:
    return f"to go on without its phones, move {path.parent} away, and pair them again"


def _write_config(adopted: Adopted | None, paths: Paths) -> Path | None:
    """Write its configuration in our form; never replace a file."""
    path = paths.config / load.FILE_NAMES[0]
    if adopted is None or any((paths.config / name).exists() for name in load.FILE_NAMES):
        return None
    files.replace_private(path, adopted.text().encode())
    return path
