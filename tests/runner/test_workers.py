"""How the files of a run are given to the workers."""

from __future__ import annotations

from pathlib import Path

from support.tiny_suite import PYTEST, Run, suite

_ONE = "def test_one(): pass"
_MANY = """
import pytest

@pytest.mark.parametrize("number", range(5))
def test_many(number): pass
"""


def test_the_slowest_files_come_first(tmp_path: Path) -> None:
    suite(tmp_path, attacks__test_quick=_MANY, packaging__test_wheel=_ONE, system__test_launch=_ONE)
    run = Run(tmp_path, *PYTEST, "-n", "1", "-v")
    output = run.end()
    assert run.status == 0, output
    files = [line.split()[-1].partition("::")[0] for line in output.splitlines() if " PASSED " in line]
    assert list(dict.fromkeys(files)) == [
        "system/test_launch.py",
        "packaging/test_wheel.py",
        "attacks/test_quick.py",
    ]
