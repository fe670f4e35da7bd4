"""The doctor on broken environments: the first fault that it names is the right one."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.daemon import ROOT, Daemon, clean_environment, run, wrong_clock
from support.dbus import message_bus
from support.dunst import Dunst
from support.x11 import RecordingXterm, XServer
from Xlib import X

from novakey.desktop.x11.display import GuardedDisplay
from novakey.wire.control import SOCKET_NAME

Env = dict[str, str]
GOOD: dict[str, Any] = {"listen_addr": "127.0.0.1:0", "desktop_backend": "none"}


@pytest.fixture(scope="module")
def paired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one paired phone, to be copied and broken."""
    folder = tmp_path_factory.mktemp("paired") / "d"
    with Daemon(folder, **GOOD) as daemon:
        daemon.pair()
    return folder


def report(folder: Path, env: Env | None = None) -> tuple[int, list[dict[str, str]]]:
    done = run("--data-dir", folder, "doctor", "--json", env=env)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def configure(folder: Path, **changes: Any) -> None:
    (folder / "novakey.json").write_text(json.dumps({**GOOD, **changes}))


@contextmanager
def wide_folder(folder: Path) -> Iterator[Env]:
    folder.chmod(0o755)
    yield {}


@contextmanager
def locked(folder: Path) -> Iterator[Env]:
    path = folder / "pairing.json"
    record = {**json.loads(path.read_text()), "locked": "5 pairing windows were interrupted"}
    path.write_text(json.dumps(record))
    yield {}


@contextmanager
def key_gone(folder: Path) -> Iterator[Env]:
    (folder / "sealing.key").unlink()
    yield {}


@contextmanager
def damaged_store(folder: Path) -> Iterator[Env]:
    path = folder / "devices.json"
    path.write_bytes(path.read_bytes()[:-9])
    yield {}


@contextmanager
def keys_gone(folder: Path) -> Iterator[Env]:
    (folder / "server_keys.json").unlink()
    yield {}


@contextmanager
def keyring_without_a_bus(folder: Path) -> Iterator[Env]:
    for name in ("devices.json", "pairing.json", "sealing.key"):
        (folder / name).unlink()
    configure(folder, device_store="keyring", keyring_timeout_s=3)
    yield {}


@contextmanager
def no_passphrase(folder: Path) -> Iterator[Env]:
    for name in ("devices.json", "pairing.json", "sealing.key"):
        (folder / name).unlink()
    configure(folder, device_store="passphrase")
    yield {"NOVAKEY_PASSPHRASE_FILE": str(folder / "nothing")}


@contextmanager
def port_in_use(folder: Path) -> Iterator[Env]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        configure(folder, listen_addr=f"127.0.0.1:{other.getsockname()[1]}")
        yield {}


@contextmanager
def a_name_that_leads_nowhere(folder: Path) -> Iterator[Env]:
    configure(folder, advertise_host="no-such-host.invalid")
    yield {}


@contextmanager
def a_clock_of_2001(folder: Path) -> Iterator[Env]:
    yield wrong_clock("@2001-01-01 00:00:00")


@contextmanager
def no_display(folder: Path) -> Iterator[Env]:
    configure(folder, desktop_backend="auto")
    yield {}


@contextmanager
def a_display_that_is_gone(folder: Path) -> Iterator[Env]:
    configure(folder, desktop_backend="x11")
    yield {"DISPLAY": ":4711"}


@contextmanager
def a_policy_without_a_focus(folder: Path) -> Iterator[Env]:
    configure(folder, desktop_backend="x11", target_policy_enabled=True)
    with XServer() as server:
        yield {"DISPLAY": server.display}


@contextmanager
def a_socket_that_was_removed(folder: Path) -> Iterator[Env]:
    with Daemon(folder, **GOOD):
        (folder / SOCKET_NAME).unlink()
        yield {}


