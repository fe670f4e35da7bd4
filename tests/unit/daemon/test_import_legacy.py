"""Coming from the existing daemon: its phones arm, approve and send without pairing again."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as seal
from support import secret_service
from support.daemon import Daemon, arm_and_approve, clean_environment, run, say
from support.secret_service import SecretService
from support.x11 import RecordingXterm, XServer, differs

from novakey.phone import Profile
from novakey.secret import Secret
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

SETTINGS = {"listen_addr": "127.0.0.1:0", "max_inject_len": 99, "allow_newlines": True, "log_dir": "./logs"}
# Ids of up to 255 bytes occur in the field.
LONG_ID = "ä" * 127 + "x"


@dataclass
class Other:
    """A folder as the existing daemon leaves it, what only its phones know, and its keyring's key."""

    folder: Path
    phones: list[Profile]
    key: Secret

    def seal_devices(self) -> None:
        """Its sealed variant of the device store."""
        nonce = secrets.token_bytes(24)
        plain = (self.folder / "devices.json").read_bytes()
        ciphertext = seal(plain, b"NovaKey devices v1", nonce, self.key.reveal())
        members = {
            "v": 1,
            "alg": "xchacha20poly1305",
            "nonce_b64": base64.b64encode(nonce).decode(),
            "ct_b64": base64.b64encode(ciphertext).decode(),
        }
        (self.folder / "devices.json").write_text(json.dumps(members))

    def use_json(self) -> None:
        """Its configuration as JSON."""
        (self.folder / "server_config.yaml").unlink()
        (self.folder / "server_config.json").write_text(json.dumps(SETTINGS, indent=2))


@pytest.fixture
def other(tmp_path: Path) -> Other:
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

    folder = tmp_path / "other"
    folder.mkdir()
    seed = secrets.token_bytes(64)
    public = MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()
    keys = {
        "kyber768_public": base64.b64encode(public).decode(),
        "kyber768_secret": base64.b64encode(seed).decode(),
    }
    (folder / "server_keys.json").write_text(json.dumps(keys, indent=2))
    phones = [
        Profile("127.0.0.1", 0, name, Secret(secrets.token_bytes(32)), public)
        for name in ("ios-old", LONG_ID)
    ]
    rows = [{"id": phone.device_id, "key_hex": phone.device_key.reveal().hex()} for phone in phones]
    (folder / "devices.json").write_text(json.dumps({"devices": rows}, indent=2))
    lines = [f"{name}: {json.dumps(value)}" for name, value in SETTINGS.items()]
    (folder / "server_config.yaml").write_text("\n".join(lines) + "\n")
    return Other(folder, phones, Secret(secrets.token_bytes(32)))


@pytest.fixture(scope="module")
def screen() -> Iterator[tuple[XServer, RecordingXterm]]:
    with XServer() as server:
        server.layout("us")
        with RecordingXterm(server) as window:
            yield server, window


@pytest.fixture
def keyring(other: Other) -> Iterator[SecretService]:
    """A real keyring that holds the other daemon's key, as that daemon put it there."""
    if secret_service.missing():
        pytest.skip(f"needs {secret_service.missing()}")
    put = "import keyring; keyring.set_password('novakey', 'devices-key', input())"
    with SecretService() as service:
        service.unlock()
        env = {**clean_environment(), **service.env}
        key = base64.b64encode(other.key.reveal()).decode()
        subprocess.run([sys.executable, "-c", put], input=key, env=env, text=True, check=True)
        yield service


def snapshot(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode)
        for path in folder.iterdir()
    }


def imports(other: Other, folder: Path, env: dict[str, str] | None = None) -> None:
    """Import, which only reads the other folder, keeps no secret in the clear and takes the settings over."""
    before = snapshot(other.folder)
    done = run("--data-dir", folder, "import", other.folder, env=env)
    assert done.returncode == 0, done.stderr
    assert "imported: 2" in done.stdout
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
    """A phone that knows only the old key material arms, approves and sends into a real window."""
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


@pytest.mark.parametrize("configuration", ["yaml", "json"])
@pytest.mark.parametrize("variant", ["plain", "sealed"])
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
    from novakey.pairing.state import Record

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
        ("server_config.yaml", "listen_port: 1\nmax_inject_len: x\n", 2),
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
