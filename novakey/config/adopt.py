"""The existing daemon's configuration under our keys, with the meaning that it has there.

A key that cannot be carried over is listed with the reason. The keys that say where
a secret may go are carried over whole, or `ConfigError` stops the import: a rule that
gets lost would type secrets where its owner forbade it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from novakey.config import load
from novakey.config.reader import FileFault, UnsupportedValue, Value, read
from novakey.config.settings import Settings, keys
from novakey.config.validate import checked, plain_name, shown
from novakey.errors import ConfigError

_OUR_FILES = "files have names of ours, in our folders"
_OUR_LOG = "the log is in our folder, and goes to the terminal or the journal"
_NOT_TAKEN = {
    "devices_file": _OUR_FILES,
    "server_keys_file": _OUR_FILES,
    "log_dir": _OUR_LOG,
    "log_file": _OUR_LOG,
}
_LISTS = ("allowed_process_names", "allowed_window_titles", "denied_process_names", "denied_window_titles")
_POLICY = ("target_policy_enabled", *_LISTS)
# The list that its documentation gives for a policy without lists. Ours holds terminals, and would be wider.
_ITS_LIST = """
    chrome chromium msedge brave firefox safari opera vivaldi
    1password bitwarden lastpass dashlane keeper nordpass protonpass roboform
    notepad textedit gedit kate
"""


class Adopted(NamedTuple):
    """What was carried over. `settings` holds all of it, `values` what is to be written."""

    settings: Settings
    values: dict[str, Any]
    warnings: list[str]
    left_out: list[str]

    def text(self) -> str:
        """Our configuration file."""
        lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in self.values.items()]
        return "\n".join(["# imported from the existing daemon", *lines, ""])


def adopt(path: Path) -> Adopted:
    """Read the configuration; `ConfigError` for a broken file or a rule that would get lost."""
    values: dict[str, Any] = {}
    warnings: list[str] = []
    left_out: list[str] = []
    faults: list[str] = []
    seen: set[str] = set()
    for item in read(path):
        where = f"{path}:{item.line}" if item.line else str(path)
        if isinstance(item, FileFault):
            faults.append(f"{where}: {item.text}")
            continue
        if item.key in seen:
            faults.append(f"{where}: {plain_name(item.key)}: found again, allowed once")
            continue
        seen.add(item.key)
        if item.key not in keys():
            left_out.append(f"{where}: {plain_name(item.key)}: this daemon has no such key")
            continue
        if isinstance(item.value, UnsupportedValue) and item.value.what == "nothing":
            continue  # a key without a value is a key that is left out
        try:
            value = checked(keys()[item.key], _as_ours(item.key, item.value, warnings.append))
        except ValueError as error:
            fault = f"{where}: {item.key}: found {error}, allowed {keys()[item.key].allowed}"
            (faults if item.key in _POLICY else left_out).append(fault)
            continue
        values[item.key] = list(value) if isinstance(value, tuple) else value
    if faults:
        raise ConfigError("\n".join(["its configuration cannot be carried over:", *faults]), f"edit {path}")
    return _with_its_meaning(path, values, warnings, left_out)


def _as_ours(name: str, value: Value, warn: Callable[[str], None]) -> Value:
    """Return the value, with paths of programs cut down to the names that are compared here."""
    if keys()[name].kind != "programs" or not isinstance(value, list):
        return value
    taken: list[Any] = []
    for item in value:
        short = _base_name(item) if isinstance(item, str) else item
        if short != item:
            warn(f"{name}: {shown(str(item))} is taken as {shown(str(short))}")
        taken.append(short)
    return taken


def _base_name(program: str) -> str:
    name = program.strip().replace("\\", "/").rpartition("/")[2]
    return name[:-4] if name.casefold().endswith(".exe") else name


def _with_its_meaning(
    path: Path, values: dict[str, Any], warnings: list[str], left_out: list[str]
) -> Adopted:
    """Change what would mean something else here, and take out what our files do not need."""
    settings = dict(values)

    def leave_out(name: str, reason: str) -> None:
        if name in values:
            del values[name]
            left_out.append(f"{path}: {name}: {reason}")

    for name, reason in _NOT_TAKEN.items():
        leave_out(name, reason)
    if any(values.get(name) for name in _LISTS):
        if values.get("use_built_in_allowlist"):
            leave_out(
                "use_built_in_allowlist", "there it has no effect beside lists; here it would add to them"
            )
    elif values.get("target_policy_enabled"):
        leave_out("use_built_in_allowlist", "its list is written out as allowed_process_names")
        values["allowed_process_names"] = _ITS_LIST.split()
        warnings.append("allowed_process_names: the other daemon's own list is written out; ours is wider")
    if values.get("rotate_device_psk_on_repair") is False:
        leave_out(
            "rotate_device_psk_on_repair",
            "there a phone that pairs again gets its new key all the same; here false may refuse it",
        )
    _widen(values, "arm_max_ms", values.get("arm_duration_ms"), warnings)
    most = values.get("max_payload_len", keys()["max_payload_len"].default) - load.MESSAGE_OVERHEAD
    if values.get("max_inject_len", 0) > most:
        values["max_inject_len"] = most
        warnings.append(f"max_inject_len: {most} is the longest text that fits into max_payload_len")
    values["target_match"] = "any"
    files: dict[str, Any] = {
        name: settings[name] for name in ("devices_file", "server_keys_file") if name in settings
    }
    return Adopted(load.combined({**values, **files}, path), values, warnings, left_out)


def _widen(values: dict[str, Any], bound: str, value: int | None, warnings: list[str]) -> None:
    if value is not None and value > values.get(bound, keys()[bound].default):
        values[bound] = value
        warnings.append(f"{bound}: {value} is set, since the other daemon has no such bound")
