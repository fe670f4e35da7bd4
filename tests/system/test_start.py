"""What a start finds, and what follows: both tables of the pairing page, against the real daemon."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support import needs
from support.daemon import Daemon, run, say

from novakey.devices import sealed_file
from novakey.pairing import record
from novakey.pairing.model import Record
from novakey.phone import Profile
from novakey.secret import Secret
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

STORE, KEYS, SEALING, PAIRING = "devices.json", "server_keys.json", "sealing.key", "pairing.json"


def sealing_key(folder: Path) -> Secret:
    return Secret((folder / SEALING).read_bytes())


def reseal(folder: Path, document: object) -> None:
    sealed_file.write(folder / STORE, sealing_key(folder), sealed_file.DEVICES_LABEL, document)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Profile]:
    """Return a folder with one paired device, and its phone."""
    folder = tmp_path_factory.mktemp("start") / "d"
    with Daemon(folder) as daemon:
        profile = daemon.pair()
    return folder, profile


@pytest.fixture
def paired(origin: tuple[Path, Profile], tmp_path: Path) -> Path:
    """Return a copy of that folder to spoil."""
    return Path(shutil.copytree(origin[0], tmp_path / "d"))


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file() and p.name != "novakey.lock"}


def refused(folder: Path) -> str:
    """Start on the folder: exit 3, nothing changed or opened, and why and what helps is said."""
    before = content(folder)
    done = run("--data-dir", folder, env={"NOVAKEY_LISTEN_ADDR": "127.0.0.1:0"}, timeout=30)
    assert done.returncode == 3, (done.returncode, done.stderr)
    assert content(folder) == before, "nothing was overwritten, no QR was made"
    lines = done.stderr.splitlines()
    told = [number for number, line in enumerate(lines) if line.startswith("novakey: ")]
    assert len(told) == 1 and "Traceback" not in done.stderr
    assert len(lines) > told[0] + 1, f"the cure is on its own line: {lines}"
    return done.stderr


def opens_a_window(folder: Path) -> None:
    with Daemon(folder) as daemon:
        assert daemon.pair("again").device_id == "again"


def test_no_store_opens_a_window(tmp_path: Path) -> None:
    opens_a_window(tmp_path / "d")


def test_a_removed_store_opens_a_window_and_the_old_phone_is_unknown(
    origin: tuple[Path, Profile], paired: Path
) -> None:
    (paired / STORE).unlink()
    with Daemon(paired) as daemon:
        daemon.pair("again")
        assert say(daemon.at(origin[1]), MessageType.ARM).outcome is Outcome.CRYPTO_FAIL


def test_a_zero_byte_store_opens_a_window(paired: Path) -> None:
    (paired / STORE).write_bytes(b"")
    opens_a_window(paired)


def test_a_store_without_devices_opens_a_window(paired: Path) -> None:
    reseal(paired, {"devices": []})
    opens_a_window(paired)


def test_a_store_with_devices_opens_none_and_serves(origin: tuple[Path, Profile], paired: Path) -> None:
    with Daemon(paired) as daemon:
        assert say(daemon.at(origin[1]), MessageType.ARM).outcome is Outcome.OK
        assert not (paired / "novakey-pair.png").exists()


def test_a_store_truncated_at_every_tenth_byte_is_refused(paired: Path) -> None:
    whole = (paired / STORE).read_bytes()
    for size in range(1, len(whole) - 1, 10):
        (paired / STORE).write_bytes(whole[:size])
        _opening_is_refused(paired)
    (paired / STORE).write_bytes(whole[:101])
    assert "damaged" in refused(paired)


@pytest.mark.long
def test_a_store_truncated_at_every_tenth_byte_is_refused_by_a_process_each(paired: Path) -> None:
    whole = (paired / STORE).read_bytes()
    for size in range(1, len(whole) - 1, 10):
        (paired / STORE).write_bytes(whole[:size])
        assert STORE in refused(paired)


def _opening_is_refused(folder: Path) -> None:
    """Return what the daemon does with the folder at its start, without the half second of a new process."""
    from novakey.config.settings import Settings
    from novakey.daemon.startup import open_installation
    from novakey.errors import StoreError
    from novakey.system.paths import Paths

    before = content(folder)
    with pytest.raises(StoreError):
        open_installation(Paths.under(folder), Settings())
    assert content(folder) == before


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"devices": None},
        {"devices": [None]},
        {"devices": [{"id": "a"}]},
        {"devices": [{"id": "", "key_hex": "00" * 32}]},
        {"devices": [{"id": "a", "key_hex": "00" * 31}]},
        {"devices": [{"id": "a", "key_hex": "00" * 32}] * 2},
    ],
)
def test_what_opens_but_is_not_our_store_is_unusable_not_empty(paired: Path, document: object) -> None:
    reseal(paired, document)
    assert "not a device store" in refused(paired)


@pytest.mark.parametrize("data", [b"null", b"{}", b"[]", b"hello", b'{"v":1,"alg":"none"}', b"\0" * 400])
def test_a_foreign_file_is_unusable_not_empty(paired: Path, data: bytes) -> None:
    (paired / STORE).write_bytes(data)
    refused(paired)


def test_a_store_sealed_with_another_key_is_refused(paired: Path) -> None:
    (paired / SEALING).write_bytes(bytes(32))
    assert "another key" in refused(paired)


def give_away(path: Path) -> None:
    """Make it another user's."""
    subprocess.run([*needs.as_root("gives a file away"), "chown", "-h", "65534:65534", path], check=True)


