"""A disk that is full, a folder that is read-only, a write that is cut short, while a phone pairs."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import needs
from support.daemon import Daemon, command, random_key, run, say

from novakey import phone
from novakey.errors import NovaKeyError
from novakey.pairing import record
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

STORAGE = "storage: this computer cannot write to its disk, so it cannot pair now"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of a quarter of a megabyte, of its own."""
    where = tmp_path / "disk"
    where.mkdir()
    as_root = needs.mounts("mounts a small disk")
    options = f"size=256k,mode=0700,uid={os.geteuid()}"
    subprocess.run([*as_root, "mount", "-t", "tmpfs", "-o", options, "none", where], check=True)
    try:
        yield where
    finally:
        subprocess.run([*as_root, "umount", where], check=True)


def fill(disk: Path) -> Path:
    """Take every byte of it; the file that does."""
    ballast = disk / "ballast"
    with pytest.raises(OSError, match="No space left"), open(ballast, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return ballast


def refusals(daemon: Daemon, uri: str, count: int) -> list[str]:
    """Return what so many attempts to pair are told."""
    told = []
    for _ in range(count):
        with pytest.raises(NovaKeyError) as caught:
            phone.pair_with(uri, "phone-1")
        told.append(caught.value.problem)
    return told


def test_a_full_disk_refuses_clearly_interrupts_the_window_and_leaves_the_old_state(
    tmp_path: Path, small_disk: Path
) -> None:
    folder, log = small_disk, str(tmp_path / "logs")  # the daemon's output goes beside the folder
    with Daemon(folder, log_dir=log) as daemon:
        uri = daemon.uri()
        before = {path.name: path.read_bytes() for path in folder.glob("*.json")}
        ballast = fill(folder)
        told = refusals(daemon, uri, 4)
        assert [STORAGE in line for line in told] == [True, True, True, False]
        assert "not_pairing" in told[3]
        daemon.wait_for_log("too many handshakes failed: the window is closed")
        daemon.wait_for_log("no space left on device (make room")
        assert "Traceback" not in daemon.log()
        assert {path.name: path.read_bytes() for path in folder.glob("*.json")} == before
        assert not list(folder.glob(".*.tmp")) and not (folder / "novakey-pair.png").exists()
        ballast.unlink()
    assert record.load(folder / "pairing.json").interrupted == 1
    with Daemon(folder, log_dir=log) as daemon:
        assert say(daemon.pair(), MessageType.ARM).outcome is Outcome.OK


# Root without the capability to write everywhere: the rights on a folder stop it like anybody.
# It can still read everywhere, because the tests may lie in the home of another user.
POWERLESS = ("setpriv", "--inh-caps=-dac_override", "--bounding-set=-dac_override", "--")


def test_a_read_only_folder_refuses_clearly_and_the_window_is_interrupted(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    launch = [*(POWERLESS if os.geteuid() == 0 else ()), *command()]
    with Daemon(folder, log_dir=str(tmp_path / "logs"), launch=launch) as daemon:
        uri = daemon.uri()
        before = (folder / "pairing.json").read_bytes()
        folder.chmod(0o500)
        try:
            told = refusals(daemon, uri, 4)
        finally:
            folder.chmod(0o700)
        assert [STORAGE in line for line in told] == [True, True, True, False]
        daemon.wait_for_log("permission denied (look at its owner and rights")
        assert (folder / "pairing.json").read_bytes() == before and not (folder / "devices.json").exists()
    with Daemon(folder) as daemon:
        assert say(daemon.pair(), MessageType.ARM).outcome is Outcome.OK


def test_a_store_cut_short_while_written_leaves_nothing_and_the_window_stays(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "d"
    with Daemon(folder) as daemon:
        uri, pid = daemon.uri(), daemon.process.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        # The pairing state can still be written, the store of devices only in part.
        limit = (folder / "pairing.json").stat().st_size + 16
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, hard))
        assert "closed the connection before it acknowledged" in refusals(daemon, uri, 1)[0]
        assert not (folder / "devices.json").exists() and not list(folder.glob(".*.tmp"))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
        profile = phone.pair_with(uri, "phone-1", random_key())
        assert say(profile, MessageType.ARM).outcome is Outcome.OK
        assert (folder / "devices.json").stat().st_size > limit


def test_a_start_on_a_full_disk_says_so_and_opens_no_window(tmp_path: Path, small_disk: Path) -> None:
    folder = small_disk
    with Daemon(folder, log_dir=str(tmp_path / "logs")):
        pass
    fill(folder)
    done = run("--data-dir", folder, timeout=30)
    assert done.returncode == 3, done.stderr
    assert "cannot be written: no space left on device\nmake room" in done.stderr
    assert not (folder / "novakey-pair.png").exists()
