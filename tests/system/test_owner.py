"""The owner's commands against real folders: status, doctor, reset, import, rotation."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from support.daemon import Daemon, clean_environment, command, run, say
from support.handler import Heard

from novakey.secret import Secret
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

LOCKED = {
    "v": 1,
    "interrupted": 5,
    "handshake_running": False,
    "devices_before": 0,
    "sealing_failures": 0,
    "locked": "5 pairing windows were interrupted",
    "backend": "",
    "fallback": False,
    "device_stored": False,
    "left_behind": "",
}


def lock(folder: Path) -> None:
    (folder / "pairing.json").write_text(json.dumps(LOCKED))
    (folder / "pairing.json").chmod(0o600)


def status(folder: Path) -> tuple[int, dict[str, Any]]:
    done = run("--data-dir", folder, "status", "--json")
    return done.returncode, json.loads(done.stdout)


def test_status_follows_pairing_through_its_states(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir(mode=0o700)
    code, now = status(folder)
    assert (code, now["running"], now["pairing"], now["devices"]) == (1, False, "unpaired", 0)
    with Daemon(folder) as daemon:
        daemon.uri()
        code, now = status(folder)
        assert (code, now["pid"], now["pairing"]) == (0, daemon.process.pid, "window open")
        daemon.pair()
        code, now = status(folder)
        assert (code, now["pairing"], now["devices"]) == (0, "paired", 1)
    assert status(folder)[0] == 1


def test_a_lock_is_named_with_its_reason_and_its_way_out(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d"):
        pass
    lock(tmp_path / "d")
    _, now = status(tmp_path / "d")
    assert now["pairing"] == "locked" and "5 pairing windows" in now["reason"] and "reset" in now["way_out"]
    done = run("--data-dir", tmp_path / "d", "doctor")
    assert done.returncode == 1
    assert "FAIL pairing: locked: 5 pairing windows were interrupted" in done.stdout
    assert "novakey.py reset" in done.stdout


def test_doctor_is_content_with_a_good_installation_and_changes_nothing(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        daemon.pair()
    before = {path: path.read_bytes() for path in (tmp_path / "d").iterdir() if path.is_file()}
    done = run("--data-dir", tmp_path / "d", "doctor")
    assert done.returncode == 0, done.stdout
    assert "FAIL" not in done.stdout and "1 paired" in done.stdout
    assert {path: path.read_bytes() for path in (tmp_path / "d").iterdir() if path.is_file()} == before


@pytest.mark.parametrize("spoiled", ["devices.json", "server_keys.json", "sealing.key", "pairing.json"])
def test_doctor_names_what_is_spoiled_and_how_to_repair_it(tmp_path: Path, spoiled: str) -> None:
    with Daemon(tmp_path / "d") as daemon:
        daemon.pair()
    (tmp_path / "d" / spoiled).chmod(0o644)
    done = run("--data-dir", tmp_path / "d", "doctor")
    assert done.returncode == 1
    assert f"chmod 600 {tmp_path}/d/{spoiled}" in done.stdout


def test_reset_asks_for_the_word_and_does_nothing_without_it(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        daemon.pair().save(tmp_path / "d" / "phone.json")
    before = sorted((tmp_path / "d").iterdir())
    done = run("--data-dir", tmp_path / "d", "reset", stdin=subprocess.DEVNULL)
    assert done.returncode == 1 and "type reset" in done.stderr
    assert sorted((tmp_path / "d").iterdir()) == before
    for answer, code in (("no", 1), ("reset", 0)):
        assert on_a_terminal(answer, "--data-dir", tmp_path / "d", "reset") == code
    left = {path.name for path in (tmp_path / "d").iterdir()}
    assert not {"devices.json", "server_keys.json", "sealing.key", "pairing.json", "phone.json"} & left


def on_a_terminal(answer: str, *words: str | Path) -> int:
    """Run a command whose standard input is a terminal, and answer its question."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            command(*words),
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=clean_environment(),
        )
        os.write(ours, f"{answer}\n".encode())
        process.communicate(timeout=30)
        return process.returncode
    finally:
        os.close(ours)
        os.close(theirs)