SPOILED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "sealing key gone": (SEALING, Path.unlink, "sealing key is gone"),
    "sealing key short": (SEALING, lambda p: p.write_bytes(bytes(31)), "31 bytes"),
    "sealing key empty": (SEALING, lambda p: p.write_bytes(b""), "0 bytes"),
    "server keys gone": (KEYS, Path.unlink, "server keys"),
    "server keys empty": (KEYS, lambda p: p.write_bytes(b""), KEYS),
    "server keys damaged": (KEYS, lambda p: p.write_bytes(b"{}"), KEYS),
    "server keys cut": (KEYS, lambda p: p.write_bytes(p.read_bytes()[:-40]), KEYS),
    "pairing state empty": (PAIRING, lambda p: p.write_bytes(b""), "pairing state"),
    "pairing state null": (PAIRING, lambda p: p.write_bytes(b"null"), "pairing state"),
    "pairing state a list": (PAIRING, lambda p: p.write_bytes(b"[]"), "pairing state"),
    "pairing state damaged": (PAIRING, lambda p: p.write_bytes(b"{}"), "pairing state"),
    "pairing state of a strange backend": (
        PAIRING,
        lambda p: p.write_bytes(p.read_bytes().replace(b'"keyfile"', b'"paper"')),
        "pairing state",
    ),
    "wider rights on the store": (STORE, lambda p: p.chmod(0o640), "chmod 600"),
    "wider rights on the key": (SEALING, lambda p: p.chmod(0o604), "chmod 600"),
    "wider rights on the server keys": (KEYS, lambda p: p.chmod(0o644), "chmod 600"),
    "wider rights on the pairing state": (PAIRING, lambda p: p.chmod(0o620), "chmod 600"),
    "foreign store": (STORE, give_away, "belongs to another user (uid 65534)"),
    "foreign key": (SEALING, give_away, "belongs to another user"),
    "foreign server keys": (KEYS, give_away, "belongs to another user"),
    "foreign pairing state": (PAIRING, give_away, "belongs to another user"),
    "foreign folder": (".", give_away, "belongs to another user"),
    "a link": (STORE, lambda p: p.rename(p.with_name("real")) and p.symlink_to("real"), "link"),
    "a link in place of the pairing state": (
        PAIRING,
        lambda p: p.rename(p.with_name("real")) and p.symlink_to("real"),
        "link",
    ),
    "a folder": (STORE, lambda p: (p.unlink(), p.mkdir()), "not a regular file"),
    "a fifo": (STORE, lambda p: (p.unlink(), os.mkfifo(p, 0o600)), "not a regular file"),
    "a giant": (STORE, lambda p: os.truncate(p, 9 << 20), "larger than"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_spoiled_file_is_refused_with_its_name_and_a_cure(paired: Path, case: str) -> None:
    name, spoil, said = SPOILED[case]
    spoil(paired / name)
    assert said in refused(paired)


def test_wider_rights_on_the_folder_are_refused_with_the_command_that_corrects_them(paired: Path) -> None:
    paired.chmod(0o755)
    assert f"chmod 700 {paired}" in refused(paired)
    subprocess.run(["chmod", "700", paired], check=True)
    with Daemon(paired):
        pass


def test_server_keys_of_another_pair_are_refused(paired: Path, tmp_path: Path) -> None:
    from novakey.devices import server_keys

    server_keys.create(paired / KEYS, sealing_key(paired))
    assert "not those that the devices were paired with" in refused(paired)


def test_server_keys_of_another_installation_are_refused(paired: Path, tmp_path: Path) -> None:
    with Daemon(tmp_path / "other"):
        pass
    shutil.copy(tmp_path / "other" / KEYS, paired / KEYS)
    refused(paired)


def test_locked_pairing_serves_without_a_window_and_says_why(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d"):
        pass
    locked = Record(interrupted=5, locked="5 pairing windows were interrupted")
    record.save(tmp_path / "d" / PAIRING, locked)
    with Daemon(tmp_path / "d") as daemon:
        daemon.wait_for_log("pairing is locked: 5 pairing windows were interrupted")
        daemon.wait_for_log("reset")
        assert not (daemon.folder / "novakey-pair.png").exists()


def test_what_a_crash_left_behind_is_swept_up(paired: Path) -> None:
    for name in (".devices.json.0123456789abcdef.tmp", "novakey-pair.png"):
        (paired / name).write_bytes(b"x")
    with Daemon(paired):
        assert not (paired / "novakey-pair.png").exists()
        assert not (paired / ".devices.json.0123456789abcdef.tmp").exists()


def test_server_keys_whose_halves_are_not_of_one_pair_are_refused(paired: Path) -> None:
    from novakey.wire import crypto

    key = sealing_key(paired)
    mine = sealed_file.open_bytes(
        (paired / KEYS).read_bytes(), paired / KEYS, key, sealed_file.SERVER_KEYS_LABEL
    )
    other = crypto.ExpandedKey.generate()
    mine["kyber768_secret"] = base64.b64encode(other.reveal()).decode()
    sealed_file.write(paired / KEYS, key, sealed_file.SERVER_KEYS_LABEL, mine)
    assert "the halves are not of one pair" in refused(paired)


def test_a_store_in_place_of_the_server_keys_is_refused(paired: Path) -> None:
    """Both are sealed with one key, but each under a label of its own."""
    shutil.copy(paired / STORE, paired / KEYS)
    assert "does not open" in refused(paired)


def test_unusable_server_keys_are_replaced_where_no_phone_is_paired(paired: Path) -> None:
    (paired / STORE).unlink()
    (paired / KEYS).write_bytes(b"{}")
    with Daemon(paired) as daemon:
        daemon.wait_for_log("no device is paired, so the server keys are replaced")
        assert daemon.pair("again").device_id == "again"


def test_a_backend_that_fails_before_any_device_locks_the_third_time(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "d"
    folder.mkdir(mode=0o700)
    (folder / SEALING).write_bytes(bytes(31))
    (folder / SEALING).chmod(0o600)
    for count in (1, 2, 3):
        with Daemon(folder) as daemon:
            daemon.wait_for_log("secure storage (keyfile) failed, so no pairing window opens")
            assert not (folder / "novakey-pair.png").exists()
        locked = "pairing is locked: secure storage failed 3 times in a row" in daemon.log()
        assert locked is (count == 3)
        assert (folder / SEALING).read_bytes() == bytes(31), "an unreadable key is never replaced"
    (folder / SEALING).unlink()
    with Daemon(folder) as daemon:
        daemon.wait_for_log("pairing is locked: secure storage failed 3 times in a row")
        assert not (folder / SEALING).exists()


def test_a_link_in_place_of_the_folder_is_refused_with_the_folder_s_name(paired: Path) -> None:
    link = paired.with_name("link")
    link.symlink_to(paired)
    done = run("--data-dir", link)
    assert done.returncode == 3, done.stderr
    assert f"{link} is a link" in done.stderr and f"--data-dir {paired}" in done.stderr


def test_the_store_may_be_elsewhere_in_an_owner_only_folder(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    files = {"devices_file": str(elsewhere / STORE), "server_keys_file": str(elsewhere / KEYS)}
    with Daemon(tmp_path / "d", **files) as daemon:
        profile = daemon.pair()
    assert {path.name for path in elsewhere.iterdir()} == {STORE, KEYS}
    with Daemon(tmp_path / "d", **files) as daemon:
        assert say(daemon.at(profile), MessageType.ARM).outcome is Outcome.OK
    elsewhere.chmod(0o755)
    done = run("--data-dir", tmp_path / "d")
    assert done.returncode == 3 and f"chmod 700 {elsewhere}" in done.stderr


@pytest.mark.parametrize(
    "name", [PAIRING, SEALING, "novakey.lock", "./novakey-pair.png", "../d/server_keys.json"]
)
def test_a_store_with_the_name_of_another_file_of_ours_is_refused(paired: Path, name: str) -> None:
    before = content(paired)
    done = run("--data-dir", paired, env={"NOVAKEY_DEVICES_FILE": name})
    assert done.returncode == 2, done.stderr
    assert "the name of another file of this program" in done.stderr
    assert content(paired) == before


def test_half_written_files_of_a_crash_are_swept_up_and_no_others(paired: Path) -> None:
    ours = [f".{name}.0123456789abcdef.tmp" for name in (STORE, KEYS, PAIRING, SEALING)]
    theirs = [".notes.tmp", ".devices.json.swp", ".devices.json.short.tmp"]
    for name in ours + theirs:
        (paired / name).write_bytes(b"x")
    with Daemon(paired):
        assert not [name for name in ours if (paired / name).exists()]
        assert all((paired / name).exists() for name in theirs)


def test_everything_that_pairing_leaves_is_the_owner_s_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Daemon(tmp_path / "d") as daemon:
            daemon.pair()
            found = {
                path: path.lstat() for path in (tmp_path / "d").rglob("*") if path.name != "novakey.json"
            }
    finally:
        os.umask(before)
    assert {path.name for path in found} >= {STORE, KEYS, SEALING, PAIRING}
    assert [path for path, status in found.items() if status.st_mode & 0o077] == []
    assert [path for path, status in found.items() if path.is_file() and status.st_nlink != 1] == []


def test_the_sealing_key_is_not_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup of the data folder alone opens nothing."""
    from novakey.config.settings import Settings
    from novakey.daemon.startup import open_installation
    from novakey.system.paths import Paths

    for name in ("DATA", "CONFIG", "STATE", "RUNTIME"):
        variable = "XDG_RUNTIME_DIR" if name == "RUNTIME" else f"XDG_{name}_HOME"
        monkeypatch.setenv(variable, str(tmp_path / name))
    paths = Paths.of_platform()
    open_installation(paths, Settings())
    assert {path.name for path in (tmp_path / "DATA").rglob("*") if path.is_file()} == {KEYS, PAIRING}
    assert {path.name for path in (tmp_path / "CONFIG").rglob("*") if path.is_file()} == {SEALING}
