"""Two phones and their owner: nothing of one serves the other, and a revoked one is a stranger."""

from __future__ import annotations

import itertools
import json
import os
import secrets
import shlex
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import gevent.event
import pytest
from support.daemon import Daemon, say
from support.pairing import dropped

from novakey import phone
from novakey.config.settings import Settings
from novakey.control import client
from novakey.control.client import NoDaemonError
from novakey.desktop.base import Backend, NoDisplayError
from novakey.devices.activity import Activity
from novakey.devices.store import Device, DeviceStore
from novakey.errors import NovaKeyError
from novakey.messages.approvals import ALLOW, Approvals
from novakey.messages.exchange import Exchange
from novakey.messages.handler import Handler
from novakey.messages.inject import Injector
from novakey.messages.output import Output
from novakey.messages.permissions import Permissions
from novakey.messages.replay import ReplayGuard
from novakey.messages.requests import SecretRequests
from novakey.phone import Profile
from novakey.secret import Secret
from novakey.system.folder_lock import FolderLock
from novakey.system.paths import Paths
from novakey.wire import crypto, message, preface, uri
from novakey.wire.control import Done, Event
from novakey.wire.message import Message, MessageType
from novakey.wire.reply import Outcome, Reply
from novakey.wire.reply import decode as decode_reply


class Owned(Daemon):
    """A daemon with its owner's commands."""

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        return client.ask(Paths.under(self.folder), op, **arguments)

    def add(self, device_id: str) -> Profile:
        """Pair a phone, the first or one more."""
        with client.request(Paths.under(self.folder), "pair", add=True) as asked:
            window = asked.next(20)
            assert isinstance(window, Event)
            profile = phone.pair_with(window.members["uri"], device_id)
            done = asked.next(20)
            assert isinstance(done, Done) and done.members["paired"] == device_id
        return profile

    def unlike_known(self) -> Profile:
        """Return a phone that was never paired here."""
        return Profile(self.host, self.port, "stranger", Secret(secrets.token_bytes(32)), self.public)

    @property
    def public(self) -> bytes:
        return self._public

    def remember(self, profile: Profile) -> Profile:
        self._public = profile.public
        return profile


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Owned, Profile, Profile]]:
    with Owned(tmp_path / "d") as daemon:
        yield daemon, daemon.remember(daemon.add("anna")), daemon.add("berta")


def told(reply: Reply) -> tuple[Outcome, str, str]:
    """All of a reply that may not differ: not the time and the number of the request."""
    return reply.outcome, reply.stage, reply.msg


def inject(profile: Profile) -> Outcome:
    return say(profile, MessageType.INJECT, b"x").outcome


PASSED = Outcome.INTERNAL_ERROR  # both gates were open: only the display is missing


def test_what_is_allowed_to_one_phone_never_serves_the_other(two: tuple[Owned, Profile, Profile]) -> None:
    """Every mixture of who armed and who approved, from the phone or from the computer."""
    daemon, anna, berta = two
    phones = {"anna": anna, "berta": berta}

    def open_gate(kind: MessageType, who: str, from_phone: bool) -> None:
        if from_phone:
            assert say(phones[who], kind).outcome is Outcome.OK
        else:
            daemon.ask(kind.name.lower(), device=who)

    for armed, approved, from_phone in itertools.product(phones, phones, (True, False)):
        daemon.ask("disarm")
        open_gate(MessageType.ARM, armed, from_phone)
        open_gate(MessageType.APPROVE, approved, from_phone)
        now = daemon.ask("status")
        assert [row["device"] for row in now["armed"]] == [armed]
        assert [row["device"] for row in now["approved"]] == [approved]
        for who, profile in phones.items():
            expected = PASSED if who == approved else Outcome.NEEDS_APPROVE
            assert inject(profile) is (expected if who == armed else Outcome.NOT_ARMED), (
                armed,
                approved,
                who,
            )


def test_the_owner_closes_what_phones_opened(two: tuple[Owned, Profile, Profile]) -> None:
    daemon, anna, berta = two
    for profile in (anna, berta):
        for kind in (MessageType.ARM, MessageType.APPROVE):
            say(profile, kind)
    assert daemon.ask("deny") == {"denied": ["anna", "berta"]}
    assert (inject(anna), inject(berta)) == (Outcome.NEEDS_APPROVE, Outcome.NEEDS_APPROVE)
    assert daemon.ask("disarm") == {"disarmed": ["anna", "berta"]}
    assert (inject(anna), inject(berta)) == (Outcome.NOT_ARMED, Outcome.NOT_ARMED)
    assert daemon.ask("disarm") == {"disarmed": []}
    for op in ("arm", "approve"):
        with pytest.raises(
            NovaKeyError, match=f"novakey.py {op} -- DEVICE, where DEVICE is one of: anna, berta$"
        ):
            daemon.ask(op)


