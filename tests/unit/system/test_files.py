"""Files that are replaced while the disk is slow."""

from __future__ import annotations

import os
from pathlib import Path

import gevent
import pytest
from gevent import monkey

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
