"""The sealing key in a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.sealing_conformance import Conformance, FilePlace

from novakey.errors import StoreError


@pytest.fixture
def place(tmp_path: Path) -> FilePlace:
    return FilePlace(tmp_path / "sealing.key")


class TestKeyFile(Conformance):
    """See `Conformance`."""


def test_the_file_is_owner_only(place: FilePlace) -> None:
    before = os.umask(0)
    try:
        place.backend().load_or_create()
    finally:
        os.umask(before)
    assert place.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_that_others_have_rights_on_is_refused_with_its_cure(place: FilePlace, mode: int) -> None:
    place.backend().load_or_create()
    place.path.chmod(mode)
    with pytest.raises(StoreError) as caught:
        place.backend().load()
    assert caught.value.cure == f"correct it: chmod 600 {place.path}"


def test_a_link_is_not_followed(place: FilePlace, tmp_path: Path) -> None:
    place.backend().load_or_create()
    place.path.rename(tmp_path / "elsewhere")
    place.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="is a link"):
        place.backend().load()