def test_arming_from_here_is_for_as_long_as_asked_and_at_most_as_allowed(tmp_path: Path) -> None:
    with Owned(tmp_path / "d", arm_max_ms=30_000, two_man_enabled=False) as daemon:
        daemon.add("anna")
        now = time.time()
        assert daemon.ask("arm")["ms"] == 20_000
        answer = daemon.ask("arm", device="anna", ms=99_999)
        assert answer["armed"] == "anna" and answer["ms"] == 30_000
        assert 29 < answer["until_unix"] - now < 45
        with pytest.raises(NovaKeyError, match="more than 0"):
            daemon.ask("arm", ms=0)
        with pytest.raises(NovaKeyError, match="two-man approval is off"):
            daemon.ask("approve")
        daemon.add("berta")
        daemon.ask("rename", device="berta", name="Berta's phone")
        with pytest.raises(NovaKeyError) as several:
            daemon.ask("arm")
        assert several.value.problem == "more than one phone is paired"
        names = ["anna", shlex.quote("Berta's phone")]
        told = f"name one: novakey.py arm -- DEVICE, where DEVICE is one of: {', '.join(names)}"
        assert several.value.cure == told
        with pytest.raises(NovaKeyError, match='no device is called "\\\\u202eanna"'):
            daemon.ask("arm", device="\u202eanna")


def test_a_name_by_which_the_owner_could_mean_another_phone_is_refused(
    two: tuple[Owned, Profile, Profile],
) -> None:
    daemon, _, _ = two
    daemon.ask("rename", device="ANNA", name="desk")
    for device, name in (
        ("anna", "Berta"),
        ("anna", "b\u0435rta"),
        ("berta", "DE\uff33K"),
        ("berta", "\u0430nna"),
    ):
        with pytest.raises(NovaKeyError, match="another device could be meant by"):
            daemon.ask("rename", device=device, name=name)
    with pytest.raises(NovaKeyError, match="does not begin with id:"):
        daemon.ask("rename", device="berta", name="id:anna")
    assert [row["name"] for row in daemon.ask("devices")["devices"]] == ["desk", ""]


# ---- revoking ----


def frame(profile: Profile, kind: MessageType = MessageType.ARM) -> bytes:
    opened = Message(int(time.time()), kind, profile.device_id.encode(), Secret(b""))
    return message.seal(opened, profile.public, profile.device_key.reveal(), secrets.token_bytes(24))


def test_a_revoked_phone_gets_what_an_unknown_one_gets_also_on_an_open_connection(
    two: tuple[Owned, Profile, Profile],
) -> None:
    daemon, anna, berta = two
    stranger = told(say(daemon.unlike_known(), MessageType.ARM))
    assert stranger[:2] == (Outcome.CRYPTO_FAIL, "msg")
    say(anna, MessageType.ARM)
    bytes_ = preface.Route.MSG.value + frame(anna)
    cuts = (0, 5, len(preface.Route.MSG.value) + 1, 600, len(bytes_) - 1)
    open_ones: list[tuple[socket.socket, bytes]] = []
    for cut in cuts:
        sock = daemon.connect()
        sock.sendall(bytes_[:cut])
        open_ones.append((sock, bytes_[cut:]))
    answer = daemon.ask("revoke", device="anna")
    assert answer == {"revoked": "anna", "name": "", "devices": 1}
    for sock, rest in open_ones:
        with sock:
            sock.sendall(rest)
            assert told(decode_reply(sock.makefile("rb").readline())) == stranger
    assert told(say(anna, MessageType.INJECT, b"x")) == stranger
    assert daemon.ask("status")["armed"] == [], "its arming went with it"
    assert say(berta, MessageType.ARM).outcome is Outcome.OK


def test_revoking_is_durable_and_of_the_last_one_opens_nothing(two: tuple[Owned, Profile, Profile]) -> None:
    daemon, anna, berta = two
    daemon.ask("revoke", device="anna")
    daemon.kill()
    with Owned(daemon.folder) as again:
        assert say(again.at(anna), MessageType.ARM).outcome is Outcome.CRYPTO_FAIL
        assert say(again.at(berta), MessageType.ARM).outcome is not Outcome.CRYPTO_FAIL
        again.ask("revoke", device="berta")
        now = again.ask("status")
        assert (now["pairing"], now["devices"], now["window"]) == ("unpaired", 0, None)
        assert not (daemon.folder / "novakey-pair.png").exists()
        unknown = told(
            say(Profile(again.host, again.port, "x", anna.device_key, anna.public), MessageType.ARM)
        )
        assert unknown[0] is Outcome.NOT_PAIRED
        assert told(say(again.at(berta), MessageType.ARM)) == unknown
        assert again.add("anna").device_id == "anna", "the owner may open a window, and pair the same phone"


