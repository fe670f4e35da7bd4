"""Each of the ready configurations in conf/profiles/ does what its head says, on a real display."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import gevent
import pytest
from support.daemon import ROOT, Daemon, arm_and_approve, command, run, say
from support.phone_app import BY_STATUS, one_more, paired, revoke
from support.secret_service import SecretService, missing
from support.x11 import RecordingGtkEntry, RecordingXterm, XServer

from novakey.config import load
from novakey.wire import uri
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

PROFILES = {path.stem: path for path in (ROOT / "conf" / "profiles").iterdir()}


@pytest.fixture(scope="module")
def screen() -> Iterator[XServer]:
    with XServer() as server:
        yield server


@contextmanager
def profile(name: str, folder: Path, screen: XServer, **more: str) -> Iterator[Daemon]:
    """Return a daemon with a profile as it is, but for the address and the display of the test."""
    env = {"NOVAKEY_LISTEN_ADDR": "127.0.0.1:0", "NOVAKEY_DESKTOP_BACKEND": "x11", "DISPLAY": screen.display}
    launch = [*command(), "--config", str(PROFILES[name])]
    with Daemon(folder, env={**env, **more}, launch=launch) as daemon:
        yield daemon


def test_there_are_four_and_each_loads_and_names_itself_in_the_command_of_its_head(tmp_path: Path) -> None:
    assert set(PROFILES) == {"relaxed", "standard", "strict", "vault"}
    for name, path in PROFILES.items():
        load.load(path, {}, tmp_path)
        text = path.read_text()
        assert text.startswith(f"# {name.capitalize()}: ")
        assert f"python3 novakey.py --config {path.relative_to(ROOT)}\n" in text
        done = run("--config", path, "config", "check")
        assert (done.returncode, done.stdout) == (0, f"the configuration is good: {path}\n")


def test_the_check_says_where_there_is_no_file(tmp_path: Path) -> None:
    done = run("--data-dir", tmp_path, "config", "check")
    told = f"the configuration is good: there is no file in {tmp_path}, so the defaults are in force\n"
    assert (done.returncode, done.stdout) == (0, told)


def test_standard_is_the_defaults(tmp_path: Path) -> None:
    assert load.load(PROFILES["standard"], {}, tmp_path) == load.Settings()


def test_relaxed_needs_no_approval_and_falls_back_to_the_clipboard(tmp_path: Path, screen: XServer) -> None:
    with profile("relaxed", tmp_path / "d", screen) as daemon:
        phone = daemon.pair()
        assert say(phone, MessageType.INJECT, b"early").outcome is Outcome.NOT_ARMED
        assert say(phone, MessageType.ARM).msg == "armed_for_ms=60000"
        with RecordingXterm(screen) as window:
            assert say(phone, MessageType.INJECT, b"at once").outcome is Outcome.TYPED
            assert window.wait_for("at once") == "at once"
        assert say(phone, MessageType.INJECT, b"again").outcome is Outcome.NOT_ARMED
        assert say(phone, MessageType.ARM).outcome is Outcome.OK
        assert say(phone, MessageType.INJECT, b"no window").outcome is Outcome.COPIED
        assert screen.run("xclip", "-o", "-selection", "clipboard") == "no window"


def test_standard_wants_arming_and_approval_for_each_secret_and_never_the_clipboard(
    tmp_path: Path, screen: XServer
) -> None:
    with profile("standard", tmp_path / "d", screen) as daemon:
        phone = daemon.pair()
        assert (tmp_path / "d" / "sealing.key").exists()
        assert say(phone, MessageType.ARM).msg == "armed_for_ms=20000"
        assert say(phone, MessageType.INJECT, b"x").outcome is Outcome.NEEDS_APPROVE
        assert say(phone, MessageType.APPROVE).outcome is Outcome.OK
        assert say(phone, MessageType.INJECT, b"nowhere to go").outcome is Outcome.INTERNAL_ERROR
        assert "nowhere to go" not in screen.run("xclip", "-o", "-selection", "clipboard", check=False)
        with RecordingXterm(screen) as window:
            assert say(phone, MessageType.INJECT, b"a\nb").outcome is Outcome.BAD_REQUEST
            assert say(phone, MessageType.INJECT, b"once").outcome is Outcome.TYPED
            assert window.wait_for("once") == "once"
        assert say(phone, MessageType.INJECT, b"twice").outcome is Outcome.NOT_ARMED


@pytest.mark.skipif(missing() is not None, reason=f"needs {missing()}")
def test_strict_has_its_key_in_the_keyring_and_types_only_into_some_programs(
    tmp_path: Path, screen: XServer
) -> None:
    with SecretService() as service:
        service.unlock()
        bus = {
            name: service.env[name] for name in ("DBUS_SESSION_BUS_ADDRESS", "HOME") if name in service.env
        }
        with profile("strict", tmp_path / "d", screen, **bus) as daemon:
            assert uri.decode(daemon.uri()).expires <= time.time() + 120
            phone = daemon.pair()
            assert not (tmp_path / "d" / "sealing.key").exists()
            assert say(phone, MessageType.ARM, b'{"ms":60000}').msg == "armed_for_ms=15000"
            # Once the window is there: on a busy machine that takes longer than an approval lasts here.
            with RecordingXterm(screen) as window:
                arm_and_approve(phone)
                assert say(phone, MessageType.INJECT, b"terminal").outcome is Outcome.TYPED
                assert window.wait_for("terminal") == "terminal"
            with RecordingGtkEntry(screen) as window:
                arm_and_approve(phone)
                assert say(phone, MessageType.INJECT, b"chat").outcome is Outcome.BAD_REQUEST
                assert window.text() == ""
            outcomes = [say(phone, MessageType.DISARM).outcome for _ in range(75)]
            assert outcomes[-1] is Outcome.RATE_LIMIT


def test_vault_wants_the_owner_a_password_field_and_the_passphrase(tmp_path: Path, screen: XServer) -> None:
    file = tmp_path / "passphrase"
    file.touch(0o600)
    file.write_text("correct horse battery\n")
    given = {"NOVAKEY_PASSPHRASE_FILE": str(file)}
    with profile("vault", tmp_path / "d", screen, **given) as daemon, RecordingXterm(screen) as window:
        phone = daemon.pair()
        assert say(phone, MessageType.ARM, b'{"ms":60000}').msg == "armed_for_ms=15000"
        assert "opened nothing" in say(phone, MessageType.APPROVE).msg
        sending = gevent.spawn(say, phone, MessageType.INJECT, b"x")
        daemon.wait_for_log("asks to type into xterm")
        # On a busy machine that command takes longer than this profile's arming lasts: one tap is enough.
        assert run("--data-dir", tmp_path / "d", "approve").returncode == 0
        reply = sending.get(timeout=60)
        assert reply.outcome is Outcome.BAD_REQUEST and re.search("password", reply.msg), reply.msg
        assert window.text() == ""
    assert not (tmp_path / "d" / "sealing.key").exists()
    file.write_text("another one\n")
    env = {"NOVAKEY_LISTEN_ADDR": "127.0.0.1:0", **given}
    assert run("--config", PROFILES["vault"], "--data-dir", tmp_path / "d", env=env).returncode == 3


# ---- with the app in the field ----


@contextmanager
def with_what_it_needs(name: str, folder: Path, screen: XServer) -> Iterator[Daemon]:
    """Return a daemon with a profile, beside a keyring or a passphrase where that profile wants one."""
    with ExitStack() as stack:
        more: dict[str, str] = {}
        if name == "strict":
            service = stack.enter_context(SecretService())
            service.unlock()
            more = {
                key: service.env[key] for key in ("DBUS_SESSION_BUS_ADDRESS", "HOME") if key in service.env
            }
        if name == "vault":
            file = folder / "passphrase"
            file.touch(0o600)
            file.write_text("correct horse battery\n")
            more = {"NOVAKEY_PASSPHRASE_FILE": str(file)}
        yield stack.enter_context(profile(name, folder / "d", screen, **more))


NAMES = [
    pytest.param(name, marks=pytest.mark.skipif(missing() is not None, reason=f"needs {missing()}"))
    if name == "strict"
    else name
    for name in sorted(PROFILES)
]


@pytest.mark.parametrize("name", NAMES)
def test_the_app_arms_for_the_15_seconds_that_it_shows(name: str, tmp_path: Path, screen: XServer) -> None:
    with with_what_it_needs(name, tmp_path, screen) as daemon:
        first = paired(daemon)
        assert first.arm().details == "armed_for_ms=15000"
        assert first.disarm().ok
        second = one_more(daemon)
        assert second.arm().ok
        revoke(daemon, second)
        assert second.arm().text == f"Arm failed: {BY_STATUS[8]}"
        assert first.arm().ok


@pytest.mark.skipif(missing() is not None, reason=f"needs {missing()}")
def test_strict_bears_fifteen_failing_taps_in_a_minute(tmp_path: Path, screen: XServer) -> None:
    with with_what_it_needs("strict", tmp_path, screen) as daemon:
        phone = paired(daemon)
        for _ in range(15):
            assert phone.arm().ok
            assert phone.send("a\nb").text == "Request rejected by the computer."
        assert phone.arm().text == f"Arm failed: {BY_STATUS[7]}"


@pytest.mark.parametrize("name", [name for name in NAMES if name != "vault"])
def test_the_app_types_with_two_taps(name: str, tmp_path: Path, screen: XServer) -> None:
    with with_what_it_needs(name, tmp_path, screen) as daemon, RecordingXterm(screen) as window:
        phone = paired(daemon)
        assert phone.arm().ok
        assert phone.send("by the app").text == "Sent to desk"
        assert window.wait_for("by the app") == "by the app"
        assert phone.send("again").text == BY_STATUS[1], "a delivery uses the arming up"


def test_one_tap_on_each_side_gets_past_the_owners_approval_of_vault(tmp_path: Path, screen: XServer) -> None:
    with with_what_it_needs("vault", tmp_path, screen) as daemon, RecordingXterm(screen) as window:
        phone = paired(daemon)
        assert phone.arm().ok
        sending = gevent.spawn(phone.send, "x")
        daemon.wait_for_log("asks to type into xterm")
        assert run("--data-dir", daemon.folder, "approve").returncode == 0
        shown = sending.get(timeout=60)
        # The owner's part is done: what is left is that a terminal is no password field.
        assert shown.text == "Request rejected by the computer." and "password" in shown.details
        assert window.text() == ""
