"""Settings from a file and the environment, checked all at once.

`load` gives a valid `Settings` or raises one `ConfigError` that lists every
fault: a person corrects the file once, not once for each key. The keys stand in
`novakey.config.settings`, the reading of files in `novakey.config.reader`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from novakey.config.reader import Entry, FileFault, Value, read
from novakey.config.settings import SECTIONS, Settings, keys
from novakey.config.validate import checked, from_text, parse_listen_addr, plain_name, shown
from novakey.errors import ConfigError

__all__ = ["Settings", "effective", "example", "load", "parse_listen_addr"]

FILE_NAMES = ("novakey.yaml", "novakey.yml", "novakey.json")
PREFIX = "NOVAKEY_"
NOT_KEYS = ("NOVAKEY_CONFIG", "NOVAKEY_NO_BOOTSTRAP", "NOVAKEY_DATA_DIR", "NOVAKEY_PASSPHRASE_FILE")
DEFAULT_ORIGIN = "default"
_MAX_FAULTS = 100

# What a message needs besides the text: both headers with ids of 64 bytes, ciphertext, nonce, tag, timestamp.
MESSAGE_OVERHEAD = 3 + 64 + 2 + 1088 + 24 + 16 + 8 + 8 + 64

_HEAD = """\
# NovaKey's configuration: every key with its default. Keep only what you change.
#
# Read from the file given with --config, else from $NOVAKEY_CONFIG, else from
# novakey.yaml in the configuration folder. Each key can also be set as a variable,
# in capitals and with NOVAKEY_ before it (NOVAKEY_ARM_DURATION_MS=5000; lists with
# commas), which wins over the file.
#
# To check a file: python3 novakey.py --config FILE config check
"""


def load(explicit: Path | None, env: Mapping[str, str], folder: Path) -> Settings:
    """Return the settings: environment over file over defaults.

    The file is `explicit`, else `$NOVAKEY_CONFIG`, else one of `FILE_NAMES` in
    `folder`, else there is none. Raises `ConfigError` naming every fault.
    """
    path = _which_file(explicit, env, folder)
    loading = _Loading()
    if path is not None:
        loading.file(path)
    loading.environment(env)
    loading.contradictions()
    if loading.faults:
        raise _error(loading.faults)
    return Settings(**loading.values, origins=loading.origins, read_from=path)


def effective(settings: Settings) -> list[tuple[str, object, str]]:
    """Every key with its value and where that came from: `default`, `file:line` or a variable's name."""
    return [(name, getattr(settings, name), settings.origins.get(name, DEFAULT_ORIGIN)) for name in keys()]


def combined(values: Mapping[str, Any], path: Path) -> Settings:
    """Return the settings of values from `path`; `ConfigError` if they are not valid together."""
    loading = _Loading()
    for name, value in values.items():
        loading.take(name, value, str(path), f"{path}: {name}")
    loading.contradictions()
    if loading.faults:
        raise _error(loading.faults)
    return Settings(**loading.values, origins=loading.origins, read_from=path)


def example() -> str:
    """Return the commented example: every key with its default, as YAML."""
    import textwrap

    lines = _HEAD.splitlines()
    for name, key in keys().items():
        if name in SECTIONS:
            lines += ["", f"# ---- {SECTIONS[name]} ----"]
        words = f"{key.means} {key.when} Allowed: {key.allowed}."
        lines += ["", *(f"# {line}" for line in textwrap.wrap(words, 100, break_long_words=False))]
        value = key.default
        lines.append(f"{name}: {json.dumps(list(value) if isinstance(value, tuple) else value)}")
    return "\n".join(lines) + "\n"


def _which_file(explicit: Path | None, env: Mapping[str, str], folder: Path) -> Path | None:
    named = explicit or (Path(env["NOVAKEY_CONFIG"]) if env.get("NOVAKEY_CONFIG") else None)
    if named is not None:
        if _missing(named):
            by = "--config" if explicit else "NOVAKEY_CONFIG"
            raise ConfigError(
                f"the configuration file {shown(str(named))} does not exist",
                f"correct {by}, or leave it out to use the defaults",
            )
        return named
    found = [folder / name for name in FILE_NAMES if not _missing(folder / name)]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise ConfigError(
            f"there is more than one configuration in {folder}: {names}",
            "keep one of them, or name one with --config",
        )
    return found[0] if found else None