class Waiting:
    """A handler of two phones, anna and berta, over a store of its own."""

    def __init__(self, folder: Path, choose: Callable[[], Backend], **settings: Any) -> None:
        self.server = crypto.ExpandedKey.generate()
        self.phones = {name: Device(name, Secret(secrets.token_bytes(32))) for name in ("anna", "berta")}
        self.store = DeviceStore(folder / "devices.json", Secret(bytes(32)), self.phones, None)
        self.permissions = Permissions()
        chosen = Settings(two_man_enabled=False, **settings)
        self.confirmed = gevent.event.Event()
        self.requests = SecretRequests(self.permissions, lambda request: self.confirmed.wait(20))
        injector = Injector(
            chosen,
            self.store,
            Output(chosen, choose),
            self.permissions,
            Approvals(chosen, self.permissions),
            self.requests,
        )
        self.handler = Handler(chosen, self.store, self.server, injector, ReplayGuard())

    def sends(self, device: Device) -> gevent.Greenlet:
        """Deliver the device's secret."""
        opened = Message(int(time.time()), MessageType.INJECT, device.id.encode(), Secret(b"x"))
        frame = message.seal(opened, self.server.public, device.key.reveal(), secrets.token_bytes(24))
        payload = frame[message.LENGTH_SIZE :]
        sent = gevent.spawn(self.handler.answer, payload, "192.0.2.1", 1)
        gevent.sleep(0.05)
        return sent

    def stranger(self) -> Reply:
        return self.sends(Device("x", Secret(bytes(32)))).get(timeout=10)


def test_a_message_that_waits_for_its_turn_is_not_delivered_for_a_revoked_phone(
    tmp_path: Path,
) -> None:
    """Also where no gate would stop it, and its reply is a stranger's."""
    delivering, go_on = gevent.event.Event(), gevent.event.Event()
    deliveries = []

    def choose() -> Backend:
        deliveries.append(1)
        delivering.set()
        go_on.wait()
        raise NoDisplayError("no display in this test")

    scene = Waiting(tmp_path, choose, allow_clipboard_when_disarmed=True)
    first = scene.sends(scene.phones["anna"])
    assert delivering.wait(10)
    second = scene.sends(scene.phones["berta"])
    scene.store.remove(scene.phones["berta"])
    go_on.set()
    assert first.get(timeout=10).outcome is Outcome.INTERNAL_ERROR
    assert told(second.get(timeout=10)) == told(scene.stranger())
    assert len(deliveries) == 1


def test_a_secret_that_waits_for_its_owners_word_is_not_given_for_a_revoked_phone(
    tmp_path: Path,
) -> None:
    def choose() -> Backend:
        raise NoDisplayError("no display in this test")

    scene = Waiting(tmp_path, choose)
    request = scene.requests.begin("ssh-add", 1, "passphrase")
    waiting = scene.sends(scene.phones["berta"])
    assert not waiting.ready()
    scene.store.remove(scene.phones["berta"])
    scene.confirmed.set()
    assert told(waiting.get(timeout=10)) == told(scene.stranger())
    assert not request.given.is_set() and request.secret is None
    scene.requests.end(request)


def test_revoking_takes_back_what_its_owner_is_asked_for_it(tmp_path: Path) -> None:
    answer = gevent.event.AsyncResult()  # type: ignore[var-annotated]
    permissions = Permissions()
    settings = Settings(two_man_approver="computer")
    approvals = Approvals(settings, permissions, show=lambda request, seconds: answer.get())
    approvals.request("anna", Exchange(10.0))
    assert [question.device_id for question in approvals.waiting()] == ["anna"]
    approvals.forget("anna")
    assert approvals.waiting() == []
    gevent.sleep(0)
    answer.set(ALLOW)
    gevent.sleep(0.05)
    assert permissions.approved(time.monotonic() * 1000) == {}, "an answer that comes later opens nothing"


def test_a_phone_revoked_in_the_minute_of_its_pairing_cannot_repeat_it(tmp_path: Path) -> None:
    with Owned(tmp_path / "d") as daemon:
        text = daemon.uri()
        daemon.add("anna")
        daemon.ask("revoke", device="anna")
        with pytest.raises(NovaKeyError, match="not_pairing"):
            phone.pair_with(text, "anna")


