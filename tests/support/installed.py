"""The package and what it needs, copied to where also a process without rights can read them.

The tree and the environment of the tests may lie in a folder that only its owner can enter.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import gevent
from support.daemon import ROOT

SYSTEM_PYTHON = "/usr/bin/python3"
_IGNORED = shutil.ignore_patterns("tests", "*.c", "*.pyx", "*.pxd")


def copy_to(folder: Path) -> Path:
    """Copy the package and its requirements into a folder; return the launch script there.

    An interpreter of the same version imports them with the folder as `PYTHONPATH`.
    """
    site = Path(gevent.__file__).parents[1]
    shutil.copytree(ROOT / "novakey", folder / "novakey", ignore=_IGNORED)
    shutil.copy2(ROOT / "novakey.py", folder)
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        name = line.split("==")[0]
        if "==" not in line or not list(metadata.distributions(name=name)):
            continue  # for another platform
        for top in {Path(str(file)).parts[0] for file in metadata.files(name) or ()} - {"..", "__pycache__"}:
            if (site / top).is_dir() and not (folder / top).exists():
                shutil.copytree(site / top, folder / top, ignore=_IGNORED)
            elif (site / top).is_file():
                shutil.copy2(site / top, folder)
    for path in (folder, *folder.rglob("*")):  # under any rights and umask
        path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
    return folder / "novakey.py"


@functools.cache
def system_python_is_ours() -> bool:
    """Return whether the system's Python can import what was built for the one of the tests."""
    asked = [SYSTEM_PYTHON, "-c", "import sys; print(*sys.version_info[:2])"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return False
    return done.stdout.split() == [str(part) for part in sys.version_info[:2]]


def python() -> str:
    """Return the interpreter for the copy: the system's, which all can run, where the versions agree."""
    ours = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    return SYSTEM_PYTHON if system_python_is_ours() else str(ours)
