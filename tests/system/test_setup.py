"""`setup` and `setup --uninstall`: in homes of their own, by options and as a person does it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.daemon import ROOT, Daemon, clean_environment, command, run
from support.tmux import Terminal
from support.x11 import wait_until

from novakey import phone
from novakey.config.load import load
from novakey.secret import Secret
from novakey.system.folder_lock import FolderLock
from novakey.wire.message import MessageType

UNIT = ".config/systemd/user/novakey.service"
CONFIG = ".config/novakey/novakey.yaml"
MOST_EXPOSURE = 3.0
# Any port, and on loopback, for every answer: other tests have the usual one.
LOOPBACK = {"NOVAKEY_LISTEN_ADDR": "127.0.0.1:0", "NOVAKEY_DESKTOP_BACKEND": "none"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    return folder


def setup(
    home: Path, *words: str, env: dict[str, str] | None = None, umask: int = -1
) -> subprocess.CompletedProcess[str]:
    env = {**clean_environment(), "HOME": str(home), **(env or {})}
    return subprocess.run(
        command("setup", *words),
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        umask=umask,
    )


def done(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every name under it, with rights and content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        content = (
            str(path.readlink()).encode()
            if path.is_symlink()
            else path.read_bytes()
            if path.is_file()
            else b""
        )
        found[str(path.relative_to(folder))] = (stat.S_IMODE(path.lstat().st_mode), content)
    return found


def serve_and_pair(home: Path) -> None:
    """Check that the rest of a daemon with a phone is there too."""
    env = {"HOME": str(home), **LOOPBACK}
    # The folder is only where `Daemon` looks; the daemon itself uses the home.
    launch = ["/usr/bin/env", "sh", "-c", 'exec "$0" "$1"', *command()]
    daemon = Daemon(home.parent / "unused", env=env, launch=launch)
    with daemon:
        data = home / ".local/share/novakey"
        wait_until((data / "novakey-pair.png").exists, "the QR")
        profile = phone.pair_with(phone.read_picture(data / "novakey-pair.png"), "pocket")
        assert phone.send(profile, MessageType.ARM, Secret(b"")).outcome.success
        assert (data / "devices.json").exists()


@pytest.mark.parametrize(
    ("before", "used"), [("an empty home", True), ("a home with folders and files", False)], ids=str
)
def test_setup_and_its_undoing_leave_the_home_as_it_was(home: Path, before: str, used: bool) -> None:
    if before != "an empty home":
        (home / ".config/systemd/user").mkdir(parents=True)
        (home / ".config/systemd/user/other.service").write_text("[Service]\nExecStart=/usr/bin/true\n")
        (home / ".local/share").mkdir(parents=True, mode=0o755)
        (home / ".local/state/novakey").mkdir(parents=True, mode=0o700)
    was = tree(home)
    done(setup(home, "--yes"))
    assert {CONFIG, UNIT} <= set(tree(home))
    if used:
        serve_and_pair(home)
    done(setup(home, "--uninstall", "--yes"))
    assert tree(home) == was
    again = setup(home, "--uninstall", "--yes")
    assert again.returncode == 1 and "setup has put nothing here" in again.stderr


def test_with_a_umask_that_lets_everything_through_only_the_owner_may_enter_or_read(home: Path) -> None:
    done(setup(home, "--yes", umask=0))
    open_to_others = {name: oct(mode) for name, (mode, _) in tree(home).items() if mode & 0o077}
    assert open_to_others == {}
    assert CONFIG in tree(home)


def test_the_unit_is_valid_and_tight_and_its_command_starts_the_daemon(home: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    said = done(setup(home, "--yes", "--service", env={"XDG_RUNTIME_DIR": ""}))
    assert "the service is not started: " in said, "no systemd runs here, and that is said"
    unit = home / UNIT
    for words in (["verify", unit], ["security", "--offline=yes", "--no-pager", unit]):
        analyzed = subprocess.run(["systemd-analyze", *map(str, words)], capture_output=True, text=True)
        assert analyzed.returncode == 0, analyzed.stderr
        if words[0] == "verify":
            assert analyzed.stdout + analyzed.stderr == ""
        else:
            found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", analyzed.stdout)
            assert found is not None and float(found[1]) < MOST_EXPOSURE
    assert exec_start(unit) == [sys.executable, str(ROOT / "novakey.py")]


def exec_start(unit: Path) -> list[str]:
    [line] = re.findall("(?m)^ExecStart=(.*)$", unit.read_text())
    return shlex.split(line)


def test_a_folder_with_difficult_characters_is_one_word_of_the_unit(tmp_path: Path, home: Path) -> None:
    data = tmp_path / 'a "quoted" 100% $folder'
    said = subprocess.run(
        [*command("--data-dir", data), "setup", "--yes"],
        env={**clean_environment(), "HOME": str(home)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert said.returncode == 0, said.stderr
    last = exec_start(home / UNIT)[-2:]
    assert last == ["--data-dir", str(data).replace("%", "%%").replace("$", "$$")]
    if shutil.which("systemd-analyze") is not None:
        analyzed = subprocess.run(["systemd-analyze", "verify", str(home / UNIT)], capture_output=True)
        assert analyzed.stderr == b""


@pytest.mark.parametrize(
    ("words", "listen_addr", "profile"),
    [
        ([], "0.0.0.0:60768", "standard"),
        (["--reach", "here", "--strict", "relaxed"], "127.0.0.1:60768", "relaxed"),
        (["--reach", "127.0.0.1", "--strict", "standard"], "127.0.0.1:60768", "standard"),
    ],
)
def test_the_answers_become_the_configuration(
    home: Path, words: list[str], listen_addr: str, profile: str
) -> None:
    done(setup(home, "--yes", "--no-service", *words))
    written = load(home / CONFIG, {}, home)
    ready = load(ROOT / "conf/profiles" / f"{profile}.yaml", {}, home)
    assert written.listen_addr == listen_addr
    assert {name for name in written.origins if getattr(written, name) != getattr(ready, name)} <= {
        "listen_addr"
    }
    assert set(ready.origins) <= set(written.origins)
    assert not (home / UNIT).exists()
    assert (home / CONFIG).read_text().count("\n#") > 5, "it says what it is"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--reach", "192.0.2.1"], "no address of this computer"),
        (["--reach", "everybody"], "no address of this computer"),
        (["--strict", "lax"], "no such choice"),
    ],
)
def test_an_answer_that_cannot_be_is_refused_and_nothing_is_done(
    home: Path, words: list[str], message: str
) -> None:
    result = setup(home, "--yes", *words)
    assert (result.returncode, tree(home)) == (2, {})
    assert message in result.stderr


def test_a_phone_that_could_not_be_stored_is_known_before_one_pairs(home: Path) -> None:
    result = setup(home, "--yes", "--strict", "vault", env={"NOVAKEY_PASSPHRASE_FILE": "/nonexistent"})
    assert result.returncode == 1
    assert "but no phone can be stored" in result.stdout
    assert not (home / UNIT).exists(), "a service has no person to ask for the passphrase"
    done(setup(home, "--uninstall", "--yes", env={"NOVAKEY_PASSPHRASE_FILE": "/nonexistent"}))
    assert tree(home) == {}


def test_a_service_gets_the_file_with_the_passphrase_or_is_not_started(home: Path) -> None:
    result = setup(home, "--yes", "--strict", "vault", "--service")
    assert result.returncode == 1 and "the service is not started" not in result.stdout
    done(setup(home, "--uninstall", "--yes"))
    assert tree(home) == {}
    secret = home.parent / "pass phrase"
    secret.write_text("correct horse battery")
    secret.chmod(0o600)
    env = {"NOVAKEY_PASSPHRASE_FILE": str(secret)}
    said = done(setup(home, "--yes", "--strict", "vault", "--service", env=env))
    assert "the service is not started: " in said, "for want of systemd alone"
    assert f'\nEnvironment="NOVAKEY_PASSPHRASE_FILE={secret}"\n' in (home / UNIT).read_text()
    done(setup(home, "--uninstall", "--yes", env=env))
    assert tree(home) == {}


def test_an_older_configuration_is_never_lost(home: Path) -> None:
    folder = home / ".config/novakey"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "novakey.json").write_text('{"log_keep": 3}')
    was = tree(home)
    refused = setup(home)
    assert (refused.returncode, tree(home)) == (1, was), "no consent was given"
    done(setup(home, "--yes", "--no-service"))
    assert not (folder / "novakey.json").exists()
    assert (folder / "novakey.json.before-setup-1").read_text() == '{"log_keep": 3}'
    (folder / "novakey.yaml").write_text("log_keep: 4\n")
    done(setup(home, "--yes", "--no-service", "--strict", "relaxed"))
    assert (folder / "novakey.yaml.before-setup-1").read_text() == "log_keep: 4\n"
    done(setup(home, "--uninstall", "--yes"))
    assert tree(home) == was


def test_a_unit_that_setup_did_not_write_is_left_alone(home: Path) -> None:
    unit = home / UNIT
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/usr/bin/true\n")
    was = tree(home)
    refused = setup(home, "--yes")
    assert refused.returncode == 1 and "setup did not write it" in refused.stderr
    assert tree(home) == was
    done(setup(home, "--yes", "--no-service"))
    done(setup(home, "--uninstall", "--yes"))
    assert tree(home) == was


def test_while_a_daemon_runs_it_is_named_and_nothing_is_taken_away(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        profile = daemon.pair()
        said = run("--data-dir", daemon.folder, "setup", "--yes", "--no-service", env=LOOPBACK)
        assert f"a daemon runs already (process {daemon.process.pid})" in done(said)
        before = set(daemon.folder.iterdir())
        for more in (["--yes"], []):
            refused = run("--data-dir", daemon.folder, "setup", "--uninstall", *more, env=LOOPBACK)
            problem, cure = refused.stderr.splitlines()
            assert (refused.returncode, refused.stdout) == (1, "")
            assert problem == f"novakey: a daemon runs (process {daemon.process.pid}), so nothing was removed"
            assert cure.startswith("stop it first: ") and cure.endswith(f"kill {daemon.process.pid}")
        assert set(daemon.folder.iterdir()) == before
        assert phone.send(profile, MessageType.ARM, Secret(b"")).outcome.success


# What setup asks of systemd, where none runs: the words are written down, and the unit's command is started.
SYSTEMCTL = """
import os, re, shlex, signal, subprocess, sys
words = [word for word in sys.argv[1:] if word not in ("--user", "--quiet")]
folder = {folder!r}
with open(folder + "/asked", "a") as file:
    print(*words, file=file)