# ---- windows ----


def why_no_window(daemon: Daemon, add: bool = False) -> str:
    paths = Paths.under(daemon.folder)
    with client.request(paths, "pair", add=add) as asked, pytest.raises(NovaKeyError) as refused:
        asked.next(20)
    return str(refused.value)


def test_only_add_opens_a_window_beside_devices_and_it_is_as_strict_as_any(tmp_path: Path) -> None:
    with Owned(tmp_path / "d", pair_max_attempts=2, pair_max_windows=1) as daemon:
        daemon.add("anna")
        paths = Paths.under(daemon.folder)
        assert why_no_window(daemon) == "a phone is paired already\nto add another: novakey.py pair --add"
        assert not (daemon.folder / "novakey-pair.png").exists()
        with client.request(paths, "pair", add=True) as asked, client.request(paths, "pair") as beside:
            window = asked.next(20)
            assert isinstance(window, Event) and window == beside.next(20), "one window, two who look"
            token = uri.decode(window.members["uri"]).token
            dropped(daemon, token, 1)
            assert asked.next(20) == beside.next(20) == Event("attempt", {"attempts_left": 1})
            dropped(daemon, token, 1)
            for waiting in (asked, beside):
                with pytest.raises(NovaKeyError, match="too many handshakes failed\nonly a full reset"):
                    waiting.next(20)
        for add in (False, True):  # the first interrupted window was one too many here
            assert "pairing is locked: 1 pairing windows were interrupted" in why_no_window(daemon, add)
        assert daemon.ask("status")["pairing"] == "locked"


def test_a_window_whose_picture_cannot_be_written_is_none(tmp_path: Path) -> None:
    with Owned(tmp_path / "d") as daemon:
        daemon.add("anna")
        (daemon.folder / "novakey-pair.png").mkdir()
        assert "novakey-pair.png cannot be written" in why_no_window(daemon, add=True)
        assert daemon.ask("status")["pairing"] == "paired"
        (daemon.folder / "novakey-pair.png").rmdir()
        assert daemon.add("berta").device_id == "berta"


def test_a_window_ends_in_time_and_its_watchers_are_told(tmp_path: Path) -> None:
    with Owned(tmp_path / "d", pair_window_s=2) as daemon:
        with client.request(Paths.under(daemon.folder), "pair") as asked:
            assert isinstance(asked.next(20), Event)
            with pytest.raises(
                NovaKeyError, match=r"no phone paired in time\nto open another: novakey\.py pair"
            ):
                asked.next(20)
        assert not (daemon.folder / "novakey-pair.png").exists()
        assert daemon.ask("status")["pairing"] == "unpaired"


# ---- names and figures ----


def test_a_device_is_called_by_id_or_by_the_name_that_its_owner_gave(
    two: tuple[Owned, Profile, Profile],
) -> None:
    daemon, _, _ = two
    assert daemon.ask("rename", device="anna", name="Anna's phone") == {
        "device": "anna",
        "name": "Anna's phone",
    }
    assert daemon.ask("arm", device="Anna's phone")["armed"] == "anna"
    for name, why in (
        ("berta", "another device could be meant by"),
        ("a\nb", "printable"),
        (" a", "printable"),
        ("a" * 65, "printable"),
        ("\u202ea", "printable"),
    ):
        with pytest.raises(NovaKeyError, match=why):
            daemon.ask("rename", device="anna", name=name)
    daemon.stop()
    with Owned(daemon.folder) as again:
        assert [row["name"] for row in again.ask("devices")["devices"]] == ["Anna's phone", ""]
        assert again.ask("rename", device="Anna's phone", name="")["name"] == ""
        with pytest.raises(NovaKeyError, match="no device is called"):
            again.ask("arm", device="")


def test_the_time_of_the_last_message_is_kept_without_a_write_for_each(
    two: tuple[Owned, Profile, Profile],
) -> None:
    daemon, anna, berta = two
    began = int(time.time())
    for _ in range(3):
        say(anna, MessageType.ARM)
    say(berta, MessageType.ARM, timestamp=began - 1000)  # authenticated, but not accepted
    rows = {row["id"]: row for row in daemon.ask("devices")["devices"]}
    assert (rows["anna"]["messages"], rows["anna"]["delivered"]) == (3, 0)
    assert began <= rows["anna"]["last_seen_unix"] <= time.time()
    assert (rows["berta"]["messages"], rows["berta"]["last_seen_unix"]) == (0, 0)
    assert began - 60 <= rows["anna"]["paired_unix"] <= time.time()
    assert rows["anna"]["paired_from"] == "127.0.0.1"
    written = daemon.folder / "activity.json"
    assert not written.exists()
    daemon.stop()
    assert b"anna" not in written.read_bytes(), "sealed"
    with Owned(daemon.folder) as again:
        assert {row["id"]: row for row in again.ask("devices")["devices"]} == rows
        again.ask("revoke", device="anna")
    with Owned(daemon.folder) as again:
        assert [row["id"] for row in again.ask("devices")["devices"]] == ["berta"]


