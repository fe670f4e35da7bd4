"""The README's two commands on a machine with Python and nothing else: a quarter of an hour, on request.

tests/run -m long -n 0 tests/packaging/test_fresh_machine.py
"""

from __future__ import annotations

import subprocess

import pytest
from support.daemon import ROOT

SCRIPT = ROOT / "tests" / "packaging" / "fresh-machine"


@pytest.mark.long
def test_both_commands_succeed_on_a_fresh_machine() -> None:
    done = subprocess.run([SCRIPT], capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "first command: a QR in" in done.stderr and "second command: passed" in done.stderr
