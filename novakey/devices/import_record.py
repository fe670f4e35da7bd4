"""`import.json`: what an import moves and makes, written down before it does, so that it can be undone.

Until the record says that the import is done, the way back is the only way: `undo`
can be cut off at any point, and be repeated.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, field
from pathlib import Path

from novakey.errors import NovaKeyError, StoreError
from novakey.system import files
from novakey.system.paste import command
from novakey.wire import Malformed, jsonline

FILE = "import.json"
ASIDE = "before-import"


@dataclass
class ImportRecord:
    """Paths, as texts. `mode` is the data folder's before, -1 where it did not change."""

    done: bool = False
    moved: list[list[str]] = field(default_factory=list)  # from, to; in this order
    made: list[str] = field(default_factory=list)  # files that were not there before
    folders: list[str] = field(default_factory=list)  # made here, the outer ones first
    mode: int = -1
    backend: str = ""  # which keeps a sealing key that was not there before
    unit: str = ""  # the existing daemon's unit, which was enabled


def load(folder: Path) -> ImportRecord | None:
    """Return what was written down in the data folder; None where nothing was imported."""
    path = folder / FILE
    data = files.read_private(path)
    if data is None:
        return None
    try:
        members = jsonline.decode(data)
        record = ImportRecord(**members)
        if any(
            type(getattr(record, name)) is not type(value) for name, value in vars(ImportRecord()).items()
        ):
            raise Malformed("a member of another type")
        for source, target in record.moved:
            str(source), str(target)
    except (Malformed, TypeError, ValueError):
        raise StoreError(
            f"the record of the import {path} is damaged", f"its files are below {folder / ASIDE}-1"
        ) from None
    return record


def save(folder: Path, record: ImportRecord) -> None:
    """Replace the record, durably, and sweep up what an earlier attempt left half-written."""
    files.remove_leftovers(folder / FILE)
    files.replace_private(folder / FILE, jsonline.encode(asdict(record)) + b"\n")


def move(record: ImportRecord) -> None:
    """Move the files to where the record says, each durably before the next."""
    for source, target in record.moved:
        Path(target).parent.mkdir(mode=0o700, exist_ok=True)
        _move(Path(source), Path(target))


def undo(folder: Path, record: ImportRecord) -> None:
    """Move everything back over what was made in its place, and remove what was made besides."""
    if record.done:
        gone = [target for _, target in record.moved if not Path(target).exists()]
        if gone:
            raise NovaKeyError(
                f"the import cannot be undone, because {gone[0]} is gone", "restore it from a backup first"
            )
        record.done = False
        save(folder, record)
    for source, target in reversed(record.moved):
        files.remove_leftovers(Path(source))
        if Path(target).exists():
            _move(Path(target), Path(source))
    back = {source for source, _ in record.moved}
    for name in record.made:
        files.remove_leftovers(Path(name))
        if name not in back:
            files.remove(Path(name))
    for aside in {Path(target).parent for _, target in record.moved}:
        with contextlib.suppress(OSError):  # it holds other things: the unit's folder
            aside.rmdir()
    if record.mode != -1:
        folder.chmod(record.mode)
    _remove_empty(record.folders)
    files.remove_leftovers(folder / FILE)
    files.remove(folder / FILE)
    _remove_empty(record.folders)  # the data folder, which the record was in


def _remove_empty(folders: list[str]) -> None:
    for folder in reversed(folders):
        with contextlib.suppress(OSError):  # something else is in it, or it is gone
            Path(folder).rmdir()


def _move(source: Path, target: Path) -> None:
    try:
        source.replace(target)
        files.sync_folder(target.parent)
        files.sync_folder(source.parent)
    except OSError as error:
        raise StoreError(
            f"{source} cannot be moved to {target}: {(error.strerror or type(error).__name__).lower()}",
            f"look at the rights and the room there: {command('ls', '-ld', foreign=target.parent)}",
        ) from error