def test_reset_refuses_while_the_daemon_runs(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        profile = daemon.pair()
        done = run("--data-dir", tmp_path / "d", "reset", stdin=subprocess.DEVNULL)
        told = f"novakey: the daemon runs as process {daemon.process.pid}, so nothing is removed\n"
        assert (done.returncode, done.stderr) == (1, f"{told}stop it first: kill {daemon.process.pid}\n")
        assert say(profile, MessageType.ARM).outcome is Outcome.OK


def test_only_reset_lifts_a_lock(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d"):
        pass
    lock(tmp_path / "d")
    for name in ("devices.json", "server_keys.json"):
        (tmp_path / "d" / name).unlink(missing_ok=True)
    with Daemon(tmp_path / "d") as daemon:
        daemon.wait_for_log("pairing is locked")
        assert not (tmp_path / "d" / "novakey-pair.png").exists()
    assert run("--data-dir", tmp_path / "d", "reset", "--yes").returncode == 0
    with Daemon(tmp_path / "d") as daemon:
        assert daemon.pair().device_id == "phone-1"


@pytest.mark.parametrize("spoil", ["wider rights", "damaged", "links"])
def test_reset_works_on_a_spoiled_installation(tmp_path: Path, spoil: str) -> None:
    folder = tmp_path / "d"
    with Daemon(folder) as daemon:
        daemon.pair()
    for name in ("devices.json", "server_keys.json", "pairing.json", "sealing.key"):
        path = folder / name
        match spoil:
            case "wider rights":
                path.chmod(0o666)
            case "damaged":
                path.write_bytes(b"?")
            case "links":
                path.rename(tmp_path / name)
                path.symlink_to(tmp_path / name)
    assert run("--data-dir", folder, "reset", "--yes").returncode == 0
    with Daemon(folder) as daemon:
        assert daemon.pair().device_id == "phone-1"
    if spoil == "links":
        assert (tmp_path / "devices.json").exists(), "the link went, not what it pointed to"


def test_rotation_drops_devices_only_with_consent(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    with Daemon(folder) as daemon:
        profile = daemon.pair()
    with Daemon(folder, rotate_kyber_keys=True) as daemon:
        daemon.wait_for_log("the server keys are not rotated")
        assert say(daemon.at(profile), MessageType.ARM).outcome is Outcome.OK
    with Daemon(folder, arguments=("serve", "--yes"), rotate_kyber_keys=True) as daemon:
        daemon.wait_for_log("must pair again")
        assert say(daemon.at(profile), MessageType.ARM).outcome is Outcome.NOT_PAIRED
        again = daemon.pair("again")
        assert again.public != profile.public


def test_an_id_that_is_paired_is_not_taken_over_unless_the_setting_says_so(tmp_path: Path) -> None:
    """`rotate_device_psk_on_repair` matters where a window opens beside devices; the handshake decides."""
    from novakey.config.settings import Settings
    from novakey.devices.store import Device, DeviceStore
    from novakey.pairing.clock import WindowClock
    from novakey.pairing.handshake import Handshake
    from novakey.pairing.model import Record
    from novakey.pairing.refusal import RefusedPhoneError
    from novakey.pairing.state import Pairing
    from novakey.wire import crypto, pair

    for rotate in (False, True):
        old = Device("phone-1", Secret(bytes(32)))
        devices = DeviceStore(tmp_path / f"{rotate}.json", Secret(bytes(32)), {old.id: old}, None)
        pairing = Pairing(Record(), True, 5, lambda record: None)
        handshake = Handshake(
            Settings(rotate_device_psk_on_repair=rotate),
            pairing,
            devices,
            crypto.ExpandedKey.generate(),
            Heard(),
            WindowClock(),
        )
        token, now = Secret(bytes(16)), int(time.time())
        pairing.open_window(token, now, 600, 3)
        pairing.hello(token, now)
        registration = pair.Registration("phone-1", Secret(b"\1" * 32))
        if rotate:
            device, again = handshake._store(registration, token, "127.0.0.1")
            assert again and device.key == registration.device_key
            assert devices.get("phone-1").key == registration.device_key  # type: ignore[union-attr]
        else:
            with pytest.raises(RefusedPhoneError, match="is paired already"):
                handshake._store(registration, token, "127.0.0.1")
            assert devices.get("phone-1") == old


def test_reset_does_not_need_a_keyring_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from novakey.config.settings import Settings
    from novakey.daemon import reset
    from novakey.pairing import record
    from novakey.pairing.model import Record
    from novakey.system.paths import Paths

    paths = Paths.under(tmp_path)
    paths.prepare()
    record.save(paths.pairing, Record(locked="storage failed"))
    monkeypatch.setattr(reset, "find_spec", lambda name: None)
    reset.reset(paths, Settings(device_store="keyring"))
    assert not paths.pairing.exists(), "the lock is lifted"


def test_config_check_without_a_file_names_the_variables_that_are_in_force(tmp_path: Path) -> None:
    done = run("--data-dir", tmp_path, "config", "check", env={"NOVAKEY_ARM_DURATION_MS": "5000"})
    assert done.returncode == 0
    assert done.stdout.endswith("so the defaults are in force, but for NOVAKEY_ARM_DURATION_MS\n")