@pytest.mark.parametrize(
    ("breaking", "check", "word"),
    [
        (wide_folder, "folders", "chmod 700"),
        (locked, "pairing", "reset"),
        (key_gone, "pairing", "sealing key is gone"),
        (damaged_store, "pairing", "damaged"),
        (keys_gone, "store", "server_keys.json"),
        (keyring_without_a_bus, "sealing (keyring)", "session"),
        (no_passphrase, "sealing (passphrase)", "NOVAKEY_PASSPHRASE_FILE"),
        (port_in_use, "port", "in use"),
        (a_name_that_leads_nowhere, "address", "no-such-host.invalid"),
        (a_clock_of_2001, "clock", "2001"),
        (no_display, "display", "DISPLAY is not set"),
        (a_display_that_is_gone, "display", "x server"),
        (a_policy_without_a_focus, "focus", "target policy"),
        (a_socket_that_was_removed, "owner's socket", "does not listen to its owner"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_the_first_fault_named_is_the_right_one(
    tmp_path: Path, paired: Path, breaking: Callable[[Path], Any], check: str, word: str
) -> None:
    folder = tmp_path / "d"
    shutil.copytree(paired, folder)
    with breaking(folder) as env:
        code, found = report(folder, env)
    faults = [row for row in found if row["verdict"] == "fault"]
    assert code == 1
    assert faults, "no fault was found"
    assert (faults[0]["check"], word in faults[0]["found"] + faults[0]["cure"]) == (check, True), faults[0]
    assert faults[0]["cure"] and faults[0]["why"]


def test_the_display_is_judged_by_the_daemon_that_runs_not_by_the_terminal(
    paired: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "d"
    shutil.copytree(paired, folder)

    def display(env: Env) -> dict[str, str]:
        _, found = report(folder, env)
        return next(row for row in found if row["check"] == "display")

    with XServer(manager=False) as server:
        here = {"DISPLAY": server.display}
        with Daemon(folder, **{**GOOD, "desktop_backend": "x11"}):
            outside = display(here)
            assert outside["verdict"] == "fault"
            assert "but not by the daemon" in outside["found"] and "DISPLAY is not set" in outside["found"]
            assert outside["cure"].endswith("&& systemctl --user restart novakey.service")
        with Daemon(folder, env=here, **{**GOOD, "desktop_backend": "x11"}):
            inside = display({})
            assert (inside["verdict"], inside["found"]) == ("ok", "x11 can be used by the daemon")


def test_without_a_display_doctor_and_start_say_so_in_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    with Daemon(folder, **{**GOOD, "desktop_backend": "auto"}) as daemon:
        _, found = report(folder, {})
        missing = "WAYLAND_DISPLAY is not set (wlroots, gnome, portal, clipboard), DISPLAY is not set (x11)"
        daemon.wait_for_log(f"nothing can be typed yet: {missing}; for the cure: novakey.py doctor")
    display = next(row for row in found if row["check"] == "display")
    assert display["found"] == f"no display can be used: {missing}"
    assert display["cure"].count("import-environment") == 1 and len(display["cure"]) < 300, display["cure"]


def test_on_a_good_desktop_nothing_is_wrong(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    with XServer() as server, message_bus() as bus, RecordingXterm(server):
        bus.env["DISPLAY"] = server.display
        Dunst(bus, tmp_path)
        env = {"DISPLAY": server.display, "DBUS_SESSION_BUS_ADDRESS": bus.address}
        with Daemon(folder, env=env, desktop_backend="auto") as daemon:
            daemon.pair()
            code, found = report(folder, env)
    verdicts = {row["check"]: row["verdict"] for row in found}
    assert code == 0, [row for row in found if row["verdict"] == "fault"]
    working = (
        "python",
        "folders",
        "pairing",
        "store",
        "sealing (keyfile)",
        "display",
        "focus",
        "clipboard",
        "notifications",
        "owner's socket",
    )
    assert {name: verdicts[name] for name in working} == dict.fromkeys(working, "ok")
    assert any("xterm" in row["found"] for row in found if row["check"] == "focus")


class HostileXterm(RecordingXterm):
    """One whose program's file is named by an attacker."""

    def _argv(self, folder: Path, output: Path) -> list[str]:
        found = shutil.which("xterm")
        assert found is not None
        return [shutil.copy(found, folder / "x\x1b]0;owned\x07\u202e"), *super()._argv(folder, output)[1:]]


def test_escapes_in_the_name_of_the_focused_program_do_not_reach_the_terminal(tmp_path: Path) -> None:
    with XServer() as server, HostileXterm(server):
        env = {"DISPLAY": server.display}
        done = run("--data-dir", tmp_path / "d", "doctor", env=env)
    assert r"focus: x\x1b]0;owned\x07\u202e has it" in done.stdout, done.stdout
    assert all(line.isprintable() for line in done.stdout.splitlines())


def test_without_a_daemon_that_is_noted_with_the_way_to_start_one(tmp_path: Path) -> None:
    _, found = report(tmp_path, {})
    [row] = [row for row in found if row["check"] == "owner's socket"]
    assert (row["verdict"], row["found"]) == ("note", "no daemon runs")
    assert row["cure"] == "start it: novakey.py serve"


def test_a_clipboard_manager_is_named_where_a_secret_may_pass_it(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir(mode=0o700)
    configure(folder, desktop_backend="x11", allow_clipboard_on_inject_failure=True)
    with XServer(manager=False) as server:
        said = {}
        for time in ("before", "while it runs"):
            if time != "before":
                display = GuardedDisplay(server.display)
                manager = display.screen().root.create_window(0, 0, 1, 1, 0, X.CopyFromParent)
                manager.set_selection_owner(display.get_atom("CLIPBOARD_MANAGER"), X.CurrentTime)
                display.sync()
            _, found = report(folder, {"DISPLAY": server.display})
            [said[time]] = [row for row in found if row["check"] == "clipboard"]
        display.close()
    assert said["before"]["verdict"] == "ok" and "15 s" in said["before"]["found"]
    assert said["while it runs"]["verdict"] == "note"
    assert "clipboard manager" in said["while it runs"]["found"]


def test_a_missing_package_is_named_before_everything_that_needs_it(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir(mode=0o700)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); sys.modules['qrcode'] = None\n"
        "from novakey.cli import main; sys.exit(main(['--data-dir', sys.argv[2], 'doctor']))"
    )
    import subprocess

    argv = [sys.executable, "-c", code, str(ROOT), str(tmp_path / "d")]
    done = subprocess.run(argv, capture_output=True, text=True, env=clean_environment(), check=False)
    assert done.returncode == 1
    assert next(line for line in done.stdout.splitlines() if line.startswith("FAIL")).endswith(
        "missing: qrcode"
    )
