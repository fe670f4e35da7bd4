"""Killed or failing anywhere in a pairing: nothing is paired and one window counts, or the device is whole.

The long form, with 200 kills at random moments: pytest -m long tests/system/test_pairing_crash.py
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from pathlib import Path

import pytest
from support.daemon import ROOT, Daemon, random_key, say

from novakey import phone
from novakey.config.settings import Settings
from novakey.daemon.startup import Installation, open_installation
from novakey.errors import NovaKeyError
from novakey.pairing import record
from novakey.phone import Profile
from novakey.secret import Secret
from novakey.system.paths import Paths
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

MOST_CALLS = 60  # far above what a pairing makes; a fence for the loops
TORN = ".*.tmp"


def faulty(folder: Path, **settings: object) -> Daemon:
    """Return a daemon that reads its fate from `plan` beside its folder."""
    env = {"PYTHONPATH": str(ROOT / "tests" / "support" / "faults"), "FAULT_PLAN": str(plan(folder))}
    return Daemon(folder, env=env, **settings)


def plan(folder: Path) -> Path:
    return folder.with_name("plan")


def hit(folder: Path) -> Path:
    """Return what is there once the fault has come."""
    return folder.with_name("plan.hit")


def attempt(daemon: Daemon, key: Secret) -> Profile | None:
    """Pair by the QR; None where no acknowledgement came."""
    try:
        return phone.pair_with(daemon.uri(), "phone-1", key)
    except NovaKeyError:
        return None


def reopened(folder: Path) -> Installation:
    """Return what a start makes of the folder: the very code that the daemon starts with."""
    return open_installation(Paths.under(folder), Settings())


def whole_or_nothing(folder: Path, key: Secret, acknowledged: bool) -> bool:
    """Check the folder after a crash; whether the device is there."""
    before = record.load(folder / "pairing.json")
    assert before.interrupted + before.handshake_running <= 1 and not before.locked
    installation = reopened(folder)
    assert not list(folder.glob(TORN)), "half-written files are swept up"
    devices = {device.id: device.key == key for device in installation.devices}
    assert devices in ({}, {"phone-1": True}), "no device, or this one with this key"
    assert devices or not acknowledged, "what was acknowledged is stored"
    after = record.load(folder / "pairing.json")
    assert (after.interrupted, after.handshake_running) == (0 if devices else before.interrupted, False) or (
        not devices and before.handshake_running and after.interrupted == before.interrupted + 1
    )
    return bool(devices)


def works_after_a_restart(folder: Path, key: Secret, paired: bool, public: bytes | None = None) -> None:
    """Check by a real start that the device's key works, or that a new window pairs."""
    with Daemon(folder) as daemon:
        if paired:
            server = reopened_public(folder) if public is None else public
            profile = Profile(daemon.host, daemon.port, "phone-1", key, server)
            assert not (folder / "novakey-pair.png").exists()
        else:
            profile = daemon.pair("phone-1")
        assert say(profile, MessageType.ARM).outcome is Outcome.OK


def reopened_public(folder: Path) -> bytes:
    from novakey.devices import server_keys

    server = server_keys.load(folder / "server_keys.json", Secret((folder / "sealing.key").read_bytes()))
    assert server is not None
    return server.public


# The short form takes every second call, from another one each time.
STEPS = [2, pytest.param(1, marks=pytest.mark.long)]


@pytest.mark.parametrize("step", STEPS)
def test_killed_before_each_durable_call_of_a_pairing(tmp_path: Path, step: int) -> None:
    outcomes: list[bool] = []
    for number in range(random.randint(1, step), MOST_CALLS, step):
        folder, key = tmp_path / f"d{number}" / "d", random_key()
        folder.parent.mkdir()
        with faulty(folder) as daemon:
            daemon.uri()
            plan(folder).write_text(f"kill {number}")
            profile = attempt(daemon, key)
            if profile is not None and _still_runs(daemon):
                break
            daemon.kill()
        assert hit(folder).exists()
        outcomes.append(whole_or_nothing(folder, key, profile is not None))
        if len(outcomes) % 5 == 0:
            works_after_a_restart(folder, key, outcomes[-1])
    assert outcomes == sorted(outcomes), "at one call the device comes, and it stays from there on"
    assert outcomes.count(False) >= 6 // step and outcomes.count(True) >= 4 // step, outcomes


