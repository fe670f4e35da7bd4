"""The app in the field, as its double, against real daemons: each of its flows and each of its sentences."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest
from support import phone_app
from support.daemon import Daemon, read_all
from support.phone_app import (
    ACKNOWLEDGEMENT_S,
    BY_STATUS,
    PhoneApp,
    Screen,
    app,
    blob,
    one_more,
    paired,
    revoke,
    scanned,
    with_app,
)
from support.pull import Scene
from support.x11 import RecordingGtkEntry, XServer, wait_until

from novakey.control import client
from novakey.phone import Profile
from novakey.secret import Secret
from novakey.system.paths import Paths
from novakey.wire import crypto, pair
from novakey.wire.reply import Outcome, Reply

NAME = "desk"
NOT_ARMED = BY_STATUS[1]


@pytest.fixture(scope="module")
def screen() -> Iterator[XServer]:
    with XServer() as server:
        yield server


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path / "d") as running:
        yield running


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Return a port whose connections are served one after another by a function of the test."""

    def accept() -> None:
        while True:
            sock, _ = listener.accept()
            with sock:
                serve(sock)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = gevent.spawn(accept)
        yield listener.getsockname()[1]
        accepting.kill()


def _hello(sock: socket.socket) -> bytes:
    """Return the route line and the hello."""
    received = b""
    while received.count(b"\n") < 2:
        received += sock.recv(4096)
    return received


def on_display(screen: XServer, folder: Path, **settings: Any) -> Daemon:
    return Daemon(folder, env={"DISPLAY": screen.display}, desktop_backend="x11", **settings)


def stranger(port: int) -> Profile:
    """Return a pairing that no daemon knows."""
    public = crypto.ExpandedKey.generate().public
    return Profile("127.0.0.1", port, "ios-00000000", Secret(secrets.token_bytes(32)), public)


def link(port: int, **members: str) -> str:
    """Return a link to a port, without an expiry."""
    whole = {"v": "3", "host": "127.0.0.1", "port": str(port), "token": "A" * 22, "fp": "0" * 32, **members}
    return "novakey://pair?" + "&".join(f"{name}={value}" for name, value in whole.items())


# ---- pairing ----


def test_it_pairs_under_an_id_that_it_keeps_for_good(daemon: Daemon) -> None:
    phone = paired(daemon)
    (record,) = phone.records.values()
    assert re.fullmatch("ios-[0-9A-F]{8}", record.device_id) and record.device_id == phone.device_id
    daemon.wait_for_log(f'paired: "{phone.device_id}" from 127.0.0.1')
    phone.reinstall()
    assert list(phone.records.values()) == [record], "the pairing outlives the app"
    phone.add_listener("again", "127.0.0.1", daemon.port)
    assert phone.arm().ok
    phone.delete_listener("again")
    assert phone.records == {} and phone.device_id == record.device_id
    phone.reset_pairing()
    assert phone.device_id != record.device_id


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("::1", "novakey://pair?v=3&host=[::1]&port={port}&token=x"),
        ("localhost", "novakey://pair?v=3&host=Localhost&port={port}&token=x"),
        ("127.0.0.1", "novakey://pair?v=3&addr=localhost:{port}&token=x"),
    ],
)
def test_another_spelling_of_the_listener_is_a_mismatch_and_nothing_is_sent(host: str, text: str) -> None:
    phone = PhoneApp()
    phone.add_listener(NAME, f" {host} ", 7)
    assert phone.scan(text.format(port=7)) == Screen("Server address mismatch")
    assert not phone.working.is_set()


def test_a_pasted_link_is_compared_with_no_listener_and_kept_under_its_own_address(daemon: Daemon) -> None:
    phone = PhoneApp()
    phone.add_listener(NAME, "localhost", daemon.port)
    assert phone.scan(daemon.uri()).text == phone_app.MISMATCH
    assert phone.paste(daemon.uri()).text == f"Paired with {NAME}"
    assert list(phone.records) == [f"127.0.0.1:{daemon.port}"]
    assert phone.arm().text == f"Arm failed: Not paired with {NAME}. Re-pair…", "another address to it"


@pytest.mark.parametrize("text", ["https://example.org", "novakey://pair?v=2&host=h&port=1&token=x"])
def test_what_is_no_link_is_refused_before_anything_is_asked(text: str) -> None:
    asked: list[str] = []
    phone = PhoneApp(confirm=lambda question: not asked.append(question))
    assert not phone.scan(text).ok and not phone.paste(text).ok
    assert asked == []


