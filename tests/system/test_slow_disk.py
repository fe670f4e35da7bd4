"""A disk that takes its time: only the change that waits for it waits, and nothing is acknowledged early."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from support.daemon import ROOT, Daemon, say

from novakey import phone
from novakey.control import client
from novakey.errors import NovaKeyError
from novakey.system.paths import Paths
from novakey.wire.control import Event
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome


class SlowDisk(Daemon):
    """A daemon whose syncs wait while the disk is held."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self._plan = folder.parent / "plan"
        env = {"PYTHONPATH": str(ROOT / "tests" / "support" / "faults"), "FAULT_PLAN": str(self._plan)}
        super().__init__(folder, env=env, **settings)
        self.paths = Paths.under(folder)

    def hold(self) -> None:
        """Let each sync from now on wait."""
        self._plan.write_text("hold")

    def wait_until_held(self) -> None:
        """Wait for the first sync that waits."""
        deadline = time.monotonic() + 10
        while not Path(f"{self._plan}.held").exists():
            assert time.monotonic() < deadline
            gevent.sleep(0.005)

    def release(self) -> None:
        """Let the disk go on."""
        self._plan.unlink(missing_ok=True)

    def begin(self, op: str, **arguments: Any) -> gevent.Greenlet:
        """Ask for a change that must wait for the disk."""
        asked = gevent.spawn(client.ask, self.paths, op, **arguments)
        self.wait_until_held()
        return asked


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[SlowDisk]:
    slow = SlowDisk(tmp_path / "data", arm_duration_ms=60_000)
    with slow:
        try:
            yield slow
        finally:
            slow.release()


def test_while_a_change_waits_for_the_disk_phones_and_the_owner_are_answered(daemon: SlowDisk) -> None:
    profile = daemon.pair()
    daemon.hold()
    renaming = daemon.begin("rename", device=profile.device_id, name="anna")
    assert say(profile, MessageType.ARM).outcome.success
    assert client.ask(daemon.paths, "status")["armed"]
    assert client.ask(daemon.paths, "disarm")["disarmed"] == [profile.device_id]
    assert client.ask(daemon.paths, "arm")["armed"] == profile.device_id
    assert not renaming.ready(), "it is not said to be done before it is stored"
    assert client.ask(daemon.paths, "devices")["devices"][0]["name"] == ""
    daemon.release()
    assert renaming.get(timeout=10)["name"] == "anna"


def test_a_phone_is_a_stranger_from_the_beginning_of_its_revocation(daemon: SlowDisk) -> None:
    profile = daemon.pair()
    daemon.hold()
    revoking = daemon.begin("revoke", device=profile.device_id)
    assert say(profile, MessageType.ARM).outcome is Outcome.NOT_PAIRED
    daemon.release()
    assert revoking.get(timeout=10)["devices"] == 0


def test_two_changes_at_once_both_last(daemon: SlowDisk) -> None:
    first = daemon.pair("phone-1")
    with client.request(daemon.paths, "pair", add=True) as asked:
        event = asked.next(10)
        assert isinstance(event, Event)
        second = phone.pair_with(str(event.members["uri"]), "phone-2")
    daemon.hold()
    renaming = daemon.begin("rename", device=first.device_id, name="anna")
    revoking = daemon.begin("revoke", device=second.device_id)
    daemon.release()
    assert renaming.get(timeout=10)["name"] == "anna"
    assert revoking.get(timeout=10)["devices"] == 1
    daemon.stop()
    with daemon:
        rows = client.ask(daemon.paths, "devices")["devices"]
        assert [(row["id"], row["name"]) for row in rows] == [("phone-1", "anna")]


def test_a_phone_that_would_wait_too_long_reads_so_on_its_hello_and_pairs_later(daemon: SlowDisk) -> None:
    uri = daemon.uri()
    daemon.hold()
    with pytest.raises(NovaKeyError, match="storage: this computer's disk is too slow to pair now"):
        phone.pair_with(uri)
    assert client.ask(daemon.paths, "status")["window"]
    daemon.release()
    deadline = time.monotonic() + 10
    while client.ask(daemon.paths, "status")["window"]["attempts_left"] != 2:
        assert time.monotonic() < deadline
        gevent.sleep(0.01)
    assert say(phone.pair_with(uri), MessageType.ARM).outcome.success


def test_no_acknowledgement_leaves_before_the_device_is_stored(daemon: SlowDisk) -> None:
    arrived: list[socket.socket] = []

    def held(sock: socket.socket, how: int) -> None:
        arrived.append(sock)
        shutdown(sock, how)

    uri, shutdown = daemon.uri(), socket.socket.shutdown
    with pytest.MonkeyPatch.context() as patch:
        encode = phone.pair.seal_registration

        def seal(*arguments: Any) -> Any:
            daemon.hold()  # the hello is stored; the register follows
            return encode(*arguments)

        patch.setattr(phone.pair, "seal_registration", seal)
        patch.setattr(socket.socket, "shutdown", held)
        pairing = gevent.spawn(phone.pair_with, uri)
        daemon.wait_until_held()
        assert arrived and not select.select(arrived, [], [], 0.3)[0]
        daemon.release()
        assert say(pairing.get(timeout=10), MessageType.ARM).outcome.success
