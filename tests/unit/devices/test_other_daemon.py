"""The existing daemon's files are told from ours by what is in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.other_daemon import Other

from novakey.config.settings import Settings
from novakey.daemon.startup import open_installation
from novakey.devices import other_daemon
from novakey.system.paths import Paths

NAMES = ("devices.json", "server_keys.json")


def found(folder: Path) -> list[str]:
    return [path.name for path in other_daemon.files(folder, *NAMES)]


@pytest.fixture
def other(tmp_path: Path) -> Other:
    return Other.make(tmp_path / "d")


@pytest.mark.parametrize("sealed", [False, True])
def test_its_whole_folder_is_recognised(other: Other, sealed: bool) -> None:
    if sealed:
        other.seal_devices()
    assert found(other.folder) == ["server_keys.json", "devices.json", "server_config.yaml"]


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [0, 1, 12, 40, 100])
def test_a_file_of_it_that_is_cut_anywhere_is_recognised_by_its_company(
    other: Other, name: str, size: int, sealed: bool
) -> None:
    if sealed:
        other.seal_devices()
    cut = other.folder / name
    cut.write_bytes(cut.read_bytes()[:size])
    assert set(NAMES) <= set(found(other.folder))


@pytest.mark.parametrize("name", NAMES)
def test_half_of_it_is_recognised(other: Other, name: str) -> None:
    (other.folder / name).unlink()
    (other.folder / "server_config.yaml").unlink()
    assert found(other.folder) == [left for left in NAMES if left != name]


def ours(folder: Path) -> Paths:
    paths = Paths.under(folder)
    open_installation(paths, Settings())
    return paths


@pytest.mark.parametrize("damage", [b"", b"{", b"rubbish", b'{"v":1,"alg":"xcha'])
def test_ours_are_never_taken_for_its_files_also_when_they_are_damaged(tmp_path: Path, damage: bytes) -> None:
    folder = tmp_path / "d"
    paths = ours(folder)
    (folder / "devices.json").write_bytes(damage)
    (folder / "server_config.yaml").write_text("listen_addr: 127.0.0.1:0\n")  # somebody left it there
    assert found(folder) == []
    (folder / "server_keys.json").write_bytes(damage)
    assert other_daemon.problem(paths, Settings()) is None
    (folder / "devices.json").write_text('{"devices": []}')
    assert "devices.json" in found(folder), "but what is in the clear is not ours"


def test_an_empty_folder_and_one_that_is_not_there_hold_nothing(tmp_path: Path) -> None:
    assert found(tmp_path) == found(tmp_path / "none") == []
