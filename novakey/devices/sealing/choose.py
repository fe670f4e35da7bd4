"""The sealing backend of a name, and their order of strength."""

from __future__ import annotations

import os

from novakey.config.settings import Settings
from novakey.devices.sealing.base import SealingBackend
from novakey.system.paths import Paths

WEAKEST_FIRST = ("keyfile", "passphrase", "keyring")


def stronger(one: str, other: str) -> bool:
    """Whether the backend called `one` is stronger than the one called `other`."""
    return WEAKEST_FIRST.index(one) > WEAKEST_FIRST.index(other)


def backend(name: str, paths: Paths, settings: Settings) -> SealingBackend:
    """Return the backend called `name`; only the chosen one is imported."""
    match name:
        case "keyfile":
            from novakey.devices.sealing.keyfile import KeyFile

            return KeyFile(paths.sealing_key)
        case "passphrase":
            from novakey.devices.sealing.passphrase import Passphrase
            from novakey.devices.sealing.passphrase_source import from_environment

            return Passphrase(paths.sealing_passphrase, from_environment(os.environ))
        case "keyring":
            from novakey.devices.sealing.keyring import Keyring, installation_id

            return Keyring(installation_id(paths.data), settings.keyring_timeout_s)
        case _:
            raise ValueError(f"no sealing backend is called {name}")
