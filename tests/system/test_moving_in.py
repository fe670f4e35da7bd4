"""The existing daemon kept its files in our data folder: nothing of them is lost, and there is a way back."""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import secret_service
from support.daemon import Daemon, arm_and_approve, clean_environment, command, say
from support.other_daemon import Other
from support.secret_service import SecretService
from support.x11 import RecordingXterm, XServer
from support.x11_windows import RecordingPage

from novakey.phone import Profile
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

DATA, CONFIG = ".local/share/novakey", ".config/novakey"
UNIT = ".config/systemd/user/novakey.service"
ITS_UNIT = (
    "[Unit]\nDescription=NovaKey\n[Service]\nWorkingDirectory=%h/.local/share/novakey\nExecStart=/x/novakey\n"
)
BEFORE = ("serve", "status", "doctor", "setup --yes", "reset --yes", "setup --uninstall --yes", "pair")


def tree(home: Path) -> dict[str, tuple[int, str]]:
    """Every name under it, with its rights and the hash of its content."""
    return {
        str(path.relative_to(home)): (
            stat.S_IMODE(path.stat().st_mode),
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in home.rglob("*")
    }


def novakey(home: Path, words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*shlex.split(words)),
        env={**clean_environment(), "HOME": str(home), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def done(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def serving(home: Path, **env: str) -> Daemon:
    """Return the daemon in that home, with the configuration that is there."""
    launch = ["/usr/bin/env", "sh", "-c", 'exec "$0" "$1"', *command()]
    env = {"HOME": str(home), "NOVAKEY_DESKTOP_BACKEND": "none", **env}
    return Daemon(home.parent / "unused", env=env, launch=launch, data_dir=False)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def other(home: Path) -> Other:
    return Other.make(home / DATA, mode=0o755)  # as an ordinary mkdir makes it


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:30])


FORMS = {
    "plain": lambda other: None,
    "sealed, JSON": lambda other: (other.seal_devices(), other.use_json()),
    "devices cut": lambda other: cut(other.folder / "devices.json"),
    "sealed, keys cut": lambda other: (other.seal_devices(), cut(other.folder / "server_keys.json")),
    "no configuration": lambda other: (other.folder / "server_config.yaml").unlink(),
}


@pytest.mark.parametrize(
    "form",
    [
        "sealed, JSON",
        "devices cut",
        *(
            pytest.param(form, marks=pytest.mark.long)
            for form in ("plain", "sealed, keys cut", "no configuration")
        ),
    ],
)
def test_every_command_that_meets_its_files_names_import_and_leaves_every_byte(
    home: Path, other: Other, form: str
) -> None:
    FORMS[form](other)
    was = tree(home)
    for words in BEFORE:
        said = novakey(home, words)
        text = said.stdout + said.stderr
        assert said.returncode != 0 and "Traceback" not in text
        assert "reset" not in text, f"{words} advises a reset"
        if words != "pair":
            assert "files of another daemon" in text and "novakey.py import" in text, f"{words}: {text}"
        assert tree(home) == was, words


@pytest.mark.parametrize("form", ["devices cut", "sealed, keys cut"])
def test_an_import_that_cannot_read_them_leaves_every_byte_and_names_a_way_on(
    home: Path, other: Other, form: str
) -> None:
    FORMS[form](other)
    was = tree(home)
    said = novakey(home, "import --yes")
    assert said.returncode == 3 and "reset" not in said.stderr, said.stderr
    assert f"move {home / DATA} away" in said.stderr
    assert tree(home) == was


def phones_are_served(home: Path, phones: list[Profile], **env: str) -> None:
    with serving(home, **env) as daemon:
        assert not (home / DATA / "novakey-pair.png").exists(), "phones are paired, so no window opens"
        for phone in map(daemon.at, phones):
            assert say(phone, MessageType.ARM).outcome is Outcome.OK


@pytest.mark.parametrize("form", ["plain", "no configuration"])
def test_import_takes_over_in_the_common_folder_and_undo_puts_back_every_byte(
    home: Path, other: Other, form: str
) -> None:
    FORMS[form](other)
    was = tree(home)
    said = done(novakey(home, "import"))
    for name in ("devices.json", "server_keys.json", "novakey-pair.png"):
        aside = f"{DATA}/before-import-1/{name}"
        assert tree(home)[aside] == was[f"{DATA}/{name}"], "moved aside whole"
    if form == "plain":
        for part in (
            "arm_api_enabled: this daemon has no such key",
            "log_dir: ",
            "changed: allowed_process_names: ",
        ):
            assert part in said
        assert 'target_match: "any"' in (home / CONFIG / "novakey.yaml").read_text()
    phones_are_served(home, other.phones, NOVAKEY_LISTEN_ADDR="127.0.0.1:0")
    again = novakey(home, "import")
    assert again.returncode == 1 and "done already" in again.stderr and "--undo" in again.stderr
    refused = novakey(home, "import --undo")
    assert refused.returncode == 1 and "nothing was done" in refused.stderr, "no consent was given"
    done(novakey(home, "import --undo --yes"))
    left = {name: row for name, row in tree(home).items() if not name.startswith(".local/state")}
    assert left == was
    nothing = novakey(home, "import --undo --yes")
    assert nothing.returncode == 1 and "nothing was imported" in nothing.stderr


def test_a_sealed_store_in_the_common_folder_opens_with_its_own_keyring(tmp_path: Path) -> None:
    if secret_service.missing():
        pytest.skip(f"needs {secret_service.missing()}")
    with SecretService() as service:
        service.unlock()
        home = Path(service.env["HOME"])
        other = Other.make(home / DATA)
        other.put_key(service)
        other.seal_devices()
        other.use_json()
        was = tree(home / DATA)
        bus = {"DBUS_SESSION_BUS_ADDRESS": service.env["DBUS_SESSION_BUS_ADDRESS"]}
        done(novakey(home, "import", **bus))
        (tmp_path / "d").mkdir()
        launch = ["/usr/bin/env", "sh", "-c", 'exec "$0" "$1"', *command()]
        env = {"HOME": str(home), "NOVAKEY_DESKTOP_BACKEND": "none"}
        with Daemon(tmp_path / "d", env=env, launch=launch, data_dir=False) as daemon:
            for phone in map(daemon.at, other.phones):
                assert say(phone, MessageType.ARM).outcome is Outcome.OK
        done(novakey(home, "import --undo --yes", **bus))
        assert tree(home / DATA) == was


def test_its_unit_is_stopped_and_put_aside_with_consent_and_comes_back(home: Path, other: Other) -> None:
    unit, bin_folder = home / UNIT, home.parent / "bin"
    unit.parent.mkdir(parents=True)
    unit.write_text(ITS_UNIT)
    bin_folder.mkdir()
    log = bin_folder / "asked"
    (bin_folder / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {shlex.quote(str(log))}\n')
    (bin_folder / "systemctl").chmod(0o755)
    path = {"PATH": f"{bin_folder}:{os.environ['PATH']}"}
    was = tree(home)
    refused = novakey(home, "import", **path)
    assert refused.returncode == 1 and "nothing was done" in refused.stderr
    assert tree(home) == was and not log.exists(), "no consent was given"
    said = done(novakey(home, "import --yes", **path))
    assert "disable --now novakey.service" in log.read_text()
    assert not unit.exists() and "starts novakey.service of the other daemon again" in said
    done(novakey(home, "setup --yes --service", **path, NOVAKEY_LISTEN_ADDR="127.0.0.1:0"))
    taken = novakey(home, "import --undo --yes", **path)
    assert taken.returncode == 1 and "setup --uninstall" in taken.stderr, "the unit is ours now"
    done(novakey(home, "setup --uninstall --yes", **path))
    done(novakey(home, "import --undo --yes", **path))
    assert log.read_text().endswith("daemon-reload\n--user --quiet enable --now novakey.service\n")
    assert tree(home) == was


def test_our_folder_is_recognised_however_it_is_spelled(home: Path, other: Other) -> None:
    was = tree(home)
    done(novakey(home, f"import {shlex.quote(f'{home / DATA}/../novakey')}"))
    assert (home / DATA / "before-import-1" / "server_config.yaml").exists()
    done(novakey(home, "import --undo --yes"))
    assert tree(home) == was


def test_where_nothing_is_found_the_places_are_named(home: Path) -> None:
    said = novakey(home, "import")
    assert said.returncode == 1
    assert f"no files of another daemon are in: {home / DATA}" in said.stderr and "import DIR" in said.stderr


@pytest.fixture(scope="module")
def screen() -> Iterator[XServer]:
    with XServer() as server:
        server.layout("us")
        yield server


def test_its_shipped_configuration_lets_secrets_into_chromium_as_before(
    home: Path, other: Other, screen: XServer
) -> None:
    done(novakey(home, "import"))
    with serving(home, DISPLAY=screen.env["DISPLAY"], NOVAKEY_DESKTOP_BACKEND="x11") as daemon:
        phone = daemon.at(other.phones[0])
        with RecordingPage(screen) as page:
            arm_and_approve(phone)
            reply = say(phone, MessageType.INJECT, b"into the page")
            assert reply.outcome is Outcome.TYPED, reply.msg
            assert page.wait_for("into the page") == "into the page"
        with RecordingXterm(screen) as terminal:
            arm_and_approve(phone)
            assert say(phone, MessageType.INJECT, b"not here").outcome is not Outcome.TYPED
            assert terminal.text() == ""
