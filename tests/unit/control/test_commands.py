"""The owner's commands against a running daemon: what they print for scripts, and how they exit."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.daemon import Daemon, clean_environment, command, run, say

from novakey import cli, phone
from novakey.cli import parser
from novakey.secret import Secret
from novakey.wire.message import MessageType


def told(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> tuple[int, Any, str]:
    """Run a command in this process, over the real socket: its code, its JSON, its complaint."""
    capsys.readouterr()
    code = cli.main(["--data-dir", str(folder), *words])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else None, err


def test_every_command_prints_one_line_of_json_and_exits_for_scripts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "d"
    with Daemon(folder) as daemon:
        daemon.pair("anna")

        def ask(*words: str) -> Any:
            code, members, err = told(capsys, folder, *words, "--json")
            assert (code, err) == (0, ""), words
            return members

        assert ask("status")["running"] is True
        assert [row["id"] for row in ask("devices", "list")["devices"]] == ["anna"]
        assert ask("devices", "rename", "anna", "A B") == {"device": "anna", "name": "A B"}
        assert ask("arm", "--ms", "7", "A B") | {"until_unix": 0} == {
            "armed": "anna",
            "name": "A B",
            "ms": 7,
            "until_unix": 0,
        }
        assert ask("approve")["approved"] == "anna"
        assert ask("deny") == {"denied": ["anna"]}
        assert ask("disarm")["disarmed"] in (["anna"], []), "7 ms may be over"
        assert ask("log", "--no-follow", "--lines", "1")["text"].endswith("the owner disarmed everything")
        assert ask("devices", "revoke", "A B") == {"revoked": "anna", "name": "A B", "devices": 0}
        for words in (
            ("arm",),
            ("arm", "anna"),
            ("approve", "anna"),
            ("devices", "revoke", "anna"),
            ("devices", "rename", "anna", "x"),
        ):
            code, members, err = told(capsys, folder, *words, "--json")
            assert (code, members) == (1, None) and err.count("\n") == 2, "the problem, and its cure"
        for words in (("arm", "--ms", "x"), ("devices", "revoke"), ("pair", "--what")):
            with pytest.raises(SystemExit) as usage:
                told(capsys, folder, *words)
            assert usage.value.code == 2
    for words in (("status",), ("devices", "list"), ("arm",), ("pair",), ("log",)):
        assert told(capsys, folder, *words, "--json")[0] == 1, "no daemon runs"


def test_without_a_daemon_log_names_the_file(tmp_path: Path) -> None:
    done = run("--data-dir", tmp_path, "log")
    start = "start it: novakey.py serve"
    assert done.returncode == 1
    assert done.stderr == f"novakey: no daemon runs\n{start}; the log file: {tmp_path}/logs/novakey.log\n"


@pytest.mark.parametrize(
    ("typed", "meant"), [(["stauts"], "status"), (["devices", "lst"], "list"), (["config", "chek"], "check")]
)
def test_a_mistyped_word_is_answered_with_the_nearest(typed: list[str], meant: str) -> None:
    done = run(*typed)
    assert done.returncode == 2 and f"there is no {typed[-1]!r}; did you mean {meant}?" in done.stderr
    done = run("xyzzyx")
    assert done.returncode == 2 and "invalid choice" in done.stderr, "nothing is near"


def test_pair_without_a_terminal_names_the_picture_and_never_prints_the_code(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    with Daemon(folder) as daemon:
        text = daemon.uri()
        pairing = subprocess.Popen(
            command("--data-dir", folder, "pair"), env=clean_environment(), stdout=subprocess.PIPE, text=True
        )
        assert pairing.stdout is not None
        assert pairing.stdout.readline() == f"Scan {folder}/novakey-pair.png\n"
        phone.pair_with(text, "anna")
        rest = pairing.communicate(timeout=30)[0]
        listener = f"In the app add a listener first: Host 127.0.0.1, Port {daemon.port}, exactly so."
        assert rest.startswith(f"{listener}\nTime left: ") and rest.endswith("paired: anna from 127.0.0.1\n")
        assert text not in rest and pairing.returncode == 0


def test_the_link_can_be_copied_and_nothing_else_is_on_standard_output(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    with Daemon(folder) as daemon:
        pairing = subprocess.Popen(
            command("--data-dir", folder, "pair", "--link"),
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert pairing.stdout is not None
        link = pairing.stdout.readline().strip()
        assert link == daemon.uri()
        phone.pair_with(link, "anna")
        out, err = pairing.communicate(timeout=30)
        assert out == "paired: anna from 127.0.0.1\n" and pairing.returncode == 0
        assert err == f"In the app add a listener first: Host 127.0.0.1, Port {daemon.port}, exactly so.\n"


def test_a_blob_is_a_device_that_can_send_and_obeys_the_rules_of_windows(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    with Daemon(folder, advertise_host="FD00::00AB") as daemon:
        done = run("--data-dir", folder, "pair", "--blob")
        assert done.returncode == 0, done.stderr
        blob = json.loads(done.stdout)
        assert list(blob) == ["v", "device_id", "device_key_hex", "server_addr", "server_kyber768_pub"]
        assert blob["v"] == 3 and blob["server_addr"] == f"[fd00::ab]:{daemon.port}"
        public = base64.b64decode(blob["server_kyber768_pub"], validate=True)
        key = Secret(bytes.fromhex(blob["device_key_hex"]))
        made = phone.Profile(daemon.host, daemon.port, blob["device_id"], key, public)
        assert say(made, MessageType.ARM).outcome.success
        assert f"devices revoke -- {blob['device_id']}" in done.stderr
        assert blob["device_key_hex"] not in daemon.log() + done.stderr
        again = run("--data-dir", folder, "pair", "--blob")
        assert again.returncode == 1 and "a phone is paired already" in again.stderr
        assert again.stdout == ""


def test_pair_for_scripts_is_a_line_an_event_and_one_can_pipe_it_to_a_phone(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    with Daemon(folder) as daemon:
        daemon.pair("anna")
        pairing = subprocess.Popen(
            command("--data-dir", folder, "pair", "--add", "--json"),
            env=clean_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert pairing.stdout is not None
        window = json.loads(pairing.stdout.readline())
        assert (window["event"], window["attempts_left"]) == ("window", 3)
        done = run("--data-dir", folder, "phone", "pair", "--device-id", "berta", input=window["uri"])
        assert done.returncode == 0, done.stderr
        told = json.loads(pairing.communicate(timeout=30)[0])
        assert (told["paired"], told["from"], told["again"]) == ("berta", "127.0.0.1", False)
        assert [row["id"] for row in told["others"]] == ["anna"]
        assert say(phone.load_profile(folder / "phone.json"), MessageType.ARM).outcome.success


STARTS = (
    [],
    ["serve"],
    ["--data-dir", "d"],
    ["--config", "c", "--data-dir", "d", "serve"],
    ["--config", "a b"],
    ["serve", "--yes"],
    ["--data-dir=d"],
    ["status"],
    ["--data-dir", "d", "status"],
    ["--data", "d"],
    ["--config", "c", "config", "show"],
)


@pytest.mark.parametrize("argv", STARTS, ids=" ".join)
def test_a_plain_start_means_the_same_as_to_the_whole_command_line(argv: list[str]) -> None:
    found, expected = vars(cli.parse(argv)), vars(parser.parser().parse_args(argv))
    names = {"run", "config", "data_dir", "yes"} & expected.keys()
    assert {name: found[name] for name in names} == {name: expected[name] for name in names}


@pytest.mark.parametrize("argv", [["--data-dir"], ["--config", "--data-dir", "d"], ["--confi"], ["sreve"]])
def test_what_is_no_plain_start_is_refused_as_ever(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        cli.parse(argv)
    assert refused.value.code == 2