def test_an_expiry_before_the_phones_own_clock_ends_the_scan(daemon: Daemon) -> None:
    phone = app(daemon, unix_time=lambda: time.time() + 3600)
    assert phone.scan(daemon.uri()).text == "expired…"


def test_the_question_names_host_and_port_and_a_no_sends_nothing(daemon: Daemon) -> None:
    asked: list[str] = []
    phone = app(daemon, confirm=lambda question: bool(asked.append(question)))
    assert phone.scan(daemon.uri()) == Screen("")
    assert asked == [f"127.0.0.1:{daemon.port}"]
    assert "request " not in daemon.log()


def test_a_daemon_that_is_not_there_leaves_it_working_until_it_is_swiped_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    phone = PhoneApp()
    phone.add_listener(NAME, "127.0.0.1", port)
    scanning = gevent.spawn(phone.scan, link(port))
    assert phone.working.wait(20) and not scanning.ready()
    phone.swipe_away()
    assert scanning.get(timeout=20) == Screen("Working…")


def test_a_refusal_is_shown_as_its_raw_line(daemon: Daemon) -> None:
    used = daemon.uri()
    first = paired(daemon)
    assert first.arm().ok, "its first message ends the time in which a registration may be repeated"
    shown = app(daemon).scan(used)
    assert not shown.ok and json.loads(shown.text)["reason"] == "not_pairing"


@pytest.mark.parametrize("answer", [b"", b"x" * 20000], ids=["silence", "no line end"])
def test_no_line_in_place_of_the_server_key(answer: bytes) -> None:
    def serve(sock: socket.socket) -> None:
        _hello(sock)
        sock.sendall(answer)

    with listening(serve) as port:
        assert PhoneApp().paste(link(port)).text == "no newline in server_key"


def test_a_register_that_is_refused_shows_as_a_close(daemon: Daemon) -> None:
    phone = app(daemon)
    phone.device_id = "ios-\n"  # what no daemon stores
    assert phone.scan(daemon.uri()).text == "connection closed while reading (got 0/24)"
    assert phone.records == {}


def test_an_acknowledgement_in_pieces_is_lost_on_it_and_every_try_has_a_new_key() -> None:
    key = crypto.ExpandedKey.generate()
    token = Secret(bytes(16))
    keys = []

    def serve(sock: socket.socket) -> None:
        _hello(sock)
        sock.sendall(pair.ServerKey(key.public, 0).encode())
        reader = pair.RegisterReader(key, token)
        while (registration := reader.feed(sock.recv(4096))) is None:
            pass
        assert registration.device_id is not None and registration.device_key is not None
        assert sock.recv(1) == b"", "the phone has closed its sending side"
        keys.append(registration.device_key.reveal())
        sock.sendall(reader.acknowledge(bytes(24), registration.device_id, None)[:40])
        gevent.sleep(0)

    with listening(serve) as port:
        phone = PhoneApp()
        for _ in range(2):
            assert phone.paste(link(port)).text == "Pairing failed"
    assert len(set(keys)) == 2 and phone.records == {}


def test_the_json_of_a_ready_pairing_is_taken_in_place_of_a_scan(daemon: Daemon) -> None:
    phone = app(daemon)
    assert phone.paste(blob(daemon.pair("of-our-making"))).text == f"Paired with {NAME}"
    assert phone.arm().ok


def test_the_free_version_keeps_one_listener() -> None:
    phone = PhoneApp(free=True)
    phone.add_listener(NAME, "127.0.0.1")
    with pytest.raises(AssertionError, match="does not open again"):
        phone.add_listener("another", "127.0.0.1")


def test_a_newcomer_who_types_what_the_computer_shows_gets_to_the_first_secret(
    screen: XServer, tmp_path: Path
) -> None:
    """The steps of docs/iphone.md, with the free version."""
    with on_display(screen, tmp_path / "d") as daemon, RecordingGtkEntry(screen) as entry:
        daemon.wait_for_log("exactly so")
        shown = re.search(r"add a listener first: Host (\S+), Port (\d+), exactly so", daemon.log())
        assert shown is not None
        phone = PhoneApp(free=True)
        phone.add_listener("my computer", shown[1], int(shown[2]))
        assert phone.scan(daemon.uri()).text == "Paired with my computer"
        daemon.wait_for_log(f'paired: "{phone.device_id}" from 127.0.0.1')
        assert phone.arm().ok
        assert phone.send("the first secret").text == "Sent to my computer"
        assert entry.wait_for("the first secret") == "the first secret"


