"""Where things live: platformdirs' folders, or everything under one folder."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import NamedTuple

from novakey.system.files import private_folder

_APP = "novakey"


class Paths(NamedTuple):
    """The folders of one installation; files are named relative to them."""

    config: Path
    data: Path
    log: Path
    runtime: Path

    @classmethod
    def under(cls, folder: Path) -> Paths:
        """Everything under one folder (`--data-dir`)."""
        folder = folder.absolute()
        return cls(config=folder, data=folder, log=folder / "logs", runtime=folder)

    @classmethod
    def of_platform(cls) -> Paths:
        """Return the user's own folders, as the platform names them."""
        import platformdirs

        folders = platformdirs.PlatformDirs(_APP, appauthor=False)
        return cls(
            config=folders.user_config_path,
            data=folders.user_data_path,
            log=folders.user_log_path,
            runtime=_user_runtime() or folders.user_data_path,
        )

    @property
    def control_folders(self) -> list[Path]:
        """Where the owner's socket may be: a daemon that starts before its session has no runtime folder."""
        return [self.runtime] if self.runtime == self.data else [self.runtime, self.data]

    @property
    def sealing_key(self) -> Path:
        """The `keyfile` backend's key: with the configuration, apart from the data it seals."""
        return self.config / "sealing.key"

    @property
    def sealing_passphrase(self) -> Path:
        """The `passphrase` backend's wrapped key."""
        return self.config / "sealing.passphrase"

    @property
    def pairing(self) -> Path:
        """The pairing state that outlives a restart."""
        return self.data / "pairing.json"

    @property
    def replay_ledger(self) -> Path:
        """The accepted messages of the last minutes."""
        return self.data / "replay.ledger"

    @property
    def activity(self) -> Path:
        """When the devices were last heard."""
        return self.data / "activity.json"

    @property
    def permission(self) -> Path:
        """What the desktop gave for not asking again whether we may type."""
        return self.data / "desktop-permission.json"

    @property
    def sites(self) -> Path:
        """The sites of web pages that had a secret before."""
        return self.data / "sites.json"

    @property
    def browser_host(self) -> Path:
        """What browsers start to ask for a secret."""
        return self.data / "novakey-browser"

    @property
    def request_marker(self) -> Path:
        """There while a program waits for a secret, or one has just gone without."""
        return self.runtime / "asking"

    @property
    def qr(self) -> Path:
        """The QR's picture, there only while a window is open."""
        return self.data / "novakey-pair.png"

    @property
    def phone(self) -> Path:
        """The profile of `novakey.py phone`, where none is named."""
        return self.data / "phone.json"

    def kept(self, devices_file: str, server_keys_file: str) -> tuple[Path, ...]:
        """Every file that holds state or keys; the two names are settings."""
        store, keys = self.data / devices_file, self.data / server_keys_file
        sealing = (self.sealing_key, self.sealing_passphrase)
        return store, keys, self.pairing, self.qr, self.replay_ledger, self.permission, self.sites, *sealing

    def prepare(self) -> None:
        """Make the folders that hold state, owner-only; `StoreError` names what is wrong."""
        for folder in (self.config, self.data):
            private_folder(folder)


def _user_runtime() -> Path | None:
    """Our folder in the user's own runtime folder (XDG base directories), where there is one."""
    if not hasattr(os, "geteuid"):
        return None
    for folder in (os.environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{os.geteuid()}"):
        with contextlib.suppress(OSError):
            status = os.lstat(folder)
            if folder.startswith("/") and stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
                return Path(folder) / _APP
    return None
