"""The reference phone and the other commands as a person types them: words, terminals, exit codes."""

from __future__ import annotations

import argparse
import json
import os
import pty
import secrets
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.daemon import Daemon, clean_environment, command, run
from support.x11 import RecordingXterm, XServer, differs

from novakey import cli
from novakey.cli import parser as commandline
from novakey.wire import uri

NO_SECRET = {"stdin": subprocess.DEVNULL}


def phone(profile: Path, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    """One command of the phone with a profile."""
    return run("phone", words[0], "--profile", profile, *words[1:], **options)  # type: ignore[arg-type]


def cure(done: subprocess.CompletedProcess[str]) -> str:
    """Return the second line of a message for people; there must be one."""
    first, second = done.stderr.splitlines()
    assert first.startswith("novakey: ") and done.stdout == ""
    return second


@pytest.fixture(scope="module")
def screen() -> Iterator[RecordingXterm]:
    with XServer() as server, RecordingXterm(server) as window:
        yield window  # type: ignore[misc]


@pytest.fixture(scope="module")
def daemon(screen: RecordingXterm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("phone") / "d"
    env = {"DISPLAY": screen.server.display}
    with Daemon(folder, env=env, desktop_backend="x11", max_requests_per_min=1000) as running:
        yield running


@pytest.fixture(scope="module")
def profile(daemon: Daemon) -> Path:
    """Return the profile of a phone that paired by the daemon's picture."""
    path = daemon.folder.parent / "phone.json"
    done = phone(path, "pair", "--png", str(daemon.picture()), "--device-id", "my-phone")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"paired: my-phone, kept in {path}\n"
    return path


def test_pairing_by_the_uri_and_by_standard_input(tmp_path: Path) -> None:
    for number, way in enumerate(("--uri", "-", "")):
        with Daemon(tmp_path / str(number)) as daemon:
            text = daemon.uri()
            words = ["--uri", text] if way == "--uri" else [way] * bool(way)
            done = phone(tmp_path / f"{number}.json", "pair", *words, "--json", input=f"{text}\n")
            assert done.returncode == 0, done.stderr
            said = json.loads(done.stdout)
            assert said["profile"] == str(tmp_path / f"{number}.json")
            assert said["paired"].startswith("ios-")
            assert phone(tmp_path / f"{number}.json", "arm").returncode == 0


def test_the_profile_is_owner_only_and_with_wider_rights_refused(profile: Path, tmp_path: Path) -> None:
    assert profile.stat().st_mode & 0o777 == 0o600
    copy = tmp_path / "copy.json"
    copy.write_bytes(profile.read_bytes())
    copy.chmod(0o640)
    done = phone(copy, "arm")
    assert done.returncode == 3 and f"chmod 600 {copy}" in cure(done)


def test_arm_says_for_how_long_and_takes_milliseconds(profile: Path) -> None:
    assert phone(profile, "arm").stdout == "ok: armed_for_ms=20000\n"
    assert phone(profile, "arm", "--ms", "1234").stdout == "ok: armed_for_ms=1234\n"
    assert phone(profile, "arm", "--ms", "999999").stdout == "ok: armed_for_ms=120000\n"
    for wrong in ("0", "-5"):
        done = phone(profile, "arm", "--ms", wrong)
        assert done.returncode == 1 and done.stdout.startswith("bad_request: ")
    assert phone(profile, "arm", "--ms", "soon").returncode == 2


def test_a_secret_from_standard_input_reaches_the_window_and_only_it(
    profile: Path, screen: RecordingXterm, daemon: Daemon
) -> None:
    screen.clear()
    secret = secrets.token_urlsafe(20)
    for gate in ("arm", "approve"):
        assert phone(profile, gate, **NO_SECRET).returncode == 0
    done = phone(profile, "send", input=f"{secret}\n")
    assert (done.returncode, done.stdout.split(":")[0]) == (0, "typing_fallback")
    assert differs(screen.wait_for(secret), secret) is None
    assert secret not in done.stdout + done.stderr + daemon.log()


def test_on_a_terminal_a_secret_is_asked_for_without_echo(profile: Path, screen: RecordingXterm) -> None:
    screen.clear()
    secret = secrets.token_urlsafe(20)
    for gate in ("arm", "approve"):
        assert phone(profile, gate, **NO_SECRET).returncode == 0
    ours, theirs = pty.openpty()
    words = command("phone", "send", "--profile", profile, "--json")
    process = subprocess.Popen(
        words, stdin=theirs, stdout=theirs, stderr=theirs, env=clean_environment(), start_new_session=True
    )
    os.close(theirs)
    shown = read_until(ours, b"secret: ")
    os.write(ours, secret.encode() + b"\n")
    shown += read_until(ours, b'"ts_unix"')
    assert process.wait(30) == 0
    os.close(ours)
    assert secret.encode() not in shown, "the terminal showed it"
    assert differs(screen.wait_for(secret), secret) is None


def read_until(terminal: int, mark: bytes, seconds: float = 30) -> bytes:
    """Return what a terminal shows, up to a mark."""
    shown, deadline = b"", time.monotonic() + seconds
    while mark not in shown:
        assert time.monotonic() < deadline, "the terminal did not show what was expected"
        if select.select([terminal], [], [], 0.2)[0]:
            shown += os.read(terminal, 4096)
    return shown


def test_json_is_the_reply_as_it_came(profile: Path) -> None:
    done = phone(profile, "arm", "--json")
    reply = json.loads(done.stdout)
    assert (done.returncode, reply["v"], reply["status"], reply["stage"]) == (0, 1, 0, "arm")
    assert reply["reason"] == "ok" and isinstance(reply["req_id"], int)
    assert done.stdout.count("\n") == 1


def test_a_refusal_exits_1_and_is_printed_with_its_reason(profile: Path) -> None:
    assert phone(profile, "disarm").stdout.startswith("ok: ")
    done = phone(profile, "send", input="never typed")
    assert done.returncode == 1 and done.stdout.startswith("not_armed: ")
    assert "never typed" not in done.stdout + done.stderr
    assert phone(profile, "arm").returncode == 0
    done = phone(profile, "send", "--json", input="never typed")
    assert done.returncode == 1 and json.loads(done.stdout)["reason"] == "needs_approve"


def test_a_phone_that_is_not_paired_is_told_to_pair(tmp_path: Path) -> None:
    done = phone(tmp_path / "none.json", "arm")
    assert done.returncode == 3 and cure(done) == "pair first: novakey.py phone pair"
    (tmp_path / "spoiled.json").write_text("{}")
    (tmp_path / "spoiled.json").chmod(0o600)
    done = phone(tmp_path / "spoiled.json", "arm")
    assert done.returncode == 3 and cure(done) == "pair again: novakey.py phone pair --replace"


def test_a_profile_that_is_there_is_replaced_only_where_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "phone.json"
    with Daemon(tmp_path / "d") as daemon:
        text = daemon.uri()
        path.write_text("{}")
        path.chmod(0o600)
        done = phone(path, "pair", "-", input=text)
        assert done.returncode == 1 and path.read_text() == "{}"
        assert cure(done) == "--profile FILE for a second phone, or --replace"
        done = phone(path, "pair", "--replace", "-", input=text)
        assert done.returncode == 0, "the refusal has used up nothing"
        assert phone(path, "arm").returncode == 0


def test_a_daemon_that_does_not_answer_is_said_with_the_port(profile: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text(json.dumps(json.loads(profile.read_text()) | {"port": port}))
    elsewhere.chmod(0o600)
    done = phone(elsewhere, "arm")
    assert done.returncode == 1 and f"port {port}" in done.stderr
    assert cure(done) == "is the daemon running?"


def test_another_fingerprint_than_the_qrs_ends_pairing_before_anything_is_sent(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        text = daemon.uri()
        theirs = uri.decode(text).fingerprint
        forged = text.replace(theirs, secrets.token_hex(16))
        done = phone(tmp_path / "p.json", "pair", "-", input=forged)
        assert done.returncode == 1 and "nothing was sent to it" in done.stderr
        assert "on a network that you trust" in cure(done)
        assert not (tmp_path / "p.json").exists()
        daemon.wait_for_log("pair failed: ")
        assert phone(tmp_path / "p.json", "pair", "-", input=text).returncode == 0, "the window is still open"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a pairing URI"),
        ("https://example.org", "not a pairing URI"),
        ("novakey://pair?v=2&host=h", "not of version 3"),
        ("novakey://pair?v=3&host=h&port=1&fp=a&exp=1", "lacks token"),
        ("novakey://pair?v=3&host=h&port=1&token=AAAAAAAAAAAAAAAAAAAAAA&fp=a&exp=1", "has expired"),
    ],
)
def test_what_is_no_usable_uri_is_refused_without_being_repeated(
    tmp_path: Path, text: str, said: str
) -> None:
    done = phone(tmp_path / "p.json", "pair", "-", input=text)
    assert done.returncode == 1 and said in done.stderr
    assert not text or text not in done.stderr


def test_wrong_words_exit_2(tmp_path: Path) -> None:
    for words in (["phone"], ["phone", "fly"], ["phone", "send", "my secret"], ["fly"], ["--fly"]):
        done = run(*words)
        assert done.returncode == 2 and "usage: novakey.py" in done.stderr
    done = phone(tmp_path / "p.json", "pair", "-", "--device-id", "a\u202eb", input="")
    assert done.returncode == 2 and "--device-id" in done.stderr


def test_config_check_reports_all_five_faults_with_their_lines_and_exits_2(tmp_path: Path) -> None:
    path = tmp_path / "faulty.yaml"
    path.write_text(
        "arm_duraton_ms: 5000\n"  # no such key
        "log_keep: many\n"  # no number
        "# a comment\n"
        "log_rotate_mb: 0\n"  # out of range
        "desktop_backend: wayand\n"  # no such choice
        "allow_tabs: 1\n"  # no flag
    )
    done = run("--config", path, "--data-dir", tmp_path / "d", "config", "check")
    assert done.returncode == 2
    first, *faults, last = done.stderr.splitlines()
    assert first == "novakey: the configuration has 5 faults:"
    assert [fault.split(": ")[0] for fault in faults] == [f"{path}:{line}" for line in (1, 2, 4, 5, 6)]
    assert all("allowed" in fault or "nearest known: arm_duration_ms" in fault for fault in faults)
    assert last == "conf/novakey.yaml explains every key"
    assert not (tmp_path / "d").exists(), "checking makes nothing"


def test_config_show_says_where_each_value_comes_from(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("log_keep: 3\n")
    words = ("--config", path, "--data-dir", tmp_path / "d", "config", "show")
    done = run(*words, env={"NOVAKEY_ARM_MAX_MS": "60000"})
    assert done.returncode == 0
    assert f"log_keep: 3  # {path}:1\n" in done.stdout
    assert "arm_max_ms: 60000  # NOVAKEY_ARM_MAX_MS\n" in done.stdout
    assert "log_rotate_mb: 10  # default\n" in done.stdout
    as_json = json.loads(run(*words, "--json").stdout)
    assert as_json["log_keep"] == {"value": 3, "from": f"{path}:1"}


def every_command(
    parser: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Each command of the command line with the words that name it."""
    yield words, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from every_command(below, (*words, name))


COMMANDS = dict(every_command(commandline.parser()))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_help_of_every_command_says_what_it_does_and_what_each_option_is_for(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*words, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: novakey.py") and max(map(len, text.splitlines())) <= 120
    parser = COMMANDS[words]
    assert parser.description and len(parser.description) >= 15 and parser.description.endswith(".")
    for action in parser._actions:
        choices = action.choices if not isinstance(action.choices, dict) else None
        assert (
            action.help or choices or isinstance(action, argparse._SubParsersAction) or words == ("import",)
        )


def test_help_and_version_work_through_the_launch_script() -> None:
    done = run("--help")
    assert done.returncode == 0 and "Without a command, the daemon starts." in done.stdout
    assert "exit codes: 0 done" in done.stdout
    assert run("--version").stdout.startswith("novakey 0.")