# ---- pairing again ----


def devices(daemon: Daemon) -> list[str]:
    return [row["id"] for row in client.ask(Paths.under(daemon.folder), "devices")["devices"]]


def test_a_phone_whose_listener_was_deleted_or_that_was_reinstalled_pairs_again(daemon: Daemon) -> None:
    phone = paired(daemon)
    phone.delete_listener(NAME)
    assert phone.arm().text == "Arm failed: Not paired with . Re-pair…", "there is no listener"
    for change in (phone.reinstall, lambda: revoke(daemon, phone)):
        phone.add_listener(NAME, "127.0.0.1", daemon.port)
        assert scanned(daemon, phone).text == f"Paired with {NAME}"
        assert phone.arm().ok and devices(daemon) == [phone.device_id]
        change()
    assert phone.arm().text == f"Arm failed: Not paired with {NAME}. Re-pair…"
    assert scanned(daemon, phone).ok and phone.arm().ok
    daemon.wait_for_log(f'paired again: "{phone.device_id}"')


def test_a_second_listener_for_the_same_computer_ends_the_pairing_of_the_first(daemon: Daemon) -> None:
    phone = paired(daemon)
    phone.add_listener("by name", "localhost", daemon.port)
    with client.request(Paths.under(daemon.folder), "pair", add=True) as asked:
        window = asked.next(20)
        text = window.members["uri"].replace("host=127.0.0.1", "host=localhost")  # type: ignore[union-attr]
        assert phone.scan(text).text == "Paired with by name"
    assert phone.arm().ok and devices(daemon) == [phone.device_id]
    phone.choose(NAME)
    assert phone.arm().text == "Arm failed: Secure channel failed. Re-pair with the computer…"


@pytest.mark.parametrize("late_s", [None, ACKNOWLEDGEMENT_S + 0.5], ids=["lost", "late"])
def test_after_a_lost_or_late_acknowledgement_the_next_qr_works_once(
    daemon: Daemon, late_s: float | None
) -> None:
    phone = app(daemon)

    def lose(sock: socket.socket) -> None:
        with daemon.connect() as upstream:
            upstream.sendall(_hello(sock))
            sock.sendall(upstream.makefile("rb").readline())
            while piece := sock.recv(4096):
                upstream.sendall(piece)
            upstream.shutdown(socket.SHUT_WR)
            acknowledgement = read_all(upstream)
            assert len(acknowledgement) > 40
        if late_s is not None:
            gevent.sleep(late_s)
            with contextlib.suppress(OSError):  # the phone has hung up
                sock.sendall(acknowledgement)

    with listening(lose) as port:
        shown = phone.paste(daemon.uri().replace(f"port={daemon.port}", f"port={port}"))
    assert shown.text == "connection closed while reading (got 0/24)"
    daemon.wait_for_log(f'paired: "{phone.device_id}"')
    assert phone.records == {} and devices(daemon) == [phone.device_id]
    assert scanned(daemon, phone).ok
    assert phone.arm().ok and devices(daemon) == [phone.device_id]


# ---- messages ----


def test_it_arms_for_15_seconds_sends_and_disarms(screen: XServer, tmp_path: Path) -> None:
    with on_display(screen, tmp_path / "d") as daemon, RecordingGtkEntry(screen) as entry:
        pauses: list[float] = []
        phone = paired(daemon, sleep=pauses.append)
        assert phone.arm() == Screen("", ok=True, details="armed_for_ms=15000")
        sent = phone.send("first secret")
        assert sent.text == f"Sent to {NAME}" and pauses == [0.25]
        assert entry.wait_for("first secret") == "first secret"
        assert phone.send("second").text == NOT_ARMED, "a delivery uses the arming up"
        assert phone.arm().ok and phone.disarm().ok
        assert phone.send("third").text == NOT_ARMED
        assert entry.text() == "first secret"


def test_without_face_id_nothing_is_sent(daemon: Daemon) -> None:
    phone = paired(daemon, face_id=lambda: False)
    before = daemon.log().count("request ")
    assert phone.send("secret") == Screen("") and daemon.log().count("request ") == before


