"""The replay ledger on a real disk: what outlives a kill, a cut, a reboot, a clock set back."""

from __future__ import annotations

import os
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gevent
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.daemon import ROOT
from support.handler import handler
from support.machine import run_machine

from novakey.config.settings import Settings
from novakey.devices.store import Device, DeviceStore
from novakey.errors import StoreError
from novakey.messages import ledger
from novakey.messages.ledger import DamagedError, open_guard
from novakey.messages.replay import MAX_AGE_S, MAX_AHEAD_S, ReplayGuard, Verdict, key_of
from novakey.secret import Secret
from novakey.wire import message
from novakey.wire.message import Message, MessageType
from novakey.wire.reply import Outcome

NOW = 1_800_000_000
BOOT, NEXT_BOOT = b"b" * 16, b"n" * 16


def new(number: int) -> bytes:
    return key_of("phone", number.to_bytes(24, "big"))


def opened(path: Path, now: int = NOW, devices: int = 1, boot: bytes = BOOT) -> ReplayGuard:
    return open_guard(path, now, devices, boot)[0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "replay.ledger"
    opened(path, devices=0).close()
    return path


def test_what_was_accepted_is_seen_after_a_kill(path: Path) -> None:
    guard = opened(path)
    for number in range(100):
        guard.accept(new(number), NOW + number, NOW)
    again = opened(path)  # the first was not closed
    assert len(again) == 100
    assert all(again.verdict(new(n), NOW + n, NOW) is Verdict.SEEN for n in range(100))
    assert again.verdict(new(100), NOW, NOW) is Verdict.NEW


_ACCEPTING = """
import os, secrets, sys
from pathlib import Path
from novakey.messages.ledger import open_guard
path, now, boot = Path(sys.argv[1]), int(sys.argv[2]), bytes.fromhex(sys.argv[3])
guard, _ = open_guard(path, now, 1, boot)
while True:
    key = secrets.token_bytes(12)
    guard.accept(key, now, now)
    os.write(1, key)
"""


def test_a_kill_between_any_two_messages_loses_none(path: Path) -> None:
    """A real process accepts, says so, and is killed while it goes on."""
    argv = [sys.executable, "-c", _ACCEPTING, str(path), str(NOW), BOOT.hex()]
    for _ in range(10):
        with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT, bufsize=0) as child:
            assert child.stdout is not None
            accepted = b""
            while len(accepted) < 12 * 200:
                accepted += child.stdout.read(1200)
            child.kill()
            accepted += child.stdout.read()
        guard = opened(path)
        keys = [accepted[at : at + 12] for at in range(0, len(accepted), 12)]
        assert all(guard.verdict(key, NOW, NOW) is Verdict.SEEN for key in keys)


def test_a_ledger_cut_at_any_byte_is_damaged(path: Path) -> None:
    guard = opened(path)
    for number in range(5):
        guard.accept(new(number), NOW, NOW)
    guard.close()
    whole = path.read_bytes()
    assert len(ledger.parse(whole, BOOT).entries) == 5
    for length in range(len(whole)):
        with pytest.raises(DamagedError):
            ledger.parse(whole[:length], BOOT)


def test_any_changed_byte_of_what_is_written_is_damage(path: Path) -> None:
    guard = opened(path)
    for number in range(5):
        guard.accept(new(number), NOW, NOW)
    whole = path.read_bytes()
    for at in range(64 + 5 * 32):
        with pytest.raises(DamagedError):
            ledger.parse(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], BOOT)


@pytest.mark.parametrize("harm", ["missing", "cut", "not closed before a reboot", "noise"])
def test_where_the_past_is_lost_every_timestamp_it_may_have_held_is_refused(path: Path, harm: str) -> None:
    guard = opened(path)
    guard.accept(new(1), NOW, NOW)
    if harm == "missing":
        path.unlink()
    elif harm == "cut":
        os.truncate(path, 64 + 32)
    elif harm == "noise":
        path.write_bytes(b"\xff" * 500)
    boot = NEXT_BOOT if "reboot" in harm else BOOT
    again, trouble = open_guard(path, NOW + 1, 1, boot)
    assert trouble is not None and "replay.ledger" in trouble
    assert again.verdict(new(1), NOW, NOW + 1) is Verdict.FORGOTTEN
    assert again.verdict(new(2), NOW + 1 + MAX_AHEAD_S, NOW + 1) is Verdict.FORGOTTEN
    later = NOW + 2 + MAX_AHEAD_S
    assert again.verdict(new(3), later, later) is Verdict.NEW
    again.close()
    assert opened(path, NOW + 2, boot=boot).verdict(new(1), NOW, NOW) is Verdict.FORGOTTEN, "also later"


def test_a_closed_ledger_is_good_after_a_reboot(path: Path) -> None:
    guard = opened(path)
    guard.accept(new(1), NOW, NOW)
    guard.close()
    again, trouble = open_guard(path, NOW, 1, NEXT_BOOT)
    assert trouble is None
    assert again.verdict(new(1), NOW, NOW) is Verdict.SEEN
    assert again.verdict(new(2), NOW, NOW) is Verdict.NEW


