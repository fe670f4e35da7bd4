"""A copy of the tree as a person downloads it, and the environment of a fresh user."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from support.daemon import ROOT

BARE = str(Path(sys._base_executable).resolve())  # type: ignore[attr-defined]
BOOTSTRAP_S = 300
FROM_HERE = (
    "novakey.py",
    "requirements.txt",
    "requirements.in",
    "pyproject.toml",
    "LICENSE",
    "README.md",
    "novakey",
    "conf",
    "docs/novakey.1",
)


def copy_tree(to: Path) -> Path:
    """Return what a person downloads, less the tests, without anything that a start has made."""
    to.mkdir(parents=True)
    for name in FROM_HERE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (to / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, to / name)
    return to


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return a fresh user's: an empty home, and how this machine reaches its packages.

    pip compiles nothing: that is half of an installation's work, and Python does it for what is imported.
    """
    home.mkdir(exist_ok=True)
    pip = {k: v for k, v in os.environ.items() if k.startswith("PIP_") or k.endswith("_proxy")}
    pip["PIP_NO_COMPILE"] = "1"
    return {**pip, "PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8", **more}
