"""A phone pairs again, as phones do: with the id that it keeps for good and a new key at every try."""

from __future__ import annotations

import json
import secrets
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.daemon import Daemon, random_key, run, say
from support.pairing import begin, hello, register

from novakey import phone
from novakey.control import client
from novakey.devices import store
from novakey.phone import Profile
from novakey.secret import Secret
from novakey.system.paths import Paths
from novakey.wire import pair, uri
from novakey.wire.control import Event
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

ANNA = "ios-0A1B2C3D"


class Scanned(Daemon):
    """A daemon whose owner opens a window for each scan."""

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        return client.ask(Paths.under(self.folder), op, **arguments)

    def window(self) -> str:
        with client.request(Paths.under(self.folder), "pair", add=True) as asked:
            event = asked.next(20)
            assert isinstance(event, Event)
            return str(event.members["uri"])

    def scan(self, device_id: str = ANNA) -> Profile:
        return phone.pair_with(self.window(), device_id)

    def refused(self, token: Secret, device_id: str, source: str = "127.0.0.1") -> None:
        """Return a whole, genuine register that gets no acknowledgement."""
        sock, public = begin(self, token, source)
        assert register(sock, public, token, pair.Registration(device_id, random_key())) == b""

    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.ask("devices")["devices"]
        return rows


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Scanned]:
    with Scanned(tmp_path / "d") as running:
        yield running


def works(profile: Profile) -> bool:
    return say(profile, MessageType.ARM).outcome is Outcome.OK