def test_a_new_installation_takes_messages_at_once(tmp_path: Path) -> None:
    guard, trouble = open_guard(tmp_path / "replay.ledger", NOW, 0, BOOT)
    assert trouble is None
    assert guard.verdict(new(1), NOW, NOW) is Verdict.NEW


def test_a_clock_set_back_over_a_restart_reopens_nothing(path: Path) -> None:
    guard = opened(path)
    guard.accept(new(1), NOW, NOW)
    guard.accept(new(2), NOW + 400, NOW + 400)  # forgets the first
    again = opened(path, NOW)
    assert again.verdict(new(1), NOW, NOW) is Verdict.FORGOTTEN
    assert again.verdict(new(2), NOW + 400, NOW) is Verdict.SEEN
    os.truncate(path, 64 + 32 + 32)
    damaged = opened(path, NOW - 600)
    assert damaged.floor >= NOW, "what is left of it still counts"


def test_the_file_stays_small_however_many_messages_there_are(path: Path) -> None:
    guard = opened(path)
    for number in range(20_000):
        now = NOW + number // 2
        guard.accept(new(number), now, now)
    assert len(guard) <= 2 * (MAX_AGE_S + 1)
    assert path.stat().st_size == 64 + 32 * ledger.MIN_SLOTS
    again = opened(path, now)
    assert len(again) == len(guard)
    assert again.floor == guard.floor


def test_it_grows_with_what_may_still_be_fresh_and_shrinks_again(path: Path) -> None:
    guard = opened(path)
    for number in range(5000):
        guard.accept(new(number), NOW + number % 100, NOW)
    assert path.stat().st_size == 64 + 32 * 8192
    again = opened(path)
    assert all(again.verdict(new(n), NOW + n % 100, NOW) is Verdict.SEEN for n in range(5000))
    again.accept(new(9999), NOW + 1000, NOW + 1000)
    opened(path, NOW + 1000).close()
    assert path.stat().st_size == 64 + 32 * ledger.MIN_SLOTS


def test_more_than_can_be_remembered_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_SLOTS", 4 * ledger.MIN_SLOTS)
    guard = opened(path)
    accepted = 0
    with pytest.raises(OSError, match="more messages"):
        while accepted < 10_000:
            guard.accept(new(accepted), NOW, NOW)
            accepted += 1
    assert accepted >= ledger.MIN_SLOTS
    assert guard.verdict(new(accepted), NOW, NOW) is Verdict.NEW, "not accepted"
    guard.accept(new(accepted), NOW + 400, NOW + 400)  # room again


def test_a_write_that_fails_accepts_nothing(path: Path) -> None:
    """The kernel refuses every write beyond the limit, as a full disk would."""
    guard = opened(path)
    guard.accept(new(1), NOW, NOW)
    for limit in (64, 64 + 32 + 7):  # nothing of it, and seven bytes of it
        with no_file_longer_than(limit), pytest.raises(OSError):
            guard.accept(new(2), NOW, NOW)
        assert guard.verdict(new(2), NOW, NOW) is Verdict.NEW
    guard.accept(new(2), NOW, NOW)
    assert opened(path).verdict(new(2), NOW, NOW) is Verdict.SEEN


