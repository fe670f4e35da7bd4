"""The configuration that follows from the answers: a ready profile and one address."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import novakey
from novakey.config import load
from novakey.errors import SetupError
from novakey.setup.answers import Answers
from novakey.system import files

NAME = load.FILE_NAMES[0]
_KEPT = ".before-setup"


def shipped(name: str) -> Path:
    """Return a file that comes with the program: in its tree, or in its environment."""
    for folder in (Path(novakey.__file__).parents[1] / "conf", Path(sys.prefix) / "share" / "novakey"):
        if (folder / name).is_file():
            return folder / name
    raise SetupError(
        f"{name} did not come with this installation", "copy the whole of NovaKey, and try again"
    )


def text(answers: Answers) -> str:
    """Return the file's content."""
    lines = shipped(f"profiles/{answers.strict}.yaml").read_text().splitlines()
    profile = [line for line in lines if not line.startswith("# Use it with")]
    return "\n".join(
        [
            "# NovaKey's configuration, written by novakey.py setup. It is yours to change.",
            "# Every key is explained by conf/novakey.yaml and docs/configuration.md.",
            "# To check it: novakey.py config check",
            "",
            "# Where phones reach this computer: 0.0.0.0 is every network, 127.0.0.1 this computer alone.",
            f"listen_addr: {json.dumps(answers.listen_addr)}",
            "",
            *profile,
            "",
        ]
    )


def existing(folder: Path) -> list[Path]:
    """Return the configurations in the folder; there should be at most one."""
    return [folder / name for name in load.FILE_NAMES if (folder / name).exists()]


def name_aside(path: Path) -> Path:
    """Return the unread name beside it, under which a configuration can be kept."""
    number = 1
    while (kept := path.with_name(f"{path.name}{_KEPT}-{number}")).exists():
        number += 1
    return kept


def put_aside(path: Path, kept: Path) -> None:
    """Keep a configuration under that name."""
    path.rename(kept)
    files.sync_folder(path.parent)


def put_back(kept: Path) -> None:
    """Undo `put_aside`, unless there is a configuration again."""
    path = kept.with_name(kept.name.partition(_KEPT)[0])
    if kept.exists() and not path.exists():
        kept.rename(path)
        files.sync_folder(path.parent)
