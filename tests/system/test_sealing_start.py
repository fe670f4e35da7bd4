"""Which backend seals the store, over starts that crash or fail in between, and that it never gets weaker."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.daemon import Daemon, run, say

from novakey.config.settings import Settings
from novakey.daemon.startup import open_installation
from novakey.devices.sealing.keyfile import KeyFile
from novakey.devices.store import Device
from novakey.errors import StoreError
from novakey.pairing import record
from novakey.pairing.state import State
from novakey.secret import Secret
from novakey.system import files
from novakey.system.paths import Paths
from novakey.wire import crypto
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

TOKEN, NOW = Secret(bytes(16)), 1_800_000_000


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths.under(tmp_path / "d")


@pytest.fixture
def passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return a stronger backend that works anywhere."""
    secret = tmp_path / "passphrase"
    files.replace_private(secret, b"correct horse battery\n")
    monkeypatch.setenv("NOVAKEY_PASSPHRASE_FILE", str(secret))
    return Settings(device_store="passphrase")


def pair(paths: Paths, settings: Settings, crash: bool = False) -> None:
    """Return a first device, as the daemon stores it; `crash`: it dies before it can write that down."""
    installation = open_installation(paths, settings)
    installation.pairing.open_window(TOKEN, NOW, 600, 3)
    installation.pairing.hello(TOKEN, NOW)
    installation.devices.add(
        Device("phone-1", Secret(bytes(32))), crypto.fingerprint(installation.server.public)
    )
    if not crash:
        installation.pairing.registered(NOW, "phone-1", 1)


def test_a_crash_between_a_fallback_s_device_and_its_record_leaves_the_device_whole(paths: Paths) -> None:
    """The keyring does not work here (there is no bus), so keyfile seals; the next start must look there."""
    loose = Settings(device_store="keyring", require_sealed_device_store=False, keyring_timeout_s=5)
    pair(paths, loose, crash=True)
    installation = open_installation(paths, loose)
    assert installation.pairing.state is State.PAIRED and len(installation.devices) == 1
    known = record.load(paths.pairing)
    assert (known.backend, known.fallback, known.device_stored) == ("keyfile", True, True)


def test_a_fallback_that_the_owner_allows_is_not_counted_as_a_failure(paths: Paths) -> None:
    strict = Settings(device_store="keyring", keyring_timeout_s=5)
    for _ in range(2):
        open_installation(paths, strict)
    assert record.load(paths.pairing).sealing_failures == 2
    loose = Settings(device_store="keyring", require_sealed_device_store=False, keyring_timeout_s=5)
    installation = open_installation(paths, loose)
    assert installation.can_pair and installation.pairing.state is State.UNPAIRED
    assert not record.load(paths.pairing).locked


def test_a_store_that_was_removed_does_not_let_a_weaker_backend_in_until_a_reset(tmp_path: Path) -> None:
    folder, secret = tmp_path / "d", tmp_path / "passphrase"
    files.replace_private(secret, b"correct horse battery\n")
    env = {"NOVAKEY_PASSPHRASE_FILE": str(secret)}
    with Daemon(folder, env=env, device_store="passphrase") as daemon:
        daemon.pair()
    (folder / "devices.json").unlink()
    done = run("--data-dir", folder, env={**env, "NOVAKEY_DEVICE_STORE": "keyfile"})
    assert done.returncode == 3, done.stderr
    assert "devices are stored under passphrase, and the weaker keyfile is refused" in done.stderr
    assert not (folder / "sealing.key").exists()
    with Daemon(folder, env=env, device_store="passphrase") as daemon:  # with the same one all pair again
        assert say(daemon.pair("again"), MessageType.ARM).outcome is Outcome.OK
    assert run("--data-dir", folder, "reset", "--yes", env=env).returncode == 0
    with Daemon(folder) as daemon:
        assert say(daemon.pair(), MessageType.ARM).outcome is Outcome.OK


def test_a_weaker_copy_that_could_not_be_removed_goes_at_the_next_start(
    paths: Paths, passphrase: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: KeyFile) -> None:
        raise StoreError("the disk failed")

    pair(paths, Settings())
    with monkeypatch.context() as broken:
        broken.setattr(KeyFile, "delete", fails)
        open_installation(paths, passphrase)
    known = record.load(paths.pairing)
    assert (known.backend, known.left_behind) == ("passphrase", "keyfile")
    assert paths.sealing_key.exists()
    assert len(open_installation(paths, passphrase).devices) == 1
    assert not paths.sealing_key.exists()
    assert record.load(paths.pairing).left_behind == ""
    with pytest.raises(StoreError, match="weaker keyfile is refused"):
        open_installation(paths, Settings())


def test_a_failed_move_leaves_the_key_where_it_was(
    paths: Paths, passphrase: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair(paths, Settings())
    monkeypatch.setenv("NOVAKEY_PASSPHRASE_FILE", "/nonexistent")
    with pytest.raises(StoreError):
        open_installation(paths, passphrase)
    assert len(open_installation(paths, Settings()).devices) == 1


def test_rotation_asks_before_it_drops_devices_and_not_under_a_weaker_backend(
    paths: Paths, passphrase: Settings
) -> None:
    pair(paths, passphrase)
    asked: list[str] = []

    def agree(question: str) -> bool:
        asked.append(question)
        return True

    with pytest.raises(StoreError, match="weaker"):
        open_installation(paths, Settings(rotate_kyber_keys=True), agree)
    assert asked == [] and len(open_installation(paths, passphrase).devices) == 1
    rotating = Settings(device_store="passphrase", rotate_kyber_keys=True)
    before = open_installation(paths, passphrase).server.public
    installation = open_installation(paths, rotating, agree)
    assert len(asked) == 1 and "1 paired device must pair again" in asked[0]
    assert len(installation.devices) == 0 and installation.server.public != before
