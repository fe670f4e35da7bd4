"""Files that are replaced while the disk is slow."""

from __future__ import annotations

import errno
import os
import resource
import signal
from pathlib import Path

import gevent
import pytest
from gevent import monkey

from novakey.errors import NovaKeyError
from novakey.system import files


def test_of_two_writes_at_once_the_later_one_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, gate = tmp_path / "file", monkey.get_original("_thread", "allocate_lock")()
    gate.acquire()
    synced, fsync = [], os.fsync

    def slow(handle: int) -> None:
        synced.append(handle)
        if len(synced) == 1:
            gate.acquire()
        fsync(handle)

    monkeypatch.setattr(os, "fsync", slow)
    first = gevent.spawn(files.replace_private, path, b"first")
    while not synced:
        gevent.sleep(0.001)
    second = gevent.spawn(files.replace_private, path, b"second")
    gevent.sleep(0)
    gate.release()
    gevent.joinall([first, second], timeout=10, raise_error=True)
    assert path.read_bytes() == b"second"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def no_hard_links(*_: object, **__: object) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def test_a_file_for_a_stick_is_written_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", no_hard_links)  # as link(2) on FAT
    path = tmp_path / "backup"
    files.write_private(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        files.write_private(path, b"another")
    assert path.read_bytes() == b"whole"


def test_a_file_that_cannot_be_written_whole_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "backup"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with pytest.raises(NovaKeyError, match="cannot be written"):
            files.write_private(path, bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_free_is_the_first_of_its_kind(tmp_path: Path) -> None:
    assert files.free_name(tmp_path / "before").name == "before-1"
    (tmp_path / "before-1").mkdir()
    (tmp_path / "before-3").mkdir()
    assert files.free_name(tmp_path / "before").name == "before-2"
