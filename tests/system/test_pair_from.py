"""A phone pairs only from a network that this computer is directly attached to, unless its owner says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.daemon import ROOT

pytestmark = pytest.mark.skipif(
    any(shutil.which(name) is None for name in ("ip", "unshare", "nsenter")) or os.geteuid() != 0,
    reason="needs network namespaces: root, iproute2 and util-linux",
)


def tried(folder: Path, pair_from: str) -> dict[str, Any]:
    argv = [
        "unshare",
        "--net",
        sys.executable,
        str(ROOT / "tests/support/two_networks.py"),
        str(folder),
        pair_from,
    ]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, env=env)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_phone_behind_a_router_is_refused_and_one_in_the_same_network_is_served(tmp_path: Path) -> None:
    found = tried(tmp_path, "subnet")
    assert found["told"] == {"198.51.100.7": "other_network", "10.77.0.2": "server_key"}
    assert "from 198.51.100.7: pair other_network" in found["log"]


def test_with_any_a_phone_behind_a_router_is_served(tmp_path: Path) -> None:
    assert tried(tmp_path, "any")["told"]["198.51.100.7"] == "server_key"
