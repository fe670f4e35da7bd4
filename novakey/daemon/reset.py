"""The full uninstall: everything that pairing left behind, and the one way to lift a lock."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from novakey.config.settings import Settings
from novakey.devices import other_daemon
from novakey.devices.sealing import choose
from novakey.errors import NovaKeyError, StoreError
from novakey.pairing import record
from novakey.pull import browser_manifests
from novakey.system import files
from novakey.system.folder_lock import FolderLock
from novakey.system.paste import command
from novakey.system.paths import Paths


def reset(paths: Paths, settings: Settings) -> None:
    """Remove store, keys, sealing keys, QR and, last, the pairing state.

    Refuses (`NovaKeyError`) while a daemon runs, and where another daemon's files are
    in our folder. The pairing state goes last: a reset that failed half-way has lifted
    no lock and can be repeated.
    """
    other_daemon.refuse(paths, settings)
    paths.prepare()
    with FolderLock(paths.data):
        store, keys = paths.data / settings.devices_file, paths.data / settings.server_keys_file
        for path in (
            store,
            keys,
            paths.qr,
            paths.replay_ledger,
            paths.activity,
            paths.permission,
            paths.sites,
            paths.request_marker,
            paths.phone,
        ):
            files.remove(path)
        files.remove_leftovers(*paths.kept(settings.devices_file, settings.server_keys_file))
        browser_manifests.remove(paths)
        for backend in _sealing_backends(paths, settings):
            choose.backend(backend, paths, settings).delete()
        files.remove(paths.pairing)


def refuse_running(paths: Paths, verb: str = "removed") -> None:
    """Raise `NovaKeyError` while a daemon runs: to ask for a confirmation would be in vain."""
    pid = FolderLock.holder(paths.data)
    if pid is not None:
        raise NovaKeyError(
            f"the daemon runs as process {pid}, so nothing is {verb}",
            f"stop it first: {command('kill', pid)}",
        )


def _sealing_backends(paths: Paths, settings: Settings) -> Iterator[str]:
    """Those that may hold a key of ours; the keyring is asked only where it was ever chosen.

    One that was chosen, but is not installed, never had anything to keep.
    """
    yield from ("keyfile", "passphrase")
    try:
        used = record.load(paths.pairing).backend
    except StoreError:
        used = ""  # a damaged state is one of the things that a reset is for
    if used == "keyring" or (settings.device_store == "keyring" and find_spec("keyring")):
        yield "keyring"