unit = os.path.expanduser("~/.config/systemd/user/novakey.service")
link = os.path.join(os.path.dirname(unit), "graphical-session.target.wants", "novakey.service")
pid = folder + "/pid"
if words[0] == "enable":
    os.makedirs(os.path.dirname(link), exist_ok=True)
    os.path.lexists(link) or os.symlink(unit, link)
if words[0] == "restart":
    argv = shlex.split(re.search("(?m)^ExecStart=(.*)$", open(unit).read())[1])
    env = {{**os.environ, {extra}}}
    quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    child = subprocess.Popen(argv, env=env, start_new_session=True, **quiet)
    open(pid, "w").write(str(child.pid))
if words[0] == "show" and os.path.exists(pid):
    print(open(pid).read())
if words[0] == "disable":
    os.path.lexists(link) and os.unlink(link)
if words[0] in ("stop", "disable"):
    if os.path.exists(pid):
        os.kill(int(open(pid).read()), signal.SIGTERM)
        os.unlink(pid)
"""


@pytest.fixture
def systemctl(tmp_path: Path) -> Any:
    """Return a folder with that double; what it started is ended with the test."""
    folder = tmp_path / "bin"
    folder.mkdir()
    extra = ", ".join(f"{name!r}: {value!r}" for name, value in LOOPBACK.items())
    double, script = folder / "double.py", folder / "systemctl"
    double.write_text(SYSTEMCTL.format(folder=str(folder), extra=extra))
    # The kernel takes no interpreter whose path holds a space.
    script.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, str(double)])} "$@"\n')
    script.chmod(0o755)
    yield folder
    if (folder / "pid").exists():
        os.kill(int((folder / "pid").read_text()), signal.SIGKILL)


def test_where_systemd_answers_the_service_is_enabled_started_and_stopped(
    home: Path, systemctl: Path
) -> None:
    env = {"PATH": f"{systemctl}:{os.environ['PATH']}"}
    said = done(setup(home, "--yes", env=env))
    assert "the service runs, and starts with your session" in said
    asked = (systemctl / "asked").read_text().splitlines()
    assert asked == ["daemon-reload", "enable novakey.service", "restart novakey.service"]
    wait_until((home / ".local/share/novakey/novakey-pair.png").exists, "its QR")
    pid = int((systemctl / "pid").read_text())
    said = done(setup(home, "--uninstall", "--yes", env=env))
    assert f"stopping the service (process {pid}), and waiting until it has ended\n" in said
    asked = (systemctl / "asked").read_text().splitlines()[3:]
    assert [line for line in asked if not line.startswith("show ")] == [
        "stop novakey.service",
        "disable --now novakey.service",
        "daemon-reload",
    ]
    assert tree(home) == {}


def test_a_daemon_beside_the_installed_service_is_refused_at_once_and_the_unit_stays(
    home: Path, systemctl: Path
) -> None:
    env = {"PATH": f"{systemctl}:{os.environ['PATH']}"}
    done(setup(home, "--yes", env=env))
    data = home / ".local/share/novakey"
    wait_until((data / "novakey-pair.png").exists, "the start of the service's daemon")
    os.kill(int((systemctl / "pid").read_text()), signal.SIGTERM)
    (systemctl / "pid").unlink()
    wait_until(lambda: FolderLock.holder(data) is None, "its end")
    launch = ["/usr/bin/env", "sh", "-c", 'exec "$0" "$1"', *command()]
    with Daemon(home.parent / "unused", env={"HOME": str(home), **LOOPBACK}, launch=launch) as daemon:
        wait_until((data / "novakey-pair.png").exists, "its QR")
        was = set(tree(home))
        refused = setup(home, "--uninstall", "--yes", env=env)
        assert refused.returncode == 1 and refused.stdout == ""
        assert f"a daemon runs (process {daemon.process.pid}), so nothing was removed" in refused.stderr
        assert set(tree(home)) == was and UNIT in was
    done(setup(home, "--uninstall", "--yes", env=env))
    assert tree(home) == {}


def typed(home: Path, *words: str, **env: str) -> str:
    said = {"HOME": str(home), "PATH": os.environ["PATH"], **LOOPBACK, **env}
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in said.items())
    return f"{variables} {shlex.join(command('setup', *words))}"


def test_a_person_answers_three_questions_and_sees_the_qr(home: Path, tmp_path: Path) -> None:
    with Terminal(tmp_path / "unused", 100, 50) as terminal:
        terminal.type(typed(home))
        screen = terminal.wait_for(r"Who may reach this computer\?(?s:.*)\[network\] ")
        assert "this computer only" in screen
        terminal.type("everybody")
        terminal.wait_for("no address of this computer(?s:.*)or one of those")
        terminal.type("here")
        terminal.wait_for(r"How strict should it be\?(?s:.*)\[standard\] ")
        terminal.press("Enter")
        terminal.wait_for(r"Should it start with your session\?\s+\[yes\] ")
        terminal.type("n")
        terminal.wait_for("Time left: ")
        data = home / ".local/share/novakey"
        wait_until((data / "novakey-pair.png").exists, "the picture")
        profile = phone.pair_with(phone.read_picture(data / "novakey-pair.png"), "pocket")
        terminal.wait_for("paired")
        assert phone.send(profile, MessageType.ARM, Secret(b"")).outcome.success
        terminal.press("C-c")
        terminal.wait_for(r"\$ $")
        assert 'listen_addr: "127.0.0.1:60768"' in (home / CONFIG).read_text()
        terminal.clear()
        terminal.type(typed(home, "--uninstall"))
        terminal.wait_for("type yes to go on: ")
        terminal.type("no")
        terminal.wait_for("nothing was done")
        assert (home / CONFIG).exists()
        terminal.clear()
        terminal.type(typed(home, "--uninstall"))
        terminal.wait_for("type yes to go on: ")
        terminal.type("Y")
        terminal.wait_for("everything that setup made is gone")
    assert tree(home) == {}


def test_a_person_who_takes_the_service_pairs_right_away(home: Path, tmp_path: Path, systemctl: Path) -> None:
    path = f"{systemctl}:{os.environ['PATH']}"
    with Terminal(tmp_path / "unused", 100, 50) as terminal:
        terminal.type(typed(home, "--reach", "here", "--strict", "standard", PATH=path))
        terminal.wait_for(r"Should it start with your session\?\s+\[yes\] ")
        terminal.press("Enter")
        terminal.wait_for("Time left: ")
        picture = home / ".local/share/novakey/novakey-pair.png"
        phone.pair_with(phone.read_picture(picture), "pocket")
        terminal.wait_for("paired: pocket from 127.0.0.1")
    status = subprocess.run(
        command("status", "--json"),
        env={**clean_environment(), "HOME": str(home)},
        capture_output=True,
        text=True,
    )
    assert json.loads(status.stdout)["devices"] == 1
    done(setup(home, "--uninstall", "--yes", env={"PATH": path}))
    assert tree(home) == {}