def _missing(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False  # it may well be there: the reading says what is wrong
    return False


class _Loading:
    """Values, their origins and the faults found so far."""

    def __init__(self) -> None:
        self.keys = keys()
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.bad: set[str] = set()
        self.faults: list[str] = []

    def file(self, path: Path) -> None:
        seen: dict[str, int] = {}
        for item in read(path):
            where = f"{path}:{item.line}" if item.line else str(path)
            if isinstance(item, FileFault):
                self.faults.append(f"{where}: {item.text}")
            elif item.key in seen:
                first = seen[item.key]
                self.faults.append(
                    f"{where}: {plain_name(item.key)}: found again, allowed once (first on line {first})"
                )
            else:
                seen[item.key] = item.line
                self._entry(item, where)

    def _entry(self, item: Entry, where: str) -> None:
        if item.key not in self.keys:
            near = _nearest(item.key, list(self.keys))
            self.faults.append(
                f"{where}: {plain_name(item.key)}: found an unknown key, nearest known: {near}"
            )
            return
        self.take(item.key, item.value, where, f"{where}: {item.key}")

    def environment(self, env: Mapping[str, str]) -> None:
        for variable in sorted(name for name in env if name.startswith(PREFIX) and name not in NOT_KEYS):
            name = variable.removeprefix(PREFIX).lower()
            if name not in self.keys or variable != variable.upper():
                known = [PREFIX + key.upper() for key in self.keys] + list(NOT_KEYS)
                near = _nearest(variable, known)
                self.faults.append(
                    f"{plain_name(variable)}: found an unknown variable, nearest known: {near}"
                )
                continue
            value = from_text(self.keys[name], env[variable])
            self.take(name, value, variable, variable)

    def take(self, name: str, value: Value, origin: str, where: str) -> None:
        """Take one value in, or note what is wrong with it."""
        try:
            self.values[name] = checked(self.keys[name], value)
            self.origins[name] = origin
            self.bad.discard(name)
        except ValueError as error:
            self.faults.append(f"{where}: found {error}, allowed {self.keys[name].allowed}")
            self.bad.add(name)

    def contradictions(self) -> None:
        """Faults between keys that are right by themselves."""
        self._at_most("arm_duration_ms", "arm_max_ms", 0)
        self._at_most("max_inject_len", "max_payload_len", MESSAGE_OVERHEAD)
        if self._value("devices_file") == self._value("server_keys_file"):
            where = self._where("server_keys_file", "devices_file")
            self.faults.append(f"{where}: found one file for devices and server keys, allowed two")
        lists = (
            "allowed_process_names",
            "allowed_window_titles",
            "denied_process_names",
            "denied_window_titles",
        )
        if self._value("target_policy_enabled") and not any(self._value(name) for name in lists):
            # A policy without a list would allow nothing: the owner meant the list that we ship.
            self.values["use_built_in_allowlist"] = True
            self.origins["use_built_in_allowlist"] = "target_policy_enabled without a list"

    def _at_most(self, name: str, other: str, less: int) -> None:
        found, limit = self._value(name), self._value(other) - less
        if found > limit and not self.bad & {name, other}:
            bound = f"{other} - {less}" if less else other
            where = self._where(name, other)
            what = found if name in self.origins else f"{name} {found}"
            self.faults.append(f"{where}: found {what}, allowed at most {limit} ({bound})")

    def _value(self, name: str) -> Any:
        return self.values.get(name, self.keys[name].default)

    def _where(self, *names: str) -> str:
        """Return the line of the first of these keys that is not at its default."""
        name = next((name for name in names if name in self.origins), names[0])
        origin = self.origins.get(name, DEFAULT_ORIGIN)
        return origin if origin.startswith(PREFIX) else f"{origin}: {name}"


def _nearest(name: str, known: list[str]) -> str:
    import difflib  # for a person's slip only

    return difflib.get_close_matches(name[:100], known, n=1, cutoff=0.0)[0]


def _error(faults: list[str]) -> ConfigError:
    lines = faults[:_MAX_FAULTS]
    if len(faults) > len(lines):
        lines.append(f"and {len(faults) - len(lines)} more")
    count = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
    text = "\n".join([f"the configuration has {count}:", *lines])
    return ConfigError(text, "conf/novakey.yaml explains every key")
