"""Pairing over real sockets: the handshake, the window, and every refusal."""

from __future__ import annotations

import json
import secrets
import socket
import stat
import struct
import time
from pathlib import Path

import gevent
import pytest
from support import phone_app
from support.daemon import Daemon, ask, random_key, run, say
from support.pairing import PAIR, begin, hello, register

from novakey import phone as phones
from novakey.errors import NovaKeyError
from novakey.secret import Secret
from novakey.wire import crypto, pair, uri
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome


def test_the_qr_has_every_member_and_a_picture_only_its_owner_can_read(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d", pair_window_s=600) as daemon:
        text = daemon.uri()
        parsed = uri.decode(text)
        assert text.startswith("novakey://pair?v=3&host=127.0.0.1&port=")
        assert parsed.port == daemon.port
        assert 500 < parsed.expires - time.time() <= 600
        assert stat.S_IMODE((daemon.folder / "novakey-pair.png").stat().st_mode) == 0o600


class Reference:
    """The reference phone."""

    device_id = "phone-1"

    def __init__(self, daemon: Daemon) -> None:
        self._profile = phones.pair_with(daemon.uri(), self.device_id)

    def arms(self) -> bool:
        return say(self._profile, MessageType.ARM).outcome is Outcome.OK


class App:
    """The double of the app."""

    def __init__(self, daemon: Daemon) -> None:
        self._app = phone_app.paired(daemon)
        self.device_id = self._app.device_id

    def arms(self) -> bool:
        return self._app.arm().ok


@pytest.mark.parametrize("kind", [Reference, App])
def test_success_closes_the_window_and_nothing_knows_the_token(
    tmp_path: Path, kind: type[Reference | App]
) -> None:
    with Daemon(tmp_path / "d") as daemon:
        token = uri.decode(daemon.uri()).token
        assert uri.encode_token(token) not in daemon.log()
        phone = kind(daemon)
        assert not (daemon.folder / "novakey-pair.png").exists()
        assert phone.arms()
        assert hello(daemon, token)["reason"] == "not_pairing"
        daemon.wait_for_log(f'paired: "{phone.device_id}" from 127.0.0.1')
    found = [daemon.output, *[path for path in daemon.folder.rglob("*") if path.is_file()]]
    for secret in (token.reveal(), uri.encode_token(token).encode(), token.reveal().hex().encode()):
        assert not [path.name for path in found if secret in path.read_bytes()]


@pytest.mark.parametrize("kind", [Reference, App])
def test_paired_devices_survive_a_restart_and_no_new_window_opens(
    tmp_path: Path, kind: type[Reference | App]
) -> None:
    with Daemon(tmp_path / "d") as daemon:
        phone = kind(daemon)
    with Daemon(tmp_path / "d", listen_addr=f"127.0.0.1:{daemon.port}") as daemon:
        assert phone.arms()
        assert not (daemon.folder / "novakey-pair.png").exists()


def test_a_phone_that_leaves_id_and_key_to_the_server_gets_both_back(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        token = uri.decode(daemon.uri()).token
        sock, public = begin(daemon, token)
        stored = pair.decode_registration(register(sock, public, token, pair.Registration(None, None)))
        assert stored.device_id is not None and stored.device_key is not None
        assert stored.device_id.startswith("ios-") and len(stored.device_id) == 20
        profile = phones.Profile("127.0.0.1", daemon.port, stored.device_id, stored.device_key, public)
        assert say(profile, MessageType.ARM).outcome is Outcome.OK


def test_a_phone_that_does_not_close_its_sending_side_is_served(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        token = uri.decode(daemon.uri()).token
        sock, public = begin(daemon, token)
        started = time.monotonic()
        assert b"phone-9" in register(sock, public, token, pair.Registration("phone-9", random_key()))
        assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"{}\n",
        b"null\n",
        b'{"op":"hello","v":1}\n',
        b'{"op":"hello","v":2,"token":"AAECAwQFBgcICQoLDA0ODw"}\n',
        b'{"op":"hello","v":true,"token":"AAECAwQFBgcICQoLDA0ODw"}\n',
        b'{"op":"hello","v":1,"token":"AAECAwQFBgcICQoLDA0ODw=="}\n',
        b'{"op":"hello","v":1,"token":"AAECAwQFBgcICQoLDA0ODx"}\n',
        b'{"op":"hello","v":1,"token":"short"}\n',
        b'{"op":"hello","v":1,"token":7}\n',
        b'{"op":"hello","op":"hello","v":1,"token":"AAECAwQFBgcICQoLDA0ODw"}\n',
        b"\xff\xfe\n",
        b"[" * 900 + b"\n",
        b"x" * 1025,
    ],
)
def test_a_malformed_hello_gets_one_line_and_leaves_the_window(shared: Daemon, line: bytes) -> None:
    answer = ask(shared.connect(), PAIR + line)
    assert answer.count(b"\n") == 1
    assert json.loads(answer)["reason"] == "bad_request"
    assert shared.picture().exists()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    with Daemon(
        tmp_path_factory.mktemp("pairing") / "d", pair_hello_max_per_min=1000, pair_max_attempts=100
    ) as running:
        yield running


def test_a_wrong_token_is_told_so_and_unknown_members_are_ignored(shared: Daemon) -> None:
    answer = hello(shared, Secret(secrets.token_bytes(16)))
    assert (answer["op"], answer["v"], answer["reason"]) == ("error", 1, "bad_token")
    token = uri.encode_token(uri.decode(shared.uri()).token)
    line = json.dumps({"op": "hello", "v": 1, "token": token, "fp": "x", "more": [1]}).encode() + b"\n"
    server_key = hello(shared, line)
    assert server_key["op"] == "server_key" and server_key["kid"] == "1"
    assert isinstance(server_key["expires_unix"], int)
    assert 0 < server_key["expires_unix"] - time.time() <= 25


@pytest.mark.parametrize(
    "first", [b"NOVAK/1 /msg \n", b"GET / HTTP/1.1\r\n", b"\n", b"NOVAK/1 /PAIR\n", b"x" * 100]
)
def test_another_first_line_is_closed_unanswered(shared: Daemon, first: bytes) -> None:
    assert ask(shared.connect(), first) == b""


def test_a_second_phone_at_the_same_time_is_told_busy(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        token = uri.decode(daemon.uri()).token
        sock, public = begin(daemon, token)
        assert hello(daemon, token)["reason"] == "busy"
        assert b"phone-1" in register(sock, public, token, pair.Registration("phone-1", random_key()))


@pytest.mark.parametrize(
    "plaintext",
    [
        b"",
        b"{}",
        b'{"op":"register","v":2}',
        b'{"op":"register","v":1,"device_id":"\\ud800"}',
        b'{"op":"register","v":1,"device_id":"a","device_key_hex":"00"}',
        b'{"op":"register","v":1,"device_id":"a","device_key_hex":"' + b"zz" * 32 + b'"}',
    ],
)
def test_a_bad_register_is_closed_unanswered_and_stores_nothing(shared: Daemon, plaintext: bytes) -> None:
    token = uri.decode(shared.uri()).token
    sock, public = begin(shared, token)
    ciphertext, shared_secret = crypto.encapsulate(public)
    nonce = secrets.token_bytes(24)
    key = crypto.pairing_key(shared_secret, token.reveal())
    sealed = crypto.seal(key, nonce, plaintext, pair.associated(ciphertext, nonce))
    assert ask(sock, b"\x04\x40" + ciphertext + nonce + sealed) == b""
    assert not (shared.folder / "devices.json").exists()
    assert hello(shared, Secret(bytes(16)))["reason"] == "bad_token", "the window is given back"


def test_an_id_may_hold_spaces_and_the_marks_of_names(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        assert daemon.pair("Anna's iPhone (2) J.R_a-b@home").device_id == "Anna's iPhone (2) J.R_a-b@home"
        line = """devices revoke -- 'Anna'"'"'s iPhone (2) J.R_a-b@home'"""
        daemon.wait_for_log(line)


def test_the_thirty_first_hello_of_an_address_is_limited(
    tmp_path: Path,
) -> None:
    with Daemon(tmp_path / "d") as daemon:
        wrong = Secret(secrets.token_bytes(16))
        reasons = [hello(daemon, wrong, "127.0.0.5")["reason"] for _ in range(31)]
        assert reasons == ["bad_token"] * 30 + ["rate_limit"]
        profile = phones.pair_with(daemon.uri())
        assert say(profile, MessageType.ARM).outcome is Outcome.OK


def test_the_same_registration_again_is_acknowledged_again_and_another_is_not(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        token = uri.decode(daemon.uri()).token
        registration = pair.Registration("phone-1", random_key())
        sock, public = begin(daemon, token)
        assert register(sock, public, token, registration)
        before = (daemon.folder / "devices.json").read_bytes()
        assert b"phone-1" in register(*begin(daemon, token), token, registration)
        for other in (
            pair.Registration("phone-1", random_key()),
            pair.Registration("phone-2", registration.device_key),
        ):
            assert register(*begin(daemon, token), token, other) == b""
        assert (daemon.folder / "devices.json").read_bytes() == before
        assert registration.device_key is not None
        profile = phones.Profile("127.0.0.1", daemon.port, "phone-1", registration.device_key, public)
        assert say(profile, MessageType.ARM).outcome is Outcome.OK
        assert hello(daemon, token)["reason"] == "not_pairing", "the first message ends the repeats"


def test_a_phone_that_its_owner_named_already_may_still_repeat_its_registration(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        token = uri.decode(daemon.uri()).token
        registration = pair.Registration("phone-1", random_key())
        assert register(*begin(daemon, token), token, registration)
        assert run("--data-dir", daemon.folder, "devices", "rename", "phone-1", "desk").returncode == 0
        assert b"phone-1" in register(*begin(daemon, token), token, registration)


def test_an_expired_window_takes_its_picture_away_and_refuses(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d", pair_window_s=2) as daemon:
        token = uri.decode(daemon.uri()).token
        daemon.wait_for_log("no phone paired in time")
        assert not (daemon.folder / "novakey-pair.png").exists()
        assert hello(daemon, token)["reason"] == "not_pairing"


def test_the_phone_refuses_a_server_with_another_key(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        parsed = uri.decode(daemon.uri())
        forged = uri.PairingUri(parsed.host, parsed.port, parsed.token, "0" * 32, parsed.expires)
        with pytest.raises(NovaKeyError, match="not the one in the QR"):
            phones.pair_with(forged.encode())
        assert not (daemon.folder / "devices.json").exists()


def test_a_phone_reset_before_the_acknowledgement_is_paired_once(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        token = uri.decode(daemon.uri()).token
        registration = pair.Registration("phone-1", random_key())
        sock, public = begin(daemon, token)
        frame, _, _ = pair.seal_registration(registration, public, token, secrets.token_bytes(24))
        sock.sendall(frame)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()  # a reset
        daemon.wait_for_log('paired: "phone-1"')
        assert b"phone-1" in register(*begin(daemon, token), token, registration)
        assert daemon.log().count('paired: "phone-1"') == 1
        assert registration.device_key is not None
        profile = phones.Profile("127.0.0.1", daemon.port, "phone-1", registration.device_key, public)
        assert say(profile, MessageType.ARM).outcome is Outcome.OK


def test_a_key_that_the_server_chose_is_given_away_once(tmp_path: Path) -> None:
    """A listener with the token could else ask for the key of the phone that just paired."""
    with Daemon(tmp_path / "d") as daemon:
        token = uri.decode(daemon.uri()).token
        open_choice = pair.Registration(None, None)
        assert register(*begin(daemon, token), token, open_choice)
        assert register(*begin(daemon, token), token, open_choice) == b""
        daemon.wait_for_log("a repeated registration without a key")


def test_of_many_phones_with_the_same_token_at_once_one_is_paired(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        text = daemon.uri()
        paired: list[phones.Profile] = []
        refused: list[str] = []

        def run(number: int) -> None:
            try:
                paired.append(phones.pair_with(text, f"phone-{number}"))
            except NovaKeyError as error:
                refused.append(error.problem)

        gevent.joinall([gevent.spawn(run, number) for number in range(8)], timeout=60)
        assert len(paired) == 1 and len(refused) == 7, (refused, daemon.log())
        for told in refused:
            assert "busy" in told or "not_pairing" in told or "closed the connection" in told, told
        assert say(paired[0], MessageType.ARM).outcome is Outcome.OK
        daemon.wait_for_log("revoke")  # the owner is told


def test_nothing_about_the_token_is_in_the_log_before_success_either(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d", log_redact=False) as daemon:
        token = uri.decode(daemon.uri()).token
        text = uri.encode_token(token)
        for line in (
            f'{{"op":"hello","v":1,"token":"{text}=="}}',
            f'{{"op":"hello","v":2,"token":"{text}"}}',
            f'{{"op":"{text}","v":1,"token":"{text}"}}',
            f"{text}",
            f'{{"token":"{text}"' + " " * 1100,
        ):
            assert hello(daemon, line.encode() + b"\n")["reason"] == "bad_request"
        begin(daemon, token)[0].close()
        daemon.wait_for_log("pair failed")
        logs = [daemon.output, *(daemon.folder / "logs").iterdir()]
        assert {log.name for log in logs} == {"d.out", "novakey.log", "audit.jsonl", "audit-events.jsonl"}
        for log in logs:
            for form in (text, token.reveal().hex(), "novakey://"):
                assert (form in log.read_text()) is False, f"{log.name} has the token"


def test_each_window_has_a_token_of_its_own(tmp_path: Path) -> None:
    tokens = []
    for _ in range(2):
        with Daemon(tmp_path / "d") as daemon:
            tokens.append(uri.decode(daemon.uri()).token)
    assert len(tokens[0]) == 16 and (tokens[0] == tokens[1]) is False
