"""Two phones that pair at once, in every order of their steps: never two devices, and exactly one key.

The daemon's handshake, state and store are the real ones. The network is a
script: where a handshake would wait for its phone, a schedule says who goes on.
"""

from __future__ import annotations

import itertools
import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import greenlet
import pytest
from support.handler import Heard

from novakey.config.settings import Settings
from novakey.devices import store
from novakey.devices.store import DeviceStore
from novakey.net.stream import EndOfStreamError
from novakey.pairing.clock import WindowClock
from novakey.pairing.handshake import Handshake
from novakey.pairing.model import Record
from novakey.pairing.state import Pairing, State
from novakey.secret import Secret
from novakey.system.clock import Clock
from novakey.wire import crypto, pair

KEYS = crypto.ExpandedKey.generate()
NOW = 1_800_000_000
STEPS = 4  # the hello comes, the server key goes, the register comes, the acknowledgement goes


@dataclass
class Phone:
    """One phone and its end of the wire; `leaves_at` is the step at which it is gone, if any."""

    token: Secret
    registration: pair.Registration
    leaves_at: int | None = None
    step: int = 0
    ended: bool = False
    refusal: str = ""
    acknowledged: bool = False
    _public: bytes = b""
    _opens: tuple[bytes, bytes] = field(default=(b"", b""))

    # What `Handshake` uses of a `Stream`.

    def set_deadline(self, seconds: float) -> None:
        assert seconds > 0

    def line(self, cap: int) -> bytes:
        self._wait()
        return pair.encode_hello(self.token)

    def read_some(self) -> bytes:
        self._wait()
        frame, *opens = pair.seal_registration(
            self.registration, self._public, self.token, secrets.token_bytes(24)
        )
        self._opens = (opens[0], opens[1])
        return frame

    def send(self, data: bytes) -> None:
        self._wait()
        if not self._opens[0]:  # nothing was registered yet, so it is a line
            answer = pair.decode_server_line(data)
            if isinstance(answer, pair.Refusal):
                self.refusal = answer.reason
            else:
                self._public = answer.public
        else:
            assert pair.decode_acknowledgement(data, *self._opens).device_id == self.registration.device_id
            self.acknowledged = True

    def _wait(self) -> None:
        """Let the others go on, until the schedule comes back to this phone."""
        greenlet.getcurrent().parent.switch()
        self.step += 1
        if self.leaves_at == self.step:
            raise EndOfStreamError("the peer hung up")


@dataclass
class Table:
    """One window, its store on disk, and the phones around it."""

    folder: Path
    token: Secret = field(default_factory=lambda: Secret(secrets.token_bytes(16)))

    def __post_init__(self) -> None:
        self.key = Secret(bytes(32))
        self.path = self.folder / "devices.json"
        self.path.unlink(missing_ok=True)
        self.devices = DeviceStore(self.path, self.key, {}, None)
        self.pairing = Pairing(Record(), 0, 5, lambda record: None)
        self.pairing.open_window(self.token, NOW, 600, 3)
        self.heard = Heard()
        self.handshake = Handshake(
            Settings(),
            self.pairing,
            self.devices,
            KEYS,
            self.heard,
            WindowClock(Clock(lambda: NOW, lambda: 0.0)),
        )

    def play(self, phones: Sequence[Phone], schedule: Sequence[int]) -> None:
        """Run the handshakes in this order of steps, then the rest, to their ends."""
        runs = [greenlet.greenlet(self._serve(phone)) for phone in phones]
        for number in itertools.chain(schedule, itertools.cycle(range(len(runs)))):
            if all(run.dead for run in runs):
                return
            if not runs[number].dead:
                runs[number].switch()

    def _serve(self, phone: Phone) -> Callable[[], None]:
        def run() -> None:
            try:
                self.handshake.run(phone, "127.0.0.1", 1, lambda: None)  # type: ignore[arg-type]
            except EndOfStreamError:
                pass  # the connection's edge logs it and closes

        return run

    def stored(self) -> dict[str, Secret]:
        """Return the devices on disk, which must be those in memory."""
        devices = store.unseal(store.read(self.path), self.path, self.key)
        assert list(devices) == list(self.devices)
        return {device.id: device.key for device in devices}


