"""The sites that had a secret before: kept over a restart, and not readable on the disk."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from novakey.devices import remembered_sites
from novakey.devices.remembered_sites import RememberedSites
from novakey.secret import Secret
from novakey.sites.origin import parse


@pytest.fixture
def key() -> Secret:
    return Secret(os.urandom(32))


def test_a_site_is_new_until_it_had_a_secret_and_known_after_a_restart(tmp_path: Path, key: Secret) -> None:
    path = tmp_path / "sites.json"
    sites = RememberedSites(path, key)
    assert sites.judge(parse("https://login.example.org")) == (True, "")
    sites.remember(parse("https://login.example.org"))
    for again in (sites, RememberedSites(path, key)):
        assert again.judge(parse("https://login.example.org")) == (False, "")
        assert again.judge(parse("https://www.example.org")) == (False, "")
        first_time, warning = again.judge(parse("https://exarnple.org"))
        assert first_time and "example.org" in warning
        assert again.judge(parse("https://loginexample.org"))[1], "the host is remembered too"
        assert again.judge(parse("https://something.test")) == (True, "")


def test_no_name_of_a_site_lies_on_the_disk_or_in_memory(tmp_path: Path, key: Secret) -> None:
    path = tmp_path / "sites.json"
    sites = RememberedSites(path, key)
    sites.remember(parse("https://login.example.org"))
    sites.judge(parse("https://something.test"))
    assert b"example" not in path.read_bytes() and path.stat().st_mode & 0o777 == 0o600
    gc.collect()
    assert "example" not in repr(sites._rows)


def test_a_site_is_written_once(tmp_path: Path, key: Secret) -> None:
    path = tmp_path / "sites.json"
    sites = RememberedSites(path, key)
    sites.remember(parse("https://example.org"))
    before = path.read_bytes()
    sites.remember(parse("https://example.org"))
    assert path.read_bytes() == before


def test_the_oldest_is_forgotten(tmp_path: Path, key: Secret, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered_sites, "MOST", 3)
    sites = RememberedSites(tmp_path / "sites.json", key)
    names = [f"https://{letter * 9}.test" for letter in "abcd"]
    for name in names:
        sites.remember(parse(name))
    assert [sites.judge(parse(name)).first_time for name in names] == [True, False, False, False]


@pytest.mark.parametrize(
    "damage", [b"", b"{}", b"not JSON", None], ids=["empty", "object", "text", "other key"]
)
def test_a_file_that_cannot_be_read_makes_each_site_new(
    tmp_path: Path, key: Secret, damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "sites.json"
    RememberedSites(path, key if damage is not None else Secret(os.urandom(32))).remember(
        parse("https://example.org")
    )
    if damage is not None:
        path.write_bytes(damage)
    sites = RememberedSites(path, key)
    assert sites.judge(parse("https://example.org")) == (True, "")
    assert "is lost" in caplog.text
    sites.remember(parse("https://example.org"))
    assert RememberedSites(path, key).judge(parse("https://example.org")) == (False, "")