@pytest.mark.parametrize(
    "spoiled", [b"", b"{}", b"x", b'{"v":1,"alg":"xchacha20poly1305","nonce_b64":"","ct_b64":""}']
)
def test_figures_that_cannot_be_read_stop_nothing(tmp_path: Path, spoiled: bytes) -> None:
    path = tmp_path / "activity.json"
    path.write_bytes(spoiled)
    path.chmod(0o600)
    activity = Activity(path, Secret(bytes(32)), {"a"})
    assert activity.get("a").messages == 0
    activity.count("a", 5, delivered=True)
    activity.save()
    again = Activity(path, Secret(bytes(32)), {"a"})
    assert (again.get("a").last_seen, again.get("a").messages, again.get("a").delivered) == (5, 1, 1)
    assert Activity(path, Secret(bytes(32)), {"b"}).get("a").messages == 0, (
        "a device that is gone is forgotten"
    )


def test_the_last_outcomes_have_no_contents_and_strangers_push_none_out(
    two: tuple[Owned, Profile, Profile],
) -> None:
    daemon, anna, _ = two
    say(anna, MessageType.INJECT, b"correct horse")
    for _ in range(12):
        say(daemon.unlike_known(), MessageType.ARM)
    now = daemon.ask("status")
    rows = [(row["device"], row["stage"], row["reason"]) for row in now["outcomes"]]
    assert rows[0] == ("anna", "inject", "not_armed")
    assert rows[1:] == [(None, "msg", "crypto_fail")] * 3
    assert "horse" not in json.dumps(now)


def test_the_log_is_followed_from_its_last_lines_on_and_always_redacted(
    tmp_path: Path,
) -> None:
    with Owned(tmp_path / "d", log_redact=False) as daemon:
        anna = daemon.add("anna")
        with client.request(Paths.under(daemon.folder), "log", lines=2) as asked:
            first = [asked.next(20) for _ in range(2)]
            assert all(isinstance(line, Event) for line in first)
            say(anna, MessageType.ARM)
            line = asked.next(20)
            assert isinstance(line, Event) and "arm ok: armed_for_ms=20000" in line.members["text"]
            key = "0123456789abcdef" * 4
            daemon.ask("rename", device="anna", name=key)
            line = asked.next(20)
            assert isinstance(line, Event) and "renamed" in line.members["text"]
            assert key not in line.members["text"] and "[redacted]" in line.members["text"]
        assert key in daemon.log()
        with client.request(Paths.under(daemon.folder), "log", lines=1, follow=False) as asked:
            line = asked.next(20)
            assert isinstance(line, Event) and key not in line.members["text"]
            assert asked.next(20) == Done()


def test_who_follows_the_log_sees_what_the_file_says_also_of_a_flood(tmp_path: Path) -> None:
    with Owned(tmp_path / "d") as daemon:
        daemon.remember(daemon.add("anna"))
        seen = []
        with client.request(Paths.under(daemon.folder), "log", lines=1) as asked:
            for _ in range(20):
                say(daemon.unlike_known(), MessageType.ARM)
            daemon.ask("rename", device="anna", name="the end")
            while not (seen and "the end" in seen[-1]):
                line = asked.next(20)
                assert isinstance(line, Event)
                seen.append(line.members["text"])
        written = (daemon.folder / "logs" / "novakey.log").read_text().splitlines()
        since = written[written.index(seen[0]) :]
        # The line that counts a flood after its end is written when nothing else is: to the file alone.
        assert [line for line in since if "more like it" not in line or line in seen] == seen


def test_without_a_daemon_the_commands_say_so(tmp_path: Path) -> None:
    with pytest.raises(NoDaemonError, match=r"no daemon runs\nstart it: novakey\.py serve"):
        client.ask(Paths.under(tmp_path), "devices")
    with (
        FolderLock(tmp_path),
        pytest.raises(NoDaemonError, match=f"process {os.getpid()} uses .*, but it does not"),
    ):
        client.ask(Paths.under(tmp_path), "devices")
