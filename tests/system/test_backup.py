"""A backup brings the same phones back on an empty machine; a wrong, cut or older one says so."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.daemon import Daemon, run, say
from support.phone_app import one_more, revoke
from support.secret_service import SecretService, missing

from novakey.phone import Profile
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    return owner_only(tmp_path / "passphrase", "correct horse battery staple")


def owner_only(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


class Machine:
    """A data folder, with a keyring or a passphrase of its own where the sealing needs one."""

    def __init__(self, folder: Path, kind: str, held: ExitStack) -> None:
        folder.mkdir()
        self.data = folder / "d"
        self.env = {"NOVAKEY_DEVICE_STORE": kind}
        if kind == "keyring":
            service = held.enter_context(SecretService())
            service.unlock()
            self.env |= service.env
        if kind == "passphrase":
            path = owner_only(folder / "sealed under", f"the passphrase of {folder.name}")
            self.env["NOVAKEY_PASSPHRASE_FILE"] = str(path)

    def daemon(self) -> Daemon:
        return Daemon(self.data, env=self.env)

    def novakey(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return run("--data-dir", self.data, *words, env=self.env, stdin=subprocess.DEVNULL)


@pytest.fixture
def held() -> Iterator[ExitStack]:
    with ExitStack() as held:
        yield held


def works(daemon: Daemon, phone: Profile) -> bool:
    return say(daemon.at(phone), MessageType.ARM).outcome is Outcome.OK


@pytest.mark.parametrize("kind", ["keyfile", "passphrase", "keyring"])
def test_after_the_loss_of_the_machine_the_same_phone_works_without_pairing(
    tmp_path: Path, held: ExitStack, passphrase: Path, kind: str
) -> None:
    if kind == "keyring" and missing() is not None:
        pytest.skip(f"needs {missing()}")
    file, option = tmp_path / "kept", ("--passphrase-file", passphrase)
    before, after = (Machine(tmp_path / name, kind, held) for name in ("before", "after"))
    with before.daemon() as daemon:
        phone = daemon.pair()
        done = before.novakey("backup", file, *option)
        assert (done.returncode, done.stdout.splitlines()[0]) == (0, f"1 phone in {file}"), done.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    assert phone.device_key.reveal().hex().encode() not in file.read_bytes()

    done = after.novakey("restore", file, *option)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[0].startswith(f"restored from {file}: 1 phone, made "), done.stderr
    assert lines[1:] == [f"configuration: {after.data}/novakey.json"]
    assert (after.data / "novakey.json").read_bytes() == (before.data / "novakey.json").read_bytes()
    with after.daemon() as daemon:
        assert works(daemon, phone)
        assert not (after.data / "novakey-pair.png").exists(), "no phone needs to pair"


@pytest.fixture
def kept(tmp_path: Path, held: ExitStack, passphrase: Path) -> tuple[Machine, Path]:
    """Return a machine with one phone, and its backup."""
    machine = Machine(tmp_path / "m", "keyfile", held)
    with machine.daemon() as daemon:
        daemon.pair()
    done = machine.novakey("backup", tmp_path / "kept", "--passphrase-file", passphrase)
    assert done.returncode == 0, done.stderr
    return machine, tmp_path / "kept"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("spoil", ["wrong passphrase", "cut", "changed", "foreign"])
def test_what_is_no_backup_of_ours_alters_nothing(
    kept: tuple[Machine, Path], passphrase: Path, spoil: str
) -> None:
    machine, file = kept
    data = file.read_bytes()
    match spoil:
        case "wrong passphrase":
            passphrase.write_text("something else")
        case "cut":
            file.write_bytes(data[: len(data) // 2])
        case "changed":
            file.write_bytes(data[:-40] + b"AAAA" + data[-36:])
        case "foreign":
            file.write_bytes(b"%PDF-1.7\n")
    before = contents(machine.data)
    done = machine.novakey("restore", file, "--passphrase-file", passphrase, "--yes")
    assert done.returncode == 3 and str(file) in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert contents(machine.data) == before


def test_an_older_backup_is_refused_unless_asked_for_and_names_who_returns(
    kept: tuple[Machine, Path], passphrase: Path
) -> None:
    machine, file = kept
    option = ("--passphrase-file", str(passphrase))
    with machine.daemon() as daemon:
        later = one_more(daemon)
        assert machine.novakey("devices", "revoke", "phone-1").returncode == 0
        revoke(daemon, later)
    before = contents(machine.data)
    done = machine.novakey("restore", file, *option, "--yes")
    assert done.returncode == 1 and "the backup is older than the store that is here" in done.stderr
    done = machine.novakey("restore", file, *option, "--older")
    assert done.returncode == 1 and "nothing was done" in done.stderr
    assert contents(machine.data) == before
    done = machine.novakey("restore", file, *option, "--older", "--yes")
    assert done.returncode == 0, done.stderr
    aside = machine.data / "before-restore-1"
    assert f"what was here is kept: {aside}" in done.stdout
    assert (aside / "devices.json").read_bytes() == before["devices.json"]
    with machine.daemon():
        assert "phone-1" in machine.novakey("devices", "list").stdout


def test_a_file_that_exists_is_never_replaced(kept: tuple[Machine, Path], passphrase: Path) -> None:
    machine, file = kept
    before = file.read_bytes()
    done = machine.novakey("backup", file, "--passphrase-file", passphrase)
    assert done.returncode == 1 and f"{file} exists already" in done.stderr
    assert file.read_bytes() == before


def test_while_the_daemon_runs_nothing_is_restored(kept: tuple[Machine, Path], passphrase: Path) -> None:
    machine, file = kept
    with machine.daemon():
        done = machine.novakey("restore", file, "--passphrase-file", passphrase)
    assert done.returncode == 1 and "so nothing is restored" in done.stderr
