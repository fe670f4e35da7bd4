"""Who another process is, with the names that files may have."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from novakey.system import procfs


@pytest.mark.parametrize("name", [b"sleeper", "café".encode(), b"caf\xe9"])
def test_the_name_of_an_executable_is_text_that_can_be_written_down(tmp_path: Path, name: bytes) -> None:
    program = os.fsencode(tmp_path / os.fsdecode(name))
    shutil.copy(shutil.which("sleep"), program)
    with subprocess.Popen([program, b"60"]) as process:
        try:
            # Popen returns when the program has begun.
            assert procfs.executable(process.pid) == name.decode("utf-8", "replace")
        finally:
            process.kill()
    assert procfs.executable(None) is None


def test_a_process_that_is_gone_has_no_name() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert procfs.executable(process.pid) is None
