"""Coming from the existing daemon: its phones arm, approve and send without pairing again."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import secret_service
from support.daemon import Daemon, arm_and_approve, run, say
from support.other_daemon import Other
from support.secret_service import SecretService
from support.x11 import RecordingXterm, XServer, differs

from novakey.config.settings import Settings
from novakey.daemon import import_legacy
from novakey.secret import Secret
from novakey.system.paths import Paths
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

SETTINGS = {"listen_addr": "127.0.0.1:0", "max_inject_len": 99, "allow_newlines": True, "log_dir": "./logs"}


@pytest.fixture
def other(tmp_path: Path) -> Other:
    return Other.make(tmp_path / "other", SETTINGS)


@pytest.fixture(scope="module")
def screen() -> Iterator[tuple[XServer, RecordingXterm]]:
    with XServer() as server:
        server.layout("us")
        with RecordingXterm(server) as window:
            yield server, window


@pytest.fixture
def keyring(other: Other) -> Iterator[SecretService]:
    """Return a real keyring that holds the other daemon's key, as that daemon put it there."""
    if secret_service.missing():
        pytest.skip(f"needs {secret_service.missing()}")
    with SecretService() as service:
        service.unlock()
        other.put_key(service)
        yield service


def snapshot(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode)
        for path in folder.rglob("*")
        if path.is_file()
    }


def imports(other: Other, folder: Path, env: dict[str, str] | None = None) -> None:
    """Import, which only reads the other folder, keeps no secret in the clear and takes the settings over."""
    before = snapshot(other.folder)
    done = run("--data-dir", folder, "import", other.folder, env=env)
    assert done.returncode == 0, done.stderr
    assert f"imported from {other.folder}: 2 devices" in done.stdout
    assert snapshot(other.folder) == before
    shown = json.loads(run("--data-dir", folder, "config", "show", "--json").stdout)
    assert shown["max_inject_len"]["value"] == 99 and shown["allow_newlines"]["value"] is True
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for phone in other.phones:
        key = phone.device_key.reveal()
        for form in (key, key.hex().encode(), base64.b64encode(key)):
            assert (form in written) is False, "a device key lies there in the clear"
    (folder / "novakey.yaml").unlink()  # the bench writes its own


def the_phones_go_on(
    other: Other, folder: Path, screen: tuple[XServer, RecordingXterm], env: dict[str, str] | None = None
) -> None:
    """Arm, approve and send into a real window with a phone of the old key material."""
    server, window = screen
    env = {**(env or {}), "DISPLAY": server.env["DISPLAY"]}
    for _ in range(2):  # and after a restart
        with Daemon(folder, env=env, desktop_backend="auto") as daemon:
            assert not (folder / "novakey-pair.png").exists()
            for number, phone in enumerate(map(daemon.at, other.phones)):
                arm_and_approve(phone)
                window.clear()
                secret = f"sent by {number}"
                reply = say(phone, MessageType.INJECT, secret.encode())
                assert reply.outcome is Outcome.TYPED, reply.msg
                assert differs(window.wait_for(secret), secret) is None


@pytest.mark.parametrize("configuration", ["yaml", pytest.param("json", marks=pytest.mark.long)])
@pytest.mark.parametrize("variant", [pytest.param("plain", marks=pytest.mark.long), "sealed"])
def test_the_phones_of_the_existing_daemon_arm_approve_and_send(
    tmp_path: Path,
    other: Other,
    screen: tuple[XServer, RecordingXterm],
    request: pytest.FixtureRequest,
    variant: str,
    configuration: str,
) -> None:
    env = None
    if variant == "sealed":
        other.seal_devices()
        env = request.getfixturevalue("keyring").env
    if configuration == "json":
        other.use_json()
    imports(other, tmp_path / "d", env)
    the_phones_go_on(other, tmp_path / "d", screen)


def test_a_sealed_store_without_its_keyring_is_refused(tmp_path: Path, other: Other) -> None:
    other.seal_devices()
    before = snapshot(other.folder)
    done = run("--data-dir", tmp_path / "d", "import", other.folder)
    assert done.returncode == 3 and "keyring" in done.stderr, done.stderr
    assert snapshot(other.folder) == before
    assert not list((tmp_path / "d").glob("*.json"))


def test_an_import_lifts_no_lock_and_its_phones_are_served_under_it(tmp_path: Path, other: Other) -> None:
    from novakey.pairing import record
    from novakey.pairing.model import Record

    folder = tmp_path / "d"
    folder.mkdir(mode=0o700)
    record.save(folder / "pairing.json", Record(interrupted=5, locked="5 pairing windows were interrupted"))
    imports(other, folder)
    with Daemon(folder) as daemon:
        daemon.wait_for_log("pairing is locked")
        assert say(daemon.at(other.phones[0]), MessageType.ARM).outcome is Outcome.OK


def test_import_refuses_where_devices_are_and_writes_nothing(tmp_path: Path, other: Other) -> None:
    with Daemon(tmp_path / "d") as daemon:
        daemon.pair()
    before = snapshot(tmp_path / "d" / "logs"), (tmp_path / "d" / "devices.json").read_bytes()
    done = run("--data-dir", tmp_path / "d", "import", other.folder)
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
        ("server_config.yaml", "listen_port: [1\n", 2),
        ("server_config.yaml", "denied_process_names: [1]\n", 2),
    ],
)
def test_import_of_a_spoiled_folder_says_what_is_wrong_and_writes_nothing(
    tmp_path: Path, other: Other, name: str, content: str | None, code: int
) -> None:
    path = other.folder / name
    path.unlink() if content is None else path.write_text(content)
    done = run("--data-dir", tmp_path / "d", "import", other.folder)
    assert done.returncode == code, done.stderr
    assert name in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "d").exists() or not [p for p in (tmp_path / "d").iterdir() if p.suffix == ".json"]


def test_a_key_of_the_other_daemon_that_is_none_is_named_and_no_reset_is_advised(
    tmp_path: Path, other: Other, keyring: SecretService
) -> None:
    other.key = Secret(b"short")
    other.put_key(keyring)
    other.key = Secret(bytes(32))
    other.seal_devices()
    done = run("--data-dir", tmp_path / "d", "import", other.folder, env=keyring.env)
    assert done.returncode == 3 and "is not a sealing key" in done.stderr and "reset" not in done.stderr


@pytest.mark.parametrize(
    ("platform", "folder"),
    [
        ("darwin", "Library/Application Support/NovaKey"),
        ("win32", "AppData/Local/NovaKey"),
        ("linux", ".local/share/novakey"),
    ],
)
def test_its_folder_is_looked_for_where_its_packages_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, folder: str
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "AppData/Local"))
    made = Other.make(tmp_path / folder).folder
    assert import_legacy.find(Paths.under(tmp_path / "ours")) == made


def test_a_configuration_beside_the_data_is_found(tmp_path: Path) -> None:
    made = Other.make(tmp_path / "data").folder
    (tmp_path / "config").mkdir()
    (made / "server_config.yaml").rename(tmp_path / "config" / "server_config.yaml")
    adopted = import_legacy.read(made, Settings()).adopted
    assert adopted is not None and adopted.values["target_policy_enabled"] is True
