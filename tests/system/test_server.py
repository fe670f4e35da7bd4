"""The listener as an operator meets it: addresses, deadlines, stopping, readiness."""

from __future__ import annotations

import concurrent.futures
import json
import signal
import socket
import time
from pathlib import Path

import pytest
from support.daemon import Daemon, ask, read_all, run, say
from support.x11 import wait_until

from novakey.secret import Secret
from novakey.wire import pair, preface, uri
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

MSG, PAIR = preface.Route.MSG.value, preface.Route.PAIR.value


def test_a_pairing_that_stalls_gives_the_window_back_at_its_deadline(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d", pair_window_s=3) as daemon:
        token = uri.decode(daemon.uri()).token
        with daemon.connect() as sock:
            sock.sendall(PAIR + pair.encode_hello(token))
            began = time.monotonic()
            answer = read_all(sock)
            assert b"server_key" in answer and answer.endswith(b"\n")
            assert time.monotonic() - began < 4.5
        daemon.wait_for_log("took too long")


def refuses(daemon: Daemon) -> bool:
    """Whether a connection is refused."""
    try:
        daemon.connect().close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_0_after_running_requests_finished(tmp_path: Path, number: int) -> None:
    with Daemon(tmp_path / "d") as daemon:
        with daemon.connect() as sock:
            sock.sendall(MSG + b"\x00")
            time.sleep(0.2)
            daemon.process.send_signal(number)
            daemon.wait_for_log("stopping")
            wait_until(lambda: refuses(daemon), "the end of the listening socket")
            sock.sendall(b"\x09abcdefghi")
            assert json.loads(read_all(sock))["reason"] == "bad_request"
        assert daemon.process.wait(timeout=5) == 0
        assert not (daemon.folder / "novakey-pair.png").exists()


def test_a_request_that_never_ends_holds_the_stop_for_five_seconds_only(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon, daemon.connect() as sock:
        sock.sendall(MSG)
        time.sleep(0.2)
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 25, "it would have gone on for ever"


def test_a_port_in_use_is_one_line_that_names_it_and_exit_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("--data-dir", tmp_path / "d", env={"NOVAKEY_LISTEN_ADDR": f"127.0.0.1:{port}"})
    assert done.returncode == 1
    last = [line for line in done.stderr.splitlines() if line.startswith("novakey:")]
    assert len(last) == 1 and f"port {port}" in last[0]


@pytest.mark.parametrize(
    ("listen_addr", "reached_at"),
    [
        ("[::1]:0", ["::1"]),
        ("[::]:0", ["::1", "127.0.0.1"]),
        ("0", ["127.0.0.1"]),
        ("localhost:0", ["localhost"]),
    ],
)
def test_ipv6_and_a_bare_port_work(tmp_path: Path, listen_addr: str, reached_at: list[str]) -> None:
    with Daemon(tmp_path / "d", listen_addr=listen_addr, advertise_host="127.0.0.1") as daemon:
        for host in reached_at:
            with socket.create_connection((host, daemon.port), timeout=5) as sock:
                sock.sendall(MSG + b"\0\0")
                assert json.loads(read_all(sock))["reason"] == "bad_request"


def test_advertise_host_is_what_the_qr_says(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d", advertise_host="192.0.2.9") as daemon:
        assert uri.decode(daemon.uri()).host == "192.0.2.9"
        assert "which no phone can reach" not in daemon.log()
    with Daemon(tmp_path / "e") as daemon:
        assert uri.decode(daemon.uri()).host == "127.0.0.1"
        daemon.wait_for_log("which no phone can reach")


def test_the_qr_has_the_host_as_a_person_types_it(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d", advertise_host="Desk.LOCAL") as daemon:
        assert uri.decode(daemon.uri()).host == "desk.local"
        daemon.wait_for_log(f"Host desk.local, Port {daemon.port}, exactly so")
    with Daemon(tmp_path / "e", listen_addr="[0:0:0:0:0:0:0:1]:0") as daemon:
        assert uri.decode(daemon.uri()).host == "::1"


def test_a_service_manager_is_told_when_it_is_ready_and_when_it_stops(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        with Daemon(tmp_path / "d", env={"NOTIFY_SOCKET": str(tmp_path / "notify")}):
            assert manager.recv(100) == b"READY=1"
        assert manager.recv(100) == b"STOPPING=1"


def test_a_second_daemon_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        done = run("--data-dir", daemon.folder)
        assert done.returncode == 1
        assert "another daemon" in done.stderr
        profile = daemon.pair()
        assert say(profile, MessageType.ARM).outcome is Outcome.OK


def test_many_at_once_are_all_answered(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d", max_requests_per_min=1000) as daemon:
        profile = daemon.pair()
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            outcomes = list(pool.map(lambda _: say(profile, MessageType.ARM).outcome, range(64)))
        assert outcomes == [Outcome.OK] * 64


def test_an_endless_first_line_is_cut_at_its_cap(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        began = time.monotonic()
        assert ask(daemon.connect(), b"N" * 64) == b""
        assert time.monotonic() - began < 3


def test_the_third_connection_in_pairing_takes_the_place_of_the_oldest_silent_one(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        daemon.uri()
        with daemon.connect() as first, daemon.connect("127.0.0.2") as second:
            for sock in (first, second):
                sock.sendall(PAIR)
                time.sleep(0.2)
            profile = daemon.pair()
            assert json.loads(read_all(first))["reason"] == "busy"
        assert say(profile, MessageType.ARM).outcome is Outcome.OK


def test_an_address_over_its_limit_takes_no_place_in_pairing_from_the_phone(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d", pair_hello_max_per_min=2) as daemon:
        token = uri.decode(daemon.uri()).token
        with daemon.connect() as phone:
            phone.sendall(PAIR)
            wrong = PAIR + pair.encode_hello(Secret(bytes(16)))
            for _ in range(2):
                assert json.loads(ask(daemon.connect("127.0.0.9"), wrong))["reason"] == "bad_token"
            for _ in range(3):
                assert json.loads(ask(daemon.connect("127.0.0.9"), PAIR))["reason"] == "rate_limit"
            phone.sendall(pair.encode_hello(token))
            assert json.loads(phone.makefile("rb").readline())["op"] == "server_key"


def test_the_wrong_hellos_of_all_addresses_are_limited_together(
    tmp_path: Path,
) -> None:
    with Daemon(tmp_path / "d", pair_hello_max_per_min=2) as daemon:
        daemon.uri()
        hello = PAIR + pair.encode_hello(Secret(bytes(16)))
        reasons = [
            json.loads(ask(daemon.connect(f"127.0.0.{address}"), hello))["reason"]
            for address in range(10, 15)
            for _ in range(3)
        ]
        assert reasons == ["bad_token", "bad_token", "rate_limit"] * 4 + ["rate_limit"] * 3
        assert json.loads(ask(daemon.connect("127.0.0.15"), PAIR + b"?\n"))["reason"] == "rate_limit"
        assert say(daemon.pair(), MessageType.ARM).outcome is Outcome.OK
        assert json.loads(ask(daemon.connect("127.0.0.16"), hello))["reason"] == "rate_limit", (
            "not: not_pairing"
        )


def test_limits_are_keys_of_the_configuration(tmp_path: Path) -> None:
    limits = {
        "preface_timeout_s": 1,
        "message_timeout_s": 2,
        "hello_timeout_s": 1,
        "register_timeout_s": 2,
        "hello_max_len": 128,
        "preface_max_len": 16,
    }
    with Daemon(tmp_path / "d", **limits) as daemon:
        hello = PAIR + pair.encode_hello(uri.decode(daemon.uri()).token)

        def seconds(start: bytes) -> float:
            began = time.monotonic()
            with daemon.connect() as sock:
                sock.sendall(start)
                read_all(sock)
            return time.monotonic() - began

        assert 0.9 < seconds(b"") < 4
        assert 1.9 < seconds(MSG) < 5
        assert 0.9 < seconds(PAIR) < 4
        assert 1.9 < seconds(hello) < 5
        assert json.loads(ask(daemon.connect(), PAIR + b"x" * 128))["reason"] == "bad_request"
        assert ask(daemon.connect(), b"N" * 16) == b""


@pytest.mark.parametrize("more", [1, 50_000])
def test_a_phone_that_sends_more_than_its_message_gets_the_reply_and_no_reset(
    tmp_path: Path, more: int
) -> None:
    with Daemon(tmp_path / "d") as daemon:
        for _ in range(20):
            with daemon.connect() as sock:
                sock.sendall(MSG + b"\x00\x09abcdefghi" + b"x" * more)
                received = b"".join(iter(lambda: sock.recv(4096), b""))
                assert json.loads(received)["reason"] == "bad_request"


def test_after_a_whole_message_the_connection_is_closed_at_once(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon, daemon.connect() as sock:
        sock.sendall(MSG + b"\x00\x09abcdefghi")
        assert json.loads(read_all(sock))["reason"] == "bad_request"
        sock.sendall(b"x")  # is answered by a reset where it is not read any more
        time.sleep(0.3)
        with pytest.raises(OSError):
            sock.sendall(b"x")