def _still_runs(daemon: Daemon) -> bool:
    """Whether the daemon outlived the pairing, which ends with the QR's removal after the acknowledgement."""
    deadline = time.monotonic() + 20
    while daemon.process.poll() is None:
        assert time.monotonic() < deadline
        if "pair ok" in daemon.log():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.long
def test_killed_at_each_durable_call_of_a_first_start(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    for number in itertools.count(1):
        assert number < MOST_CALLS
        plan(folder).write_text(f"kill {number}")
        daemon = faulty(folder)
        try:
            with daemon:
                daemon.uri()
                break
        except AssertionError:
            assert daemon.process.returncode == -9, daemon.log()
        reopened(folder)
        for leftover in ("server_keys.json", "sealing.key", "pairing.json"):
            if number % 2:  # each second time from an empty folder, else on with what is there
                (folder / leftover).unlink(missing_ok=True)
    assert number > 5


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("error", ["ENOSPC", pytest.param("EROFS", marks=pytest.mark.long)])
def test_failing_at_each_durable_call_of_a_pairing(tmp_path: Path, error: str, step: int) -> None:
    number, refused, paired = random.randint(1 - step, 0), 0, 0
    while number < MOST_CALLS:
        folder = tmp_path / f"d{number}"
        plan(folder).unlink(missing_ok=True)
        with faulty(folder, pair_max_attempts=100) as daemon:
            uri = daemon.uri()
            while True:
                number += step
                key = random_key()
                hit(folder).unlink(missing_ok=True)
                plan(folder).write_text(f"{error} {number}")
                profile = attempt(daemon, key)
                if profile is not None:
                    break
                refused += 1
                daemon.wait_for_log("cannot be")
                assert "Traceback" not in daemon.log()
                assert not (folder / "devices.json").exists(), "the old state is as it was"
                assert daemon.uri() == uri, "the window is given back"
            assert say(profile, MessageType.ARM).outcome is Outcome.OK
            paired += 1
        assert whole_or_nothing(folder, key, acknowledged=True)
        if not hit(folder).exists():
            break
    least = {1: (6, 4), 2: (1, 1)}[step]
    assert refused >= least[0] and paired >= least[1]


def _killed_while_pairing(folder: Path, delay: float) -> tuple[bool, Secret]:
    """Kill the daemon `delay` seconds into a pairing; whether it was acknowledged, and the phone's key."""
    key = random_key()
    acknowledged: list[bool] = []
    with Daemon(folder) as daemon:
        uri = daemon.uri()

        def pair() -> None:
            try:
                phone.pair_with(uri, "phone-1", key)
                acknowledged.append(True)
            except NovaKeyError:
                pass

        thread = threading.Thread(target=pair)
        thread.start()
        time.sleep(delay)
        daemon.kill()
        thread.join()
    return bool(acknowledged), key


def _kill_at_random(folder: Path, seed: int, count: int) -> dict[str, int]:
    moments = random.Random(seed)
    seen = {"paired": 0, "unpaired": 0, "counted": 0}
    for number in range(count):
        here = folder / f"d{number}"
        acknowledged, key = _killed_while_pairing(here, moments.uniform(0, 0.06))
        running = record.load(here / "pairing.json").handshake_running
        paired = whole_or_nothing(here, key, acknowledged)
        works_after_a_restart(here, key, paired)
        seen["paired" if paired else "unpaired"] += 1
        seen["counted"] += running and not paired
    return seen


def test_killed_at_random_moments_of_a_pairing(tmp_path: Path) -> None:
    _kill_at_random(tmp_path, seed=1, count=4)


@pytest.mark.long
def test_killed_at_two_hundred_random_moments_of_a_pairing(tmp_path: Path) -> None:
    seen = _kill_at_random(tmp_path, seed=2, count=200)
    print(seen)
    assert seen["paired"] > 10 and seen["unpaired"] > 10
