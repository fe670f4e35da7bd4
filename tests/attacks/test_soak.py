"""Days in minutes: a server over real sockets with clocks a thousand times as fast, phones and strangers.

Nothing grows, nothing recorded is taken again, and the phones are served to the end.
The long form, a virtual week: pytest -m long -s tests/attacks/test_soak.py
"""

from __future__ import annotations

import json
import logging
import random
import re
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import gevent
import pytest
from support.daemon import random_key, read_all
from support.handler import Heard, handler

from novakey.config.settings import Settings
from novakey.daemon.server import Server
from novakey.devices.store import Device, DeviceStore
from novakey.messages.ledger import open_guard
from novakey.pairing.clock import WindowClock
from novakey.pairing.handshake import Handshake
from novakey.pairing.model import Record
from novakey.pairing.state import Pairing
from novakey.secret import Secret
from novakey.system import clock as clocks
from novakey.wire import crypto, message, pair, preface
from novakey.wire.message import Message, MessageType

FASTER = 1000
PHONES = ("phone-1", "phone-2", "phone-3")
MSG, PAIR = preface.Route.MSG.value, preface.Route.PAIR.value


class Clock:
    """A thousand seconds a second."""

    def __init__(self) -> None:
        self._began, self._base = time.monotonic(), time.time()

    def elapsed(self) -> float:
        return (time.monotonic() - self._began) * FASTER

    def unix(self) -> float:
        return self._base + self.elapsed()


@dataclass
class Soak:
    """One server and all who talk to it."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    random_: random.Random = field(default_factory=random.Random)
    said: Counter[str] = field(default_factory=Counter)
    accepted: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = Settings(listen_addr="127.0.0.1:0")
        self.keys = {name: random_key() for name in PHONES}
        devices = {name: Device(name, key) for name, key in self.keys.items()}
        store = DeviceStore(self.folder / "devices.json", random_key(), devices, None)
        self.crypto = crypto.ExpandedKey.generate()
        self.ledger = self.folder / "replay.ledger"
        self.guard, _ = open_guard(self.ledger, int(self.clock.unix()), 0)
        clock = clocks.Clock(self.clock.unix, self.clock.elapsed)
        self.handler = handler(
            settings,
            store,
            server=self.crypto,
            replays=self.guard,
            clock=clock,
        )
        pairing = Pairing(Record(device_stored=True), len(devices), 5, lambda record: None)
        handshake = Handshake(
            settings,
            pairing,
            store,
            self.crypto,
            Heard(),
            WindowClock(clock),
        )
        self.server = Server(settings.listen_addr, settings.max_payload_len, handshake, self.handler)
        self.server.monotonic = self.clock.elapsed
        self.port = self.server.start()[1]

    def ask(self, data: bytes, source: str) -> str:
        """Send bytes; the reason that comes back, or `closed`.

        A message is late where more than ten virtual seconds pass while the disk takes it.
        """
        with socket.create_connection(("127.0.0.1", self.port), 5, (source, 0)) as sock:
            try:
                sock.sendall(data)
                reply = json.loads(read_all(sock) or b'{"reason":"closed"}')
            except OSError:
                return "closed"
        return "late" if reply.get("msg", "").startswith("it waited too long here") else str(reply["reason"])

    def phone(self) -> None:
        """Send a message of now: it is taken, or one too many of this minute, or late."""
        name = self.random_.choice(PHONES)
        kind = self.random_.choice((MessageType.ARM, MessageType.APPROVE, MessageType.DISARM))
        opened = Message(int(self.clock.unix()), kind, name.encode(), Secret(b""))
        sealed = message.seal(opened, self.crypto.public, self.keys[name].reveal(), secrets.token_bytes(24))
        reason = self.ask(MSG + sealed, f"127.0.5.{PHONES.index(name) + 1}")
        assert reason in ("ok", "rate_limit", "bad_timestamp", "late"), reason
        if reason == "ok":
            self.accepted = [*self.accepted[-5000:], sealed]
        self.said[f"phone {reason}"] += 1

    def replayer(self) -> None:
        """Something recorded, from any time."""
        if self.accepted:
            reason = self.ask(MSG + self.random_.choice(self.accepted), "127.0.6.1")
            assert reason in ("replay", "bad_timestamp", "rate_limit"), reason
            self.said[f"replayed {reason}"] += 1

    def stranger(self) -> None:
        """Garbage from any of very many addresses."""
        source = f"127.{self.random_.randrange(10, 200)}.{self.random_.randrange(256)}.1"
        data = self.random_.choice((MSG + secrets.token_bytes(200), b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 80))
        self.said[f"stranger {self.ask(data, source)}"] += 1

    def guesser(self) -> None:
        """Return a hello with an unknown token."""
        source = f"127.7.0.{self.random_.randrange(1, 200)}"
        reason = self.ask(PAIR + pair.encode_hello(Secret(secrets.token_bytes(16))), source)
        assert reason in ("not_pairing", "rate_limit", "busy"), reason
        self.said[f"guesser {reason}"] += 1

    def run(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        jobs = (self.phone, self.phone, self.replayer, self.stranger, self.guesser)
        gevent.joinall([gevent.spawn(self._repeat, job, until) for job in jobs], raise_error=True)

    def _repeat(self, job: Callable[[], None], until: float) -> None:
        while time.monotonic() < until:
            job()
            gevent.sleep(0.001)


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


@pytest.fixture(autouse=True)
def no_records() -> Iterator[None]:
    """Pytest keeps every record of the log in memory, which is what is measured here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def soak(folder: Path, seconds: float) -> None:
    running = Soak(folder)
    try:
        running.run(seconds / 4)
        before, size = resident_mb(), running.ledger.stat().st_size
        running.run(seconds * 3 / 4)
        grown = resident_mb() - before
    finally:
        running.server.stop()
        running.guard.close()
    days = running.clock.elapsed() / 86_400
    print(f"{days:.2f} virtual days, {dict(running.said)}, {grown:.1f} MB grown, {size} bytes of ledger")
    assert running.said["phone ok"] > 5 * seconds
    assert running.said["replayed replay"] + running.said["replayed bad_timestamp"] > 0
    # A minute passes in 60 ms and 60 a minute are allowed: what is remembered is bounded by the rate.
    assert len(running.guard) <= 60 * len(PHONES) * 8
    assert running.ledger.stat().st_size == size
    assert grown < 20
    again, trouble = open_guard(running.ledger, int(running.clock.unix()), len(PHONES))
    assert trouble is None
    again.close()


def test_an_hour_in_seconds(tmp_path: Path) -> None:
    soak(tmp_path, 4)


@pytest.mark.long
def test_a_week_in_minutes_long(tmp_path: Path) -> None:
    soak(tmp_path, 604.8)
