"""The owner's commands against real folders: status, doctor, reset, import, rotation."""

from __future__ import annotations

import base64
import json
import os
import pty
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from daemonbench import Daemon, arm_and_approve, clean_environment, command, run, say

from novakey.devices import sealed
from novakey.phone import Profile
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
def test_doctor_names_what_is_spoiled_and_how_to_mend_it(tmp_path: Path, spoiled: str) -> None:
    with Daemon(tmp_path / "d") as daemon:
        daemon.pair()
    (tmp_path / "d" / spoiled).chmod(0o644)
    done = run("--data-dir", tmp_path / "d", "doctor")
    assert done.returncode == 1
    assert f"chmod 600 {tmp_path}/d/{spoiled}" in done.stdout


def test_reset_asks_for_the_word_and_does_nothing_without_it(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        daemon.pair()
    before = sorted((tmp_path / "d").iterdir())
    done = run("--data-dir", tmp_path / "d", "reset", stdin=subprocess.DEVNULL)
    assert done.returncode == 1 and "type reset" in done.stderr
    assert sorted((tmp_path / "d").iterdir()) == before
    for answer, code in (("no", 1), ("reset", 0)):
        assert on_a_terminal(answer, "--data-dir", tmp_path / "d", "reset") == code
    left = {path.name for path in (tmp_path / "d").iterdir()}
    assert not {"devices.json", "server_keys.json", "sealing.key", "pairing.json"} & left


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
        done = run("--data-dir", tmp_path / "d", "reset", "--yes")
        assert done.returncode == 1 and "another daemon" in done.stderr
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
    from novakey.config import Settings
    from novakey.devices.store import Device, DeviceStore
    from novakey.pairing.handshake import Handshake, HandshakeError
    from novakey.pairing.state import Pairing, Record
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
            on_paired=lambda device: None,
            on_change=lambda: None,
        )
        token, now = Secret(bytes(16)), int(time.time())
        pairing.open_window(token, now, 600, 3)
        pairing.hello(token, now)
        registration = pair.Registration("phone-1", Secret(b"\1" * 32))
        if rotate:
            assert handshake._store(registration, token, "127.0.0.1").key == registration.device_key
            assert devices.get("phone-1").key == registration.device_key  # type: ignore[union-attr]
        else:
            with pytest.raises(HandshakeError, match="already paired"):
                handshake._store(registration, token, "127.0.0.1")
            assert devices.get("phone-1") == old


@pytest.fixture
def other_daemon(tmp_path: Path) -> tuple[Path, Profile]:
    """A folder as the existing daemon leaves it, and the profile of its phone."""
    mlkem = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.mlkem")
    folder = tmp_path / "other"
    folder.mkdir()
    seed, device_key = secrets.token_bytes(64), Secret(secrets.token_bytes(32))
    public = mlkem.MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()
    keys = {
        "kyber768_public": base64.b64encode(public).decode(),
        "kyber768_secret": base64.b64encode(seed).decode(),
    }
    (folder / "server_keys.json").write_text(json.dumps(keys, indent=2))
    devices = {"devices": [{"id": "ios-old", "key_hex": device_key.reveal().hex()}]}
    (folder / "devices.json").write_text(json.dumps(devices, indent=2))
    (folder / "server_config.yaml").write_text(
        "listen_addr: 127.0.0.1:0\nmax_inject_len: 99\nallow_newlines: true\nlog_dir: ./logs\n"
    )
    return folder, Profile("127.0.0.1", 0, "ios-old", device_key, public)


def snapshot(folder: Path) -> dict[str, tuple[bytes, float]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime) for path in folder.iterdir()}


def serves_the_old_phone(
    folder: Path, profile: Profile, env: dict[str, str] | None = None, **settings: Any
) -> None:
    with Daemon(folder, env=env, **settings) as daemon:
        phone = daemon.at(profile)
        arm_and_approve(phone)
        reply = say(phone, MessageType.INJECT, b"x")
        assert (reply.outcome, reply.stage) == (Outcome.INTERNAL_ERROR, "inject"), (
            "only the display is missing"
        )
        assert not (folder / "novakey-pair.png").exists()


def test_import_takes_over_a_plain_store_and_its_phone_goes_on(
    tmp_path: Path, other_daemon: tuple[Path, Profile]
) -> None:
    source, profile = other_daemon
    before = snapshot(source)
    done = run("--data-dir", tmp_path / "d", "import", source)
    assert done.returncode == 0, done.stderr
    assert "imported: 1" in done.stdout
    assert snapshot(source) == before
    shown = json.loads(run("--data-dir", tmp_path / "d", "config", "show", "--json").stdout)
    assert shown["max_inject_len"]["value"] == 99 and shown["allow_newlines"]["value"] is True
    (tmp_path / "d" / "novakey.yaml").unlink()
    assert profile.device_key.reveal().hex().encode() not in b"".join(
        path.read_bytes() for path in (tmp_path / "d").iterdir() if path.is_file()
    )
    serves_the_old_phone(tmp_path / "d", profile)


def test_import_takes_over_a_store_sealed_under_the_keyring(
    tmp_path: Path, other_daemon: tuple[Path, Profile]
) -> None:
    from secretservice import SecretService

    source, profile = other_daemon
    key = Secret(secrets.token_bytes(32))
    document = json.loads((source / "devices.json").read_text())
    sealed.write(source / "devices.json", key, sealed.DEVICES_LABEL, document)
    with SecretService() as service:
        service.unlock()
        env = {**clean_environment(), **service.env}
        subprocess.run(
            [
                sys.executable,
                "-c",
                "import keyring, sys; keyring.set_password('novakey', 'devices-key', input())",
            ],
            input=base64.b64encode(key.reveal()).decode(),
            env=env,
            text=True,
            check=True,
        )
        done = run("--data-dir", tmp_path / "d", "import", source, env=service.env)
        assert done.returncode == 0, done.stderr
    (tmp_path / "d" / "novakey.yaml").unlink()
    serves_the_old_phone(tmp_path / "d", profile)


def test_import_refuses_where_devices_are_and_writes_nothing(
    tmp_path: Path, other_daemon: tuple[Path, Profile]
) -> None:
    with Daemon(tmp_path / "d") as daemon:
        daemon.pair()
    before = snapshot(tmp_path / "d" / "logs"), (tmp_path / "d" / "devices.json").read_bytes()
    done = run("--data-dir", tmp_path / "d", "import", other_daemon[0])
    assert done.returncode == 1 and "already" in done.stderr and "reset" in done.stderr
    assert (snapshot(tmp_path / "d" / "logs"), (tmp_path / "d" / "devices.json").read_bytes()) == before


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("server_keys.json", "{}", 3),
        ("server_keys.json", '{"kyber768_public":"AAAA","kyber768_secret":"AAAA"}', 3),
        ("server_keys.json", None, 3),
        ("devices.json", None, 3),
        ("devices.json", "[]", 3),
        ("devices.json", '{"devices":[]}', 1),
        ("server_config.yaml", "listen_port: 1\nmax_inject_len: x\n", 2),
    ],
)
def test_import_of_a_spoiled_folder_says_what_is_wrong_and_writes_nothing(
    tmp_path: Path, other_daemon: tuple[Path, Profile], name: str, content: str | None, code: int
) -> None:
    path = other_daemon[0] / name
    path.unlink() if content is None else path.write_text(content)
    done = run("--data-dir", tmp_path / "d", "import", other_daemon[0])
    assert done.returncode == code, done.stderr
    assert name in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "d").exists() or not [p for p in (tmp_path / "d").iterdir() if p.suffix == ".json"]
