"""`browser install`, `status` and `uninstall`, and what a browser starts by the manifest alone."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

import pytest
from support.browser import CHROMIUM, FIREFOX, Host
from support.daemon import Daemon, clean_environment, run

from novakey.pull.browser_manifests import BROWSERS, NAME


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "a home's"
    home.mkdir()
    return home


def novakey(home: Path, *words: str, data: bool = True) -> subprocess.CompletedProcess[str]:
    folder = ("--data-dir", str(home / "d")) if data else ()
    return run(*folder, "browser", *words, env={"HOME": str(home), "XDG_RUNTIME_DIR": ""})


def manifests(home: Path) -> dict[str, Path]:
    """Return the manifests that are there, by the browser's folder."""
    return {str(path.parent.relative_to(home)): path for path in home.rglob(f"{NAME}.json")}


def test_all_browsers_are_installed_for_shown_and_taken_away(home: Path) -> None:
    assert novakey(home, "install", *BROWSERS).returncode == 0
    found = manifests(home)
    assert set(found) == {
        ".config/chromium/NativeMessagingHosts",
        ".config/google-chrome/NativeMessagingHosts",
        ".config/BraveSoftware/Brave-Browser/NativeMessagingHosts",
        ".config/microsoft-edge/NativeMessagingHosts",
        ".config/vivaldi/NativeMessagingHosts",
        ".mozilla/native-messaging-hosts",
        ".librewolf/native-messaging-hosts",
    }
    script = home / "d" / "novakey-browser"
    assert stat.S_IMODE(script.stat().st_mode) == 0o700
    for folder, path in found.items():
        members = json.loads(path.read_text())
        assert (members["name"], members["path"], members["type"]) == (NAME, str(script), "stdio")
        allowed = {name: value for name, value in members.items() if name.startswith("allowed")}
        is_gecko = folder.endswith("native-messaging-hosts")
        wanted = {"allowed_extensions": [FIREFOX[1]]} if is_gecko else {"allowed_origins": list(CHROMIUM)}
        assert allowed == wanted and stat.S_IMODE(path.stat().st_mode) == 0o600
    rows = [json.loads(line) for line in novakey(home, "status", "--json").stdout.splitlines()]
    assert {row["browser"]: row["manifest"] for row in rows} == dict.fromkeys(BROWSERS, "ours")
    assert novakey(home, "uninstall", "firefox").stdout == "removed: firefox\n"
    assert len(manifests(home)) == 6 and script.exists()
    assert novakey(home, "uninstall").returncode == 0
    assert manifests(home) == {} and not script.exists()
    assert novakey(home, "uninstall").stdout == "removed: nothing was there\n"


def test_without_a_name_it_is_installed_for_the_browsers_that_have_run(home: Path) -> None:
    done = novakey(home, "install")
    assert done.returncode == 1 and "no browser has run here" in done.stderr
    (home / ".mozilla").mkdir()
    (home / ".config" / "chromium").mkdir(parents=True)
    assert novakey(home, "install").returncode == 0
    assert set(manifests(home)) == {
        ".config/chromium/NativeMessagingHosts",
        ".mozilla/native-messaging-hosts",
    }


def test_a_browser_that_is_not_known_and_a_manifest_of_others_are_left_alone(home: Path) -> None:
    done = novakey(home, "install", "netscape")
    assert done.returncode == 2 and "there is no browser" in done.stderr
    theirs = home / ".mozilla" / "native-messaging-hosts" / f"{NAME}.json"
    theirs.parent.mkdir(parents=True)
    for text in (
        '{"name":"other"}',
        "no JSON",
        json.dumps({"name": NAME, "path": "/elsewhere/novakey-browser"}),
    ):
        theirs.write_text(text)
        done = novakey(home, "install", "chromium", "firefox")
        assert done.returncode == 1 and "did not write it" in done.stderr
        assert novakey(home, "uninstall").returncode == 0
        assert theirs.read_text() == text
    assert list(manifests(home)) == [".mozilla/native-messaging-hosts"]


def test_what_a_browser_starts_by_the_manifest_reaches_the_daemon(home: Path) -> None:
    assert novakey(home, "install", "chromium", "firefox").returncode == 0
    with Daemon(home / "d", ask_confirm=False) as daemon:
        daemon.pair()
        for path, arguments in zip(sorted(manifests(home).values()), (CHROMIUM, FIREFOX), strict=True):
            program = Path(json.loads(path.read_text())["path"])
            with Host(program, {**clean_environment(), "HOME": str(home)}, arguments) as host:
                host.ask()
                assert host.hang_up() == 0


def test_reset_takes_our_manifests_away_and_no_others(home: Path) -> None:
    assert novakey(home, "install", "chromium").returncode == 0
    other = run("--data-dir", str(home / "e"), "browser", "install", "firefox", env={"HOME": str(home)})
    assert other.returncode == 0
    assert run("--data-dir", str(home / "d"), "reset", "--yes", env={"HOME": str(home)}).returncode == 0
    assert list(manifests(home)) == [".mozilla/native-messaging-hosts"]
    assert not (home / "d" / "novakey-browser").exists() and (home / "e" / "novakey-browser").exists()


def test_doctor_says_which_may_ask_and_names_a_start_script_that_is_gone(home: Path) -> None:
    def finding() -> dict[str, str]:
        done = run("--data-dir", str(home / "d"), "doctor", "--json", env={"HOME": str(home)})
        (row,) = (row for row in map(json.loads, done.stdout.splitlines()) if row["check"] == "browsers")
        return row

    assert novakey(home, "install", "chromium").returncode == 0
    assert (finding()["verdict"], finding()["found"]) == ("ok", "chromium can ask")
    script = home / "d" / "novakey-browser"
    script.unlink()
    lost = finding()
    assert lost["verdict"] == "fault" and str(script) in lost["found"]
    assert lost["cure"] == "novakey.py browser install"
    assert novakey(home, "install").returncode == 0
    (home / "snap" / "firefox").mkdir(parents=True)
    assert "firefox (snap)" in finding()["found"]


def test_undoing_setup_takes_our_manifests_away(home: Path) -> None:
    env = {"HOME": str(home), "XDG_RUNTIME_DIR": ""}
    for words in ("setup --yes --no-service", "browser install chromium", "setup --uninstall --yes"):
        done = run(*words.split(), env=env)
        assert done.returncode == 0, done.stderr
    assert manifests(home) == {}
