"""`phone … --like-app` sends what the app in the field sends, and prints what that app would show."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import phone_app
from support.daemon import Daemon, run
from support.phone_app import BY_STATUS
from support.x11 import RecordingGtkEntry, XServer

from novakey import like_app
from novakey.phone import load_profile


@pytest.fixture(scope="module")
def field() -> Iterator[RecordingGtkEntry]:
    with XServer() as server, RecordingGtkEntry(server) as entry:
        yield entry


def phone(profile: Path, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    """One command of the phone, as the app."""
    return run("phone", words[0], "--like-app", "--profile", profile, *words[1:], **options)  # type: ignore[arg-type]


def paired(daemon: Daemon, folder: Path) -> Path:
    profile = folder / "phone.json"
    done = phone(profile, "pair", input=daemon.uri())
    assert (done.returncode, done.stdout) == (0, "the app shows: Paired with 127.0.0.1\n"), done.stderr
    return profile


def test_the_sentences_are_those_of_the_double() -> None:
    assert like_app._BY_STATUS == BY_STATUS


def test_a_good_send_is_an_approve_and_an_inject(field: RecordingGtkEntry, tmp_path: Path) -> None:
    env = {"DISPLAY": field.server.display}
    with Daemon(tmp_path / "d", env=env, desktop_backend="x11") as daemon:
        profile = paired(daemon, tmp_path)
        done = phone(profile, "arm")
        assert done.stdout == "arm: ok: armed_for_ms=15000\nthe app shows no message\n"
        done = phone(profile, "send", input="by the app\n")
        assert done.returncode == 0
        approve, inject, shows = done.stdout.splitlines()
        assert approve == "approve: ok: approved_for_ms=15000" and inject.startswith(
            "inject: typing_fallback:"
        )
        assert shows == "the app shows: Sent to 127.0.0.1"
        assert field.wait_for("by the app") == "by the app"


def test_a_failing_send_is_tried_twice_and_says_what_the_app_says(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        profile = paired(daemon, tmp_path)
        done = phone(profile, "send", "--json", input="x\n")
        said = json.loads(done.stdout)
        assert done.returncode == 1 and said["shows"] == BY_STATUS[1] and said["success"] is False
        assert [step["sent"] for step in said["steps"]] == ["approve", "inject"] * 2
        assert phone(profile, "disarm").returncode == 0
    done = phone(profile, "arm")
    assert (done.returncode, done.stdout) == (1, "arm: no reply\nthe app shows: Arm failed: Working…\n")


def test_a_listener_that_is_spelt_otherwise_is_a_mismatch_and_the_right_one_pairs(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        profile = tmp_path / "phone.json"
        done = phone(profile, "pair", "--listener", f"localhost:{daemon.port}", input=daemon.uri())
        assert (done.returncode, done.stdout) == (1, f"the app shows: {phone_app.MISMATCH}\n")
        assert not profile.exists() and "request " not in daemon.log()
        done = phone(profile, "pair", "--listener", f"127.0.0.1:{daemon.port}", input=daemon.uri())
        assert done.returncode == 0
        first = load_profile(profile)
        phone(profile, "arm")  # its first message ends the time in which a registration may be repeated
        done = phone(profile, "pair", "--replace", "--uri", daemon_link(daemon))
        assert done.returncode == 1 and '"reason":"not_pairing"' in done.stdout
        assert load_profile(profile).device_id == first.device_id, "a pairing that failed replaces none"


def daemon_link(daemon: Daemon) -> str:
    """Return a link whose token opens nothing."""
    token = "A" * 22
    return f"novakey://pair?v=3&host=127.0.0.1&port={daemon.port}&token={token}&fp={'0' * 32}&exp=9999999999"


def test_another_fingerprint_does_not_stop_it(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        from novakey.wire import uri

        text = daemon.uri()
        forged = text.replace(uri.decode(text).fingerprint, "0" * 32)
        assert phone(tmp_path / "phone.json", "pair", input=forged).returncode == 0


def test_a_daemon_that_is_not_there_and_an_old_qr_have_their_sentences(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    link = f"novakey://pair?v=3&host=127.0.0.1&port={port}&token={'A' * 22}&fp={'0' * 32}"
    for exp, shows in (("9999999999", "Working…"), ("1", "expired…")):
        done = phone(tmp_path / "phone.json", "pair", input=f"{link}&exp={exp}")
        assert (done.returncode, done.stdout) == (1, f"the app shows: {shows}\n")


def test_what_the_app_has_not_is_refused(tmp_path: Path) -> None:
    assert phone(tmp_path / "p.json", "approve").returncode == 2
    done = run("phone", "pair", "--listener", "h:1", "--profile", tmp_path / "p.json", input="")
    assert done.returncode == 2 and "--listener with --like-app" in done.stderr
