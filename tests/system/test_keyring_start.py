"""The daemon over a real Secret Service: what each failure leads to, and what three in a row do."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
from support.daemon import Daemon, run, say
from support.secret_service import SecretService, missing

from novakey.pairing import record
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"needs {missing()}")
KEYRING = {"device_store": "keyring", "keyring_timeout_s": 3}


def test_an_unlocked_keyring_holds_the_key_and_phones_work_over_restarts(tmp_path: Path) -> None:
    with SecretService() as service:
        service.unlock()
        with Daemon(tmp_path / "d", env=service.env, **KEYRING) as daemon:
            profile = daemon.pair()
        assert not (tmp_path / "d" / "sealing.key").exists()
        with Daemon(tmp_path / "d", env=service.env, **KEYRING) as daemon:
            assert say(daemon.at(profile), MessageType.ARM).outcome is Outcome.OK
        done = run("--data-dir", tmp_path / "d", env={**service.env, "NOVAKEY_DEVICE_STORE": "keyfile"})
        assert done.returncode == 3 and "weaker keyfile is refused" in done.stderr
    # The same folder with no keyring at all: devices exist, so nothing is replaced.
    done = run("--data-dir", tmp_path / "d")
    assert done.returncode == 3 and "keyring" in done.stderr
    assert (tmp_path / "d" / "devices.json").exists()


def test_three_failures_in_a_row_lock_and_reset_unlocks(tmp_path: Path) -> None:
    with SecretService() as service:
        service.unlock()
        service.stop()
        service.locked()
        for count in (1, 2, 3):
            with Daemon(tmp_path / "d", env=service.env, **KEYRING) as daemon:
                daemon.wait_for_log("secure storage (keyring) failed")
                assert not (tmp_path / "d" / "novakey-pair.png").exists()
            assert ("pairing is locked: secure storage failed 3 times" in daemon.log()) is (count == 3)
        service.stop()
        service.unlock()
        with Daemon(tmp_path / "d", env=service.env, **KEYRING) as daemon:
            daemon.wait_for_log("pairing is locked")
        assert run("--data-dir", tmp_path / "d", "reset", "--yes", env=service.env).returncode == 0
        with Daemon(tmp_path / "d", env=service.env, **KEYRING) as daemon:
            assert daemon.pair().device_id == "phone-1"


def locked(service: SecretService) -> None:
    """Start it without the password, and without a prompt."""
    service.locked()


def dismissed(service: SecretService) -> None:
    """Somebody is asked, and says no."""
    service.locked()
    service.prompter("dismiss")


def killed(service: SecretService) -> None:
    """Let it hear the question and die before it answers."""
    service.unlock()
    service.signal(signal.SIGSTOP)
    gevent.spawn(service.kill_while_asked)


def gone(service: SecretService) -> None:
    """No bus at all: what the environment says leads nowhere."""
    service.env = {**service.env, "DBUS_SESSION_BUS_ADDRESS": "", "XDG_RUNTIME_DIR": "/nonexistent"}


SITUATIONS = {
    locked: "the keyring is locked, and there is no way to ask for its password",
    dismissed: "the prompt to unlock the keyring was dismissed",
    killed: "the keyring service stopped during the call",
    gone: "there is no session bus, and the keyring is reached through it",
}
PATIENT = {**KEYRING, "keyring_timeout_s": 15}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_each_situation_ends_within_the_deadline_with_its_own_message(
    tmp_path: Path, situation: Callable[[SecretService], None]
) -> None:
    """Without a device: no window, and it counts. With one: exit 3, and nothing is touched.

    At the deadline the message would be another one.
    """
    fresh, paired = tmp_path / "fresh", tmp_path / "paired"
    said = SITUATIONS[situation]
    with SecretService() as service:
        service.unlock()
        env = service.env
        with Daemon(paired, env=env, **PATIENT) as daemon:
            profile = daemon.pair()
        before = {path.name: path.read_bytes() for path in paired.glob("*.json")}
        service.stop()

        situation(service)
        with Daemon(fresh, env=service.env, **PATIENT) as daemon:
            daemon.wait_for_log(f"secure storage (keyring) failed, so no pairing window opens: {said}")
            assert daemon.log().count("secure storage") == 1
            assert not (fresh / "novakey-pair.png").exists()
        known = record.load(fresh / "pairing.json")
        assert (known.sealing_failures, known.locked, known.device_stored) == (1, "", False)

        if situation is killed:
            situation(service)
        done = run("--data-dir", paired, env=service.env)
        assert done.returncode == 3 and f"novakey: {said}\n" in done.stderr, done.stderr
        assert {path.name: path.read_bytes() for path in paired.glob("*.json")} == before

        service.env = env
        service.stop()
        service.unlock()  # the same keyring, unlocked again, serves the same phone
        with Daemon(paired, env=env, **PATIENT) as daemon:
            assert say(daemon.at(profile), MessageType.ARM).outcome is Outcome.OK


def test_a_keyring_that_hangs_is_a_failure_at_the_deadline(tmp_path: Path) -> None:
    with SecretService() as service:
        service.unlock()
        service.signal(signal.SIGSTOP)
        with Daemon(tmp_path / "d", env=service.env, **KEYRING) as daemon:
            daemon.wait_for_log("did not answer within 3 s")
            assert not (tmp_path / "d" / "novakey-pair.png").exists()


def test_without_the_strict_setting_it_falls_back_to_keyfile_loudly(
    tmp_path: Path,
) -> None:
    loose = {**KEYRING, "require_sealed_device_store": False}
    with Daemon(tmp_path / "d", **loose) as daemon:
        daemon.wait_for_log("falling back to the weaker keyfile backend")
        profile = daemon.pair()
    assert b'"backend":"keyfile","fallback":true' in (tmp_path / "d" / "pairing.json").read_bytes()
    with Daemon(tmp_path / "d", **loose) as daemon:
        daemon.wait_for_log("because keyring failed when the first one was paired")
        assert say(daemon.at(profile), MessageType.ARM).outcome is Outcome.OK


def test_the_key_moves_up_to_a_stronger_backend_and_never_down(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        profile = daemon.pair()
    with SecretService() as service:
        service.unlock()
        with Daemon(tmp_path / "d", env=service.env, **KEYRING) as daemon:
            daemon.wait_for_log("moved from keyfile to keyring")
            assert say(daemon.at(profile), MessageType.ARM).outcome is Outcome.OK
        assert not (tmp_path / "d" / "sealing.key").exists()
        with Daemon(tmp_path / "d", env=service.env, **KEYRING) as daemon:
            assert say(daemon.at(profile), MessageType.ARM).outcome is Outcome.OK


def test_a_passphrase_from_a_file_seals_and_a_wrong_one_is_refused_with_3(tmp_path: Path) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse battery\n")
    secret.chmod(0o600)
    env = {"NOVAKEY_PASSPHRASE_FILE": str(secret)}
    with Daemon(tmp_path / "d", env=env, device_store="passphrase") as daemon:
        profile = daemon.pair()
    with Daemon(tmp_path / "d", env=env, device_store="passphrase") as daemon:
        assert say(daemon.at(profile), MessageType.ARM).outcome is Outcome.OK
    secret.write_text("wrong horse battery\n")
    done = run("--data-dir", tmp_path / "d", env=env)
    assert done.returncode == 3 and "passphrase" in done.stderr and "Traceback" not in done.stderr
    assert "horse" not in done.stderr
