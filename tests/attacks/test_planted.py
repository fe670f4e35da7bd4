"""Another program of the same user planted links, fifos, folders and sockets where our files belong."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from support.daemon import Daemon, say

from novakey.phone import Profile
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

FILES = (
    "devices.json",
    "server_keys.json",
    "pairing.json",
    "sealing.key",
    "replay.ledger",
    "novakey.lock",
    "novakey-pair.png",
    "control.sock",
    "logs/novakey.log",
)
VICTIM = b"somebody else's file\n"


def link(path: Path) -> None:
    path.symlink_to(base_of(path) / "victim")


def dangling(path: Path) -> None:
    path.symlink_to(base_of(path) / "made-by-us")


def base_of(path: Path) -> Path:
    """Return the folder above the daemon's."""
    return next(parent for parent in path.parents if parent.name == "d").parent


def fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


def folder(path: Path) -> None:
    path.mkdir()
    (path / "kept").write_bytes(VICTIM)


def bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


PLANTS: tuple[Callable[[Path], None], ...] = (link, dangling, fifo, folder, bound)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Profile]:
    where = tmp_path_factory.mktemp("o") / "d"
    with Daemon(where) as daemon:
        phone = daemon.pair()
        assert say(phone, MessageType.ARM).outcome is Outcome.OK
    return where, phone


def planted(base: Path, origin: tuple[Path, Profile], name: str, plant: Callable[[Path], None]) -> None:
    where, victim = base / "d", base / "victim"
    base.mkdir()
    shutil.copytree(origin[0], where, ignore=lambda *_: ["control.sock"])
    victim.write_bytes(VICTIM)
    path = where / name
    path.unlink(missing_ok=True)
    plant(path)
    outcome = started(where, origin[1])
    assert outcome == "served" or path.name in outcome, f"{plant.__name__}: {outcome}"
    assert victim.read_bytes() == VICTIM
    assert sorted(found.name for found in base.iterdir() if found.name != "d.out") == ["d", "victim"]
    if plant is folder and path.is_dir():
        assert (path / "kept").read_bytes() == VICTIM


@pytest.mark.parametrize("name", FILES)
def test_a_planted_link_or_fifo_is_refused_by_name_or_replaced_and_never_followed(
    tmp_path: Path, origin: tuple[Path, Profile], name: str
) -> None:
    """One of the two for each file; the long form has everything for every file."""
    plant = (link, fifo)[FILES.index(name) % 2]
    planted(tmp_path / plant.__name__, origin, name, plant)


@pytest.mark.long
@pytest.mark.parametrize("name", FILES)
def test_what_was_planted_is_refused_by_name_or_replaced_and_never_followed_long(
    tmp_path: Path, origin: tuple[Path, Profile], name: str
) -> None:
    for plant in PLANTS:
        planted(tmp_path / plant.__name__, origin, name, plant)


def started(where: Path, phone: Profile) -> str:
    """Return `served`, or the words of a daemon that would not start and soon exits 1, 2 or 3."""
    try:
        with Daemon(where) as daemon:
            return (
                "served" if say(daemon.at(phone), MessageType.DISARM).outcome is Outcome.OK else daemon.log()
            )
    except AssertionError as error:
        said = str(error)
        assert "did not start (1)" in said or "did not start (2)" in said or "did not start (3)" in said, said
        return said