def audit(daemon: Daemon) -> list[dict[str, Any]]:
    lines = (daemon.folder / "logs" / "audit-events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_its_new_key_replaces_the_old_one_its_name_stays_and_the_owner_is_told(daemon: Scanned) -> None:
    old = daemon.scan()
    daemon.ask("rename", device=ANNA, name="anna")
    with client.request(Paths.under(daemon.folder), "pair", add=True) as asked:
        window = asked.next(20)
        assert isinstance(window, Event)
        new = phone.pair_with(window.members["uri"], ANNA)
        assert asked.next(20).members | {"others": []} == {  # type: ignore[union-attr]
            "paired": ANNA,
            "from": "127.0.0.1",
            "again": True,
            "others": [],
        }
    assert works(new) and not works(old)
    assert [(row["id"], row["name"]) for row in daemon.rows()] == [(ANNA, "anna")]
    daemon.wait_for_log(f'paired again: "{ANNA}" from 127.0.0.1, with a new key. if that was not you: ')
    assert [entry.get("event") for entry in audit(daemon)].count("paired again") == 1
    assert daemon.ask("status")["pairing"] == "paired"


def test_what_was_open_for_the_old_key_is_shut_for_the_new_one(daemon: Scanned) -> None:
    daemon.scan()
    daemon.ask("arm", ms=60_000)
    daemon.ask("approve")
    assert daemon.ask("status")["armed"] and daemon.ask("status")["approved"]
    new = daemon.scan()
    assert (daemon.ask("status")["armed"], daemon.ask("status")["approved"]) == ([], [])
    assert say(new, MessageType.INJECT, b"x").outcome is Outcome.NOT_ARMED
    assert works(new)
    assert say(new, MessageType.INJECT, b"x").outcome is Outcome.NEEDS_APPROVE


def test_fifteen_scans_in_a_row_lock_nothing_and_leave_one_device(tmp_path: Path) -> None:
    with Scanned(tmp_path / "d", pair_hello_max_per_min=1000) as daemon:
        for _ in range(15):
            last = daemon.scan()
        assert works(last)
        assert [row["id"] for row in daemon.rows()] == [ANNA]
        assert daemon.ask("status")["pairing"] == "paired"


def test_fifteen_refused_scans_cost_no_attempt_and_both_people_are_told_why(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"pair_hello_max_per_min": 1000, "rotate_device_psk_on_repair": False}
    with Scanned(tmp_path / "d", **settings) as daemon:
        old = daemon.scan()
        token = uri.decode(daemon.window()).token
        for _ in range(15):
            daemon.refused(token, ANNA)
            answer = hello(daemon, token)
            assert answer["reason"] == "known_device" and "revoke" in answer["msg"]
        window = daemon.ask("status")["window"]
        assert window["attempts_left"] == 3
        assert f"devices revoke -- id:{ANNA}" in window["refused"]
        shown = run("--data-dir", daemon.folder, "status").stdout
        assert f'a phone cannot pair: "{ANNA}" is paired already' in shown
        assert works(old)
        assert json.loads((daemon.folder / "pairing.json").read_text())["interrupted"] == 0
        # The owner follows the hint, and the next scan of the same QR pairs.
        daemon.refused(token, ANNA)
        daemon.ask("revoke", device=f"id:{ANNA}")
        sock, public = begin(daemon, token)
        assert register(sock, public, token, pair.Registration(ANNA, random_key()))


def test_the_reason_is_for_the_address_that_was_refused_and_for_who_has_the_token(tmp_path: Path) -> None:
    with Scanned(tmp_path / "d", rotate_device_psk_on_repair=False) as daemon:
        daemon.scan()
        token = uri.decode(daemon.window()).token
        daemon.refused(token, ANNA, "127.0.0.8")
        assert hello(daemon, Secret(bytes(16)), "127.0.0.8")["reason"] == "bad_token"
        sock, _ = begin(daemon, token, "127.0.0.9")
        sock.close()
        daemon.wait_for_log("from 127.0.0.9: pair failed")
        assert hello(daemon, token, "127.0.0.8")["reason"] == "known_device"


@pytest.mark.parametrize(
    "device_id",
    [
        "$(id>/tmp/x)",
        "--json",
        ".hidden",
        "a\u00a0b",
        "a\u1160b",
        "\uff41",
        "a\nb",
        "a\u202eb",
        "x" * 65,
    ],
)
def test_an_id_that_may_not_be_paired_is_refused_with_the_rule(bad_ids: Scanned, device_id: str) -> None:
    token = uri.decode(bad_ids.window()).token
    bad_ids.refused(token, device_id)
    answer = hello(bad_ids, token)
    assert answer["reason"] == "bad_device_id" and "1 to 64 letters" in answer["msg"]
    assert bad_ids.ask("status")["window"]["attempts_left"] == 3
    assert bad_ids.rows() == []


@pytest.fixture(scope="module")
def bad_ids(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scanned]:
    with Scanned(tmp_path_factory.mktemp("ids") / "d", pair_hello_max_per_min=1000) as running:
        yield running


def test_an_id_that_could_be_mistaken_for_another_phone_is_refused(daemon: Scanned) -> None:
    daemon.scan()
    daemon.ask("rename", device=ANNA, name="anna")
    token = uri.decode(daemon.window()).token
    for taken in ("Anna", "\u0430nna", ANNA.lower()):
        daemon.refused(token, taken)
        assert hello(daemon, token)["reason"] == "name_taken"
    daemon.wait_for_log('"Anna" could be mistaken for "anna"')
    assert [row["id"] for row in daemon.rows()] == [ANNA]
    assert daemon.ask("status")["window"]["attempts_left"] == 3


def test_a_command_that_can_mean_two_phones_refuses_and_lists_them(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    with Scanned(folder) as daemon:
        daemon.scan("anna")
    key = Secret((folder / "sealing.key").read_bytes())
    path = folder / "devices.json"
    kept = store.unseal(path.read_bytes(), path, key)
    twin = store.Device("Anna", random_key())  # an old store did not compare so
    kept.replace_all({"anna": next(iter(kept)), "Anna": twin}, kept.server_fingerprint)
    with Scanned(folder) as daemon:
        for command in (("devices", "revoke"), ("devices", "rename"), ("arm",), ("approve",)):
            words = [*command, "ANNA", *(["x"] if "rename" in command else [])]
            done = run("--data-dir", folder, *words)
            assert done.returncode == 1 and "can mean more than one phone" in done.stderr
            assert "is one of: id:anna, id:Anna" in done.stderr
        assert run("--data-dir", folder, "devices", "revoke", "--", "id:Anna").returncode == 0
        assert [row["id"] for row in daemon.rows()] == ["anna"]


def test_a_lost_acknowledgement_leaves_a_device_that_the_next_qr_gives_a_working_key(daemon: Scanned) -> None:
    token = uri.decode(daemon.window()).token
    sock, public = begin(daemon, token)
    frame, _, _ = pair.seal_registration(
        pair.Registration(ANNA, random_key()), public, token, secrets.token_bytes(24)
    )
    sock.sendall(frame)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    daemon.wait_for_log(f'paired: "{ANNA}"')
    # The app's next try has a new key, so the same QR is worth nothing to it.
    daemon.refused(token, ANNA)
    again = daemon.scan()
    assert works(again)
    assert [row["id"] for row in daemon.rows()] == [ANNA]


def test_a_phone_at_another_address_or_by_a_second_listener_is_the_same_device(daemon: Scanned) -> None:
    daemon.scan()
    token = uri.decode(daemon.window()).token
    sock, public = begin(daemon, token, "127.0.0.7")
    assert register(sock, public, token, pair.Registration(ANNA, random_key()))
    (row,) = daemon.rows()
    assert (row["id"], row["paired_from"]) == (ANNA, "127.0.0.7")
    daemon.wait_for_log(f'paired again: "{ANNA}" from 127.0.0.7')


def test_a_reinstalled_app_leaves_an_orphan_that_the_owner_may_revoke(
    daemon: Scanned,
) -> None:
    assert works(daemon.scan())
    command = f"novakey.py devices revoke -- {ANNA}"
    # The seconds of the two pairings must differ.
    deadline = int(time.time())
    while int(time.time()) == deadline:
        time.sleep(0.02)
    new = daemon.scan("ios-0A1B2C3E")
    shown = run("--data-dir", daemon.folder, "devices", "list").stdout
    assert f"not heard since a newer phone was paired. to forget it: {command}" in shown
    assert shown.count("not heard since") == 1
    assert works(new)
    assert run("--data-dir", daemon.folder, *command.split()[1:]).returncode == 0
    assert [row["id"] for row in daemon.rows()] == ["ios-0A1B2C3E"]


def test_an_id_of_another_persons_phone_is_told_as_paired_again(
    daemon: Scanned,
) -> None:
    """Nothing tells the two apart. The owner's phone stops working, and they have read who did it."""
    mine = daemon.scan()
    theirs = daemon.scan()
    assert works(theirs) and not works(mine)
    daemon.wait_for_log("if that was not you: novakey.py devices revoke -- " + ANNA)
