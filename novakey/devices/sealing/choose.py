"""The sealing backend of a name."""

from __future__ import annotations

from novakey.config import Settings
from novakey.devices.sealing.base import SealingBackend
from novakey.devices.sealing.keyfile import KeyFile
from novakey.errors import ConfigError
from novakey.paths import Paths

_WEAKEST_FIRST = ("keyfile", "passphrase", "keyring")


def stronger(one: str, other: str) -> bool:
    """Whether the backend called `one` is stronger than the one called `other`."""
    return _WEAKEST_FIRST.index(one) > _WEAKEST_FIRST.index(other)


def backend(name: str, paths: Paths, settings: Settings) -> SealingBackend:
    """The backend called `name`; only the chosen one is imported."""
    match name:
        case "keyfile":
            return KeyFile(paths.sealing_key)
        case _:
            raise ConfigError(f"device_store {name} is not available yet", "set device_store: keyfile")
