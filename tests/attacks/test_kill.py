"""Killed under load, again and again: what was acknowledged holds, what was refused stays refused.

The long form, 1,000 kills: pytest -m long -s tests/attacks/test_kill.py
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.daemon import Daemon

from novakey import phone as reference
from novakey.control import client
from novakey.errors import NovaKeyError
from novakey.phone import Profile, exchange
from novakey.secret import Secret
from novakey.system.paths import Paths
from novakey.wire import message
from novakey.wire.message import Message, MessageType
from novakey.wire.reply import Outcome

MOST_DEVICES = 12
COUNTED = ("kills", "messages", "pairings", "revocations")
SETTINGS = {"max_requests_per_min": 100_000, "pair_max_windows": 1000, "pair_hello_max_per_min": 100_000}


@dataclass
class World:
    """What the phones and the owner know for sure; the daemon must agree after every kill."""

    folder: Path
    paired: dict[str, Profile] = field(default_factory=dict)
    revoked: dict[str, Profile] = field(default_factory=dict)
    unsure: dict[str, Profile] = field(default_factory=dict)  # a revocation that was not answered
    accepted: list[bytes] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))

    @property
    def paths(self) -> Paths:
        return Paths.under(self.folder)

    def send(self, daemon: Daemon, random_: random.Random) -> None:
        """One message of some phone; kept when it was accepted."""
        if not (known := list(self.paired.values())):
            return
        profile = random_.choice(known)
        frame = sealed(profile)
        if exchange(daemon.at(profile), frame).outcome is Outcome.OK:
            self.accepted.append(frame)
            self.counts["messages"] += 1

    def pair(self, daemon: Daemon) -> None:
        """Open a window, pair one more phone; it is paired from the acknowledgement on."""
        if len(self.paired) >= MOST_DEVICES:
            return
        with client.request(self.paths, "pair", add=True) as asked:
            event = asked.next(5)
            profile = reference.pair_with(event.members["uri"], f"phone-{secrets.token_hex(4)}")
            self.paired[profile.device_id] = profile
            self.counts["pairings"] += 1

    def revoke(self, random_: random.Random) -> None:
        """Revoke a phone; it is out from the answer on, and may be out before."""
        if len(self.paired) < 3:
            return
        device_id = random_.choice(sorted(self.paired)[1:])
        profile = self.unsure[device_id] = self.paired.pop(device_id)
        client.ask(self.paths, "revoke", device=device_id)
        self.revoked[device_id] = profile
        self.unsure.pop(device_id)
        self.counts["revocations"] += 1

    def check(self, daemon: Daemon) -> None:
        """After a restart: everything that is known for sure."""
        for profile in self.paired.values():
            assert exchange(daemon.at(profile), sealed(profile)).outcome is Outcome.OK, "a pairing is lost"
        for profile in list(self.revoked.values())[-10:]:
            assert exchange(daemon.at(profile), sealed(profile)).outcome is Outcome.CRYPTO_FAIL, "back again"
        for frame in self.accepted[-40:]:
            outcome = exchange(daemon.at(self.any), frame).outcome
            assert outcome in (Outcome.REPLAY, Outcome.CRYPTO_FAIL, Outcome.BAD_TIMESTAMP), "accepted twice"
        for device_id, profile in list(self.unsure.items()):
            back = exchange(daemon.at(profile), sealed(profile)).outcome is Outcome.OK
            (self.paired if back else self.revoked)[device_id] = self.unsure.pop(device_id)

    @property
    def any(self) -> Profile:
        return next(iter(self.paired.values()))


def sealed(profile: Profile) -> bytes:
    opened = Message(int(time.time()), MessageType.ARM, profile.device_id.encode(), Secret(b""))
    return message.seal(opened, profile.public, profile.device_key.reveal(), secrets.token_bytes(24))


def run(folder: Path, kills: int, seed: int) -> World:
    random_ = random.Random(seed)
    world = World(folder / "d")
    with Daemon(world.folder, **SETTINGS) as daemon:
        profile = daemon.pair()
        world.paired[profile.device_id] = profile
    for _ in range(kills):
        with Daemon(world.folder, **SETTINGS) as daemon:  # fails when a file is unreadable
            world.check(daemon)
            killed_under_load(world, daemon, random_)
    with Daemon(world.folder, **SETTINGS) as daemon:
        world.check(daemon)
    return world


def killed_under_load(world: World, daemon: Daemon, random_: random.Random) -> None:
    stop = threading.Event()
    jobs: list[Callable[[], None]] = [
        lambda: world.send(daemon, random_),
        lambda: world.send(daemon, random_),
        lambda: world.pair(daemon),
        lambda: world.revoke(random_),
    ]
    threads = [threading.Thread(target=repeat, args=(job, stop)) for job in jobs]
    for thread in threads:
        thread.start()
    time.sleep(random_.uniform(0.01, 0.4))
    daemon.kill()
    stop.set()
    for thread in threads:
        thread.join(30)
    world.counts["kills"] += 1


def repeat(job: Callable[[], None], stop: threading.Event) -> None:
    while not stop.is_set():
        with suppress(NovaKeyError, OSError):
            job()
        time.sleep(0.001)


def test_killed_a_few_times_under_load(tmp_path: Path) -> None:
    world = run(tmp_path, kills=3, seed=secrets.randbits(32))
    print(world.counts)
    assert world.counts["messages"]


@pytest.mark.long
def test_killed_a_thousand_times_under_load_long(tmp_path: Path) -> None:
    world = run(tmp_path, kills=1000, seed=secrets.randbits(32))
    print(world.counts)
    assert min(world.counts.values()) > 50
