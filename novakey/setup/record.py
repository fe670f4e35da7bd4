"""What setup has put where, written down before it is done: taking away must find all of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from novakey.errors import StoreError
from novakey.system import files
from novakey.system.paths import Paths
from novakey.wire import Malformed, jsonline

FILE = "setup.json"


@dataclass
class Record:
    """Paths, as texts. `kept` are configurations put aside; `original` is the one that was not ours."""

    folders: list[str] = field(default_factory=list)  # made here, the outer ones first
    config: str = ""
    kept: list[str] = field(default_factory=list)
    original: str = ""
    unit: str = ""
    autostart: str = ""

    def note_folder(self, folder: Path) -> None:
        """Note each folder above and including this one that is not there yet."""
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        self.folders += [str(path) for path in reversed(missing) if str(path) not in self.folders]


def load(paths: Paths) -> Record | None:
    """Return the record of setup; None if setup never ran."""
    path = paths.config / FILE
    data = files.read_private(path)
    if data is None:
        return None
    try:
        members = jsonline.decode(data)
        found = Record(
            [str(folder) for folder in members["folders"]],
            jsonline.string(members, "config"),
            [str(kept) for kept in members["kept"]],
            jsonline.string(members, "original"),
            jsonline.string(members, "unit"),
            jsonline.string(members, "autostart", ""),
        )
    except (Malformed, KeyError, TypeError):
        raise StoreError(f"{path} is damaged", "take away by hand what it names, then remove it") from None
    return found


def save(paths: Paths, record: Record) -> None:
    """Write it down, durably."""
    files.replace_private(paths.config / FILE, jsonline.encode(asdict(record)) + b"\n")


def remove(paths: Paths) -> None:
    """Remove the record."""
    files.remove(paths.config / FILE)