def test_two_phones_are_two_devices_and_a_revoked_one_is_told_so(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        first = paired(daemon)
        second = one_more(daemon)
        assert first.device_id != second.device_id
        assert first.arm().ok and second.send("x").text == NOT_ARMED, "one does not arm the other"
        revoke(daemon, first)
        assert first.send("x").text == "Secure channel failed. Re-pair with the computer…"
        assert second.arm().ok
        revoke(daemon, second)
        assert second.send("x").text == f"Not paired with {NAME}. Re-pair…"


def test_a_send_that_fails_is_approved_and_sent_once_more_and_then_stops(daemon: Daemon) -> None:
    pauses: list[float] = []
    phone = paired(daemon, sleep=pauses.append)
    assert phone.arm().ok
    shown = phone.send("x")
    assert shown.text == "Computer error. Try again (or check daemon logs)."
    assert "no usable display" in shown.details
    assert pauses == [0.25, 0.25]
    audit = [json.loads(line) for line in (daemon.folder / "logs/audit.jsonl").read_text().splitlines()]
    stages = [entry["stage"] for entry in audit if "stage" in entry]
    assert stages == ["arm", "approve", "inject", "approve", "inject"]


def test_refused_text_and_a_limit_and_a_wrong_clock_have_their_sentences(tmp_path: Path) -> None:
    ahead = [0.0]
    with Daemon(tmp_path / "d", max_requests_per_min=7) as daemon:
        phone = paired(daemon, unix_time=lambda: time.time() + ahead[0])
        assert phone.arm().ok
        assert phone.send("a\nb").text == "Request rejected by the computer."
        ahead[0] = 600
        shown = phone.send("x")
        assert shown.text == "Clock check failed…"
        assert re.fullmatch("the phone's clock is (9|10) min ahead of this computer's", shown.details)
        daemon.wait_for_log(f"bad_timestamp: {shown.details}")
        assert phone.arm().text == "Arm failed: Clock check failed…"
        ahead[0] = 0
        assert phone.disarm().ok and phone.disarm().ok
        assert phone.send("x").text == "Rate limited… Wait a moment…"


def test_what_the_daemon_no_longer_knows_is_shown_as_a_replay(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        phone = paired(daemon)
        daemon.kill()
    Paths.under(daemon.folder).replay_ledger.write_bytes(b"damaged")
    with Daemon(tmp_path / "d", listen_addr=f"127.0.0.1:{daemon.port}"):
        assert phone.send("x").text == "Replay detected. Try sending again."


def test_the_owner_who_has_not_approved_is_pointed_to(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d", two_man_approver="computer") as daemon:
        phone = paired(daemon)
        assert phone.arm().ok
        assert phone.send("x").text == "Computer needs approval. Approve on the computer, then try again."


def test_what_must_be_pasted_by_hand_says_so(screen: XServer, tmp_path: Path) -> None:
    with on_display(screen, tmp_path / "d", allow_clipboard_on_inject_failure=True) as daemon:
        phone = paired(daemon)
        assert phone.arm().ok  # and no window has the focus
        shown = phone.send("to paste")
        told = f"Copied to clipboard. Paste into the focused field. ({shown.details})"
        assert shown == Screen(told, ok=True, details=shown.details)
        assert screen.run("xclip", "-o", "-selection", "clipboard") == "to paste"


def test_one_tap_answers_a_program_that_asks_and_a_late_one_is_told_to_wait() -> None:
    with Scene() as scene:
        phone = with_app(scene.phone)
        request = scene.novakey("ask")
        scene.asked(request)
        assert phone.send("for the program").text == f"Sent to {NAME}", "a request counts as armed"
        assert request.wait() == 0 and request.output() == b"for the program"
        gone = scene.novakey("ask")
        scene.asked(gone)
        gone.process.terminate()
        wait_until(lambda: not scene.asks(), "the end of the request")
        late = phone.send("for the one that has gone")
        assert late.text == "Rate limited… Wait a moment…" and "send again in" in late.details


def test_a_lost_reply_is_followed_by_one_more_approval_and_inject_at_once() -> None:
    seen = []
    ok = Reply(Outcome.OK, "approve", "", 0, 1).encode()

    def serve(sock: socket.socket) -> None:
        reader = sock.makefile("rb")
        assert reader.readline() == b"NOVAK/1 /msg\n"
        seen.append(len(reader.read(int.from_bytes(reader.read(2), "big"))))
        if len(seen) % 2:
            sock.sendall(ok)  # the injects get no answer

    with listening(serve) as port:
        phone = PhoneApp(sleep=lambda seconds: None)
        phone.add_listener(NAME, "127.0.0.1", port)
        assert phone.paste(blob(stranger(port))).ok
        assert phone.send("longer than an approval") == Screen("")
    assert len(seen) == 4 and seen[:2] == seen[2:]