def schedules() -> Iterator[tuple[int, ...]]:
    """Every order of the steps of two handshakes, the start of each included."""
    total = 2 * (STEPS + 1)
    for first in itertools.combinations(range(total), STEPS + 1):
        yield tuple(0 if place in first else 1 for place in range(total))


def phone(table: Table, name: str, key: Secret | None = None, leaves_at: int | None = None) -> Phone:
    registration = pair.Registration(name, key or Secret(secrets.token_bytes(32)))
    return Phone(table.token, registration, leaves_at)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_there_are_252_schedules() -> None:
    assert len(set(schedules())) == 252


@pytest.mark.parametrize("names", [("a", "b"), pytest.param(("a", "a"), marks=pytest.mark.long)])
def test_two_whole_phones_are_one_device_and_one_acknowledgement(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    """504 interleavings."""
    refusals = set()
    for schedule in schedules():
        table = Table(tmp_path)
        phones = [phone(table, name) for name in names]
        table.play(phones, schedule)
        winners = [one for one in phones if one.acknowledged]
        assert len(winners) == 1, schedule
        assert table.stored() == {winners[0].registration.device_id: winners[0].registration.device_key}
        assert table.heard.devices == [winners[0].registration.device_id]
        assert table.pairing.state is State.PAIRED
        refusals |= {one.refusal for one in phones if not one.acknowledged}
    assert refusals == {"busy", ""}, "the loser is told busy, or its repeat is refused in silence"


@pytest.mark.parametrize(
    "leaves_at", [1, pytest.param(2, marks=pytest.mark.long), pytest.param(3, marks=pytest.mark.long), 4]
)
def test_a_phone_that_leaves_takes_nothing_from_the_other(tmp_path: Path, leaves_at: int) -> None:
    for schedule in schedules():
        table = Table(tmp_path)
        leaver, other = phone(table, "a", leaves_at=leaves_at), phone(table, "b")
        table.play([leaver, other], schedule)
        stored = table.stored() if table.path.exists() else {}
        assert len(stored) <= 1, schedule
        assert stored == {
            one.registration.device_id: one.registration.device_key
            for one in (leaver, other)
            if one.registration.device_id in table.heard.devices
        }
        assert other.acknowledged == ("b" in stored), schedule
        assert other.acknowledged or other.refusal == "busy" or "a" in stored, schedule
        if not stored:  # the window was given back, and a third phone pairs
            third = phone(table, "c")
            table.play([third], [])
            assert third.acknowledged


def test_one_phone_twice_at_once_is_paired_once_with_its_key(tmp_path: Path) -> None:
    """A phone that sends its registration again before it knows what became of the first."""
    for schedule in schedules():
        table = Table(tmp_path)
        key = Secret(secrets.token_bytes(32))
        twins = [phone(table, "a", key), phone(table, "a", key)]
        table.play(twins, schedule)
        assert any(twin.acknowledged for twin in twins)
        assert all(twin.acknowledged or twin.refusal == "busy" for twin in twins), schedule
        assert table.stored() == {"a": key} and table.heard.devices == ["a"]


def test_a_handshake_whose_window_has_been_closed_stores_nothing(tmp_path: Path) -> None:
    """Also when another window is open by then, with another phone in it."""
    table = Table(tmp_path)
    slow = phone(table, "slow")
    run = greenlet.greenlet(table._serve(slow))
    for _ in range(3):  # it has its server key
        run.switch()
    table.pairing.stop()
    table.token = Secret(secrets.token_bytes(16))
    table.pairing.open_window(table.token, NOW, 600, 3)
    assert table.pairing.hello(table.token, NOW) is False
    while not run.dead:
        run.switch()
    assert not slow.acknowledged and not table.path.exists()
    assert table.pairing.holds(table.token), "nor did its end take the other window"
