"""The sealing backend of a name."""

from __future__ import annotations

from novakey.config import Settings
from novakey.devices.sealing.base import SealingBackend
from novakey.devices.sealing.keyfile import KeyFile
from novakey.errors import ConfigError
from novakey.paths import Paths


def backend(name: str, paths: Paths, settings: Settings) -> SealingBackend:
    """The backend called `name`; only the chosen one is imported."""
    match name:
        case "keyfile":
            return KeyFile(paths.sealing_key)
        case _:
            raise ConfigError(f"device_store {name} is not available yet", "set device_store: keyfile")
