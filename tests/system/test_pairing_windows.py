"""Windows over restarts: what counts, what locks, what lifts it; and the picture goes in every ending."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path

import pytest
from support.daemon import Daemon, random_key, run, say
from support.pairing import begin, dropped, hello, register

from novakey.config.settings import Settings
from novakey.daemon import audit
from novakey.daemon.startup import open_installation
from novakey.pairing import record
from novakey.pairing.state import State
from novakey.secret import Secret
from novakey.system.paths import Paths
from novakey.wire import pair, uri
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

PICTURE = "novakey-pair.png"


def token_of(daemon: Daemon) -> Secret:
    return uri.decode(daemon.uri()).token


def test_five_interrupted_windows_lock_and_only_reset_lifts_it(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "d"
    for count in range(1, 6):  # two die in a handshake, one is stopped in it, two use up their attempts
        with Daemon(folder, pair_max_attempts=2) as daemon:
            token = token_of(daemon)
            if count <= 2:
                with begin(daemon, token)[0]:
                    daemon.kill()
            elif count == 3:
                with begin(daemon, token)[0]:
                    assert daemon.stop() == 0
            else:
                dropped(daemon, token, 2)
                assert hello(daemon, token)["reason"] == "not_pairing"
                daemon.wait_for_log("pairing is locked: 5" if count == 5 else "too many handshakes failed")
                assert not (folder / PICTURE).exists()
    for _ in range(2):  # the sixth start, and one after it
        with Daemon(folder) as daemon:
            daemon.wait_for_log(
                "pairing is locked: 5 pairing windows were interrupted; only `reset` lifts it"
            )
            assert not (folder / PICTURE).exists()
            assert hello(daemon, token)["reason"] == "not_pairing"
            now = json.loads(run("--data-dir", folder, "status", "--json").stdout)
            assert (now["pairing"], now["running"]) == ("locked", True)
            assert "5 pairing windows" in now["reason"] and "reset" in now["way_out"]
    for name in ("devices.json", "server_keys.json", "sealing.key"):  # removing files lifts nothing
        (folder / name).unlink(missing_ok=True)
    with Daemon(folder) as daemon:
        daemon.wait_for_log("pairing is locked")
    assert run("--data-dir", folder, "reset", "--yes").returncode == 0
    with Daemon(folder) as daemon:
        assert say(daemon.pair(), MessageType.ARM).outcome is Outcome.OK
    events = [entry["event"] for entry in audit.read(Paths.under(folder).log, 100) if "event" in entry]
    assert events == ["locked"] * 4 + ["reset", "paired"], "once in each run"


def test_fifty_untouched_windows_lock_nothing(tmp_path: Path) -> None:
    """Each start's own code; a real process for each is in the long form."""
    paths, settings = Paths.under(tmp_path), Settings()
    for number in range(50):
        pairing = open_installation(paths, settings).pairing
        pairing.open_window(Secret(bytes(16)), 1000, 600, 3)
        if number % 3 == 0:
            pairing.stop()
        elif number % 3 == 1:
            assert pairing.expire(1600)  # and every third is killed: nothing more happens
    known = record.load(paths.pairing)
    assert (known.interrupted, known.locked) == (0, "")
    assert open_installation(paths, settings).pairing.state is State.UNPAIRED


@pytest.mark.long
def test_fifty_untouched_starts_lock_nothing(tmp_path: Path) -> None:
    for number in range(50):
        with Daemon(tmp_path / "d", pair_window_s=1 if number % 10 == 0 else 600) as daemon:
            daemon.uri()
            if number % 10 == 0:
                daemon.wait_for_log("no phone paired in time")
            elif number % 2:
                daemon.kill()
    with Daemon(tmp_path / "d") as daemon:
        assert say(daemon.pair(), MessageType.ARM).outcome is Outcome.OK


def test_wrong_tokens_and_malformed_hellos_count_for_nothing(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d", pair_max_attempts=1, pair_max_windows=1) as daemon:
        for _ in range(5):
            assert hello(daemon, Secret(bytes(16)))["reason"] == "bad_token"
            assert hello(daemon, b"?\n")["reason"] == "bad_request"
        daemon.connect().close()
        assert say(daemon.pair(), MessageType.ARM).outcome is Outcome.OK


def test_two_dropped_handshakes_then_a_whole_one_on_the_same_qr_pair(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        token = token_of(daemon)
        dropped(daemon, token, 2)
        sock, public = begin(daemon, token)
        assert register(sock, public, token, pair.Registration("phone-1", random_key()))
    assert record.load(tmp_path / "d" / "pairing.json").interrupted == 0


def test_after_three_failed_handshakes_only_a_restart_opens_another_window(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        token = token_of(daemon)
        dropped(daemon, token, 3)
        assert hello(daemon, token)["reason"] == "not_pairing"
    with Daemon(tmp_path / "d") as daemon:
        assert record.load(tmp_path / "d" / "pairing.json").interrupted == 1
        assert hello(daemon, token)["reason"] == "bad_token", "a spent token is worth nothing"
        assert say(daemon.pair(), MessageType.ARM).outcome is Outcome.OK
    assert record.load(tmp_path / "d" / "pairing.json").interrupted == 0


def test_a_late_handshake_lapses_with_its_window(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d", pair_window_s=2) as daemon:
        token = token_of(daemon)
        with begin(daemon, token)[0] as sock:
            sock.settimeout(20)
            assert sock.recv(1) == b"", "closed when the window's time is over, without a word"
        daemon.wait_for_log("the phone took too long")
        daemon.wait_for_log("no phone paired in time")
        assert hello(daemon, token)["reason"] == "not_pairing"
        assert not (tmp_path / "d" / PICTURE).exists()
    assert record.load(tmp_path / "d" / "pairing.json").interrupted == 0


def test_a_hello_that_finds_the_window_expired_takes_the_picture_away(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d", pair_window_s=2) as daemon:
        token = token_of(daemon)
        while time.time() < uri.decode(daemon.uri()).expires:
            time.sleep(0.02)
        assert hello(daemon, token)["reason"] == "not_pairing"  # likely before the daemon's own timer
        daemon.wait_for_log("no phone paired in time")
        assert not (tmp_path / "d" / PICTURE).exists()
        assert daemon.log().count("no phone paired in time") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_picture_goes_when_the_daemon_is_stopped(tmp_path: Path, number: int) -> None:
    with Daemon(tmp_path / "d") as daemon:
        daemon.uri()
        assert daemon.stop(number) == 0
    assert not (tmp_path / "d" / PICTURE).exists()


def test_a_picture_that_a_kill_left_goes_with_the_next_start_even_if_that_refuses(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        daemon.uri()
        daemon.kill()
    assert (tmp_path / "d" / PICTURE).exists()
    (tmp_path / "d" / "pairing.json").write_bytes(b"null")
    assert run("--data-dir", tmp_path / "d").returncode == 3
    assert not (tmp_path / "d" / PICTURE).exists()


def test_a_handshake_that_waits_is_over_when_the_phone_is_reset(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        token = token_of(daemon)
        sock, _ = begin(daemon, token)
        assert hello(daemon, token)["reason"] == "busy"
        linger_zero = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
        sock.close()  # a reset, as from a phone that was switched off
        daemon.wait_for_log("pair failed")
        sock, public = begin(daemon, token)
        assert register(sock, public, token, pair.Registration("phone-1", random_key()))