def test_a_ledger_for_devices_of_another_daemon_refuses_what_was_sent_before(path: Path) -> None:
    ledger.begin(path, NOW)
    guard, trouble = open_guard(path, NOW, 1)
    assert trouble is None
    assert guard.verdict(new(1), NOW - 1, NOW) is Verdict.FORGOTTEN
    assert guard.verdict(new(1), NOW, NOW) is Verdict.NEW


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """Return what the kernel does when a disk is full, to this process alone."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_growth_on_a_full_disk_refuses_the_message_and_succeeds_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "MIN_SLOTS", 4)
    guard = opened(path)
    for number in range(4):
        guard.accept(new(number), NOW, NOW)
    with no_file_longer_than(64 + 4 * 32), pytest.raises(OSError):
        guard.accept(new(4), NOW, NOW)
    assert guard.verdict(new(4), NOW, NOW) is Verdict.NEW
    assert [found.name for found in path.parent.iterdir()] == ["replay.ledger"], "nothing half-written stays"
    guard.accept(new(4), NOW, NOW)
    again = opened(path)
    assert all(again.verdict(new(n), NOW, NOW) is Verdict.SEEN for n in range(5))


def test_a_message_that_cannot_be_written_down_is_not_acted_on(path: Path) -> None:
    device = Device("phone", Secret(secrets.token_bytes(32)))
    devices = DeviceStore(path, device.key, {device.id: device}, None)
    subject = handler(Settings(), devices, replays=opened(path))
    opened_message = Message(int(time.time()), MessageType.ARM, b"phone", Secret(b""))
    frame = message.seal(opened_message, subject.server.public, device.key.reveal(), bytes(24))
    with no_file_longer_than(64):
        reply = subject.answer(frame[2:], "192.0.2.1", 1)
    assert reply.outcome is Outcome.INTERNAL_ERROR and "cannot write to its disk" in reply.msg
    assert not subject.injector.permissions.of("phone").arming.is_open(subject.clock.monotonic_ms())
    assert subject.answer(frame[2:], "192.0.2.1", 2).outcome is Outcome.OK, "nothing was used up"


@pytest.mark.parametrize("plant", ["link", "fifo", "folder", "wide"])
def test_what_was_planted_in_its_place_is_refused_with_its_name(path: Path, plant: str) -> None:
    target = path.with_name("target")
    path.unlink()
    if plant == "link":
        target.write_bytes(b"untouched")
        path.symlink_to(target)
    elif plant == "fifo":
        os.mkfifo(path, 0o600)
    elif plant == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"")
        path.chmod(0o644)
    with pytest.raises(StoreError, match=r"replay\.ledger"):
        opened(path)
    assert not target.exists() or target.read_bytes() == b"untouched"


class LedgerMachine(RuleBasedStateMachine):
    """Messages, kills, reboots, clocks and harm, against a model that never forgets."""

    @initialize()
    def begin(self) -> None:
        self.path = _FOLDERS[0] / secrets.token_hex(8)
        self.now = NOW
        self.boot = 0
        self.sent: dict[tuple[int, int], bool] = {}  # (number, timestamp): accepted?
        self.numbers = 0
        self.honest = True  # nothing was lost and no clock went back: everything new must be taken
        self.guard = self._open(devices=0)

    def _open(self, devices: int = 1) -> ReplayGuard:
        gevent.sleep(0.0001)  # gevent closes the descriptors of folders only when its loop runs
        return opened(self.path, self.now, devices, self.boot.to_bytes(16, "big"))

    @rule(offset=st.integers(-310, 130))
    def send_new(self, offset: int) -> None:
        self.numbers += 1
        self._send(self.numbers, self.now + offset, is_new=True)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        number, timestamp = data.draw(st.sampled_from(sorted(self.sent)))
        self._send(number, timestamp, is_new=False)

    def _send(self, number: int, timestamp: int, is_new: bool) -> None:
        verdict = self.guard.verdict(new(number), timestamp, self.now)
        if verdict is Verdict.NEW:
            assert not self.sent.get((number, timestamp)), "accepted twice"
            self.guard.accept(new(number), timestamp, self.now)
        elif is_new and self.honest:
            assert verdict is Verdict.NOT_FRESH
        if is_new and self.honest:
            assert (verdict is Verdict.NEW) == (-MAX_AGE_S <= timestamp - self.now <= MAX_AHEAD_S)
        self.sent[number, timestamp] = self.sent.get((number, timestamp), False) or verdict is Verdict.NEW

    @rule(seconds=st.integers(0, 400))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(seconds=st.integers(1, 1000))
    def the_clock_is_set_back(self, seconds: int) -> None:
        self.now -= seconds
        self.honest = False

    @rule()
    def kill(self) -> None:
        self._die()
        self.guard = self._open()

    @rule()
    def reboot_in_order(self) -> None:
        self.guard.close()
        self.boot += 1
        self.guard = self._open()

    @rule(harm=st.sampled_from(["power", "delete", "cut"]), cut=st.integers(0, 400))
    def lose_the_past(self, harm: str, cut: int) -> None:
        # A loss and a clock set back together leave nothing to know the past by; that is documented.
        self.now = max(self.now, max((timestamp for _, timestamp in self.sent), default=0))
        self.honest = False
        if harm == "power":
            self.boot += 1
        elif harm == "delete":
            self.path.unlink()
        else:
            os.truncate(self.path, cut)
        self._die()
        self.guard = self._open()

    def _die(self) -> None:
        """Return what the kernel does with the descriptors of a killed process, and nothing else."""
        os.close(self.guard._writer._handle)

    def teardown(self) -> None:
        if hasattr(self, "guard"):
            self._die()

    @invariant()
    def bounded(self) -> None:
        assert len(getattr(self, "guard", ())) <= len(getattr(self, "sent", ()))


_FOLDERS: list[Path] = []


def _run(folder: Path, examples: int, steps: int) -> None:
    _FOLDERS[:] = [folder]
    try:
        run_machine(LedgerMachine, examples=examples, steps=steps)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _in_memory() -> Path:
    """Return a folder where a sync costs nothing: thousands of restarts."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))


def test_no_history_lets_a_message_in_twice() -> None:
    _run(_in_memory(), examples=60, steps=40)


@pytest.mark.long
def test_no_history_lets_a_message_in_twice_long() -> None:
    _run(_in_memory(), examples=5000, steps=60)
