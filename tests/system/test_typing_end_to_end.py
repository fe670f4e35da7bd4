"""The whole path, all of it real: daemon process, phone process, X server, window manager, windows."""

from __future__ import annotations

import json
import random
import resource
import secrets
import signal
import string
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from support import needs
from support.daemon import Daemon, arm_and_approve, command, run, say
from support.phone_app import with_app
from support.procfs import Watcher, pieces
from support.random_text import random_secret
from support.x11 import Recorder, RecordingGtkEntry, RecordingXterm, XServer, differs, wait_until

from novakey.phone import Profile
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

INJECT = MessageType.INJECT
LAYOUTS = ("us", "de", "fr", "ru")
MANY = {"max_requests_per_min": 100_000, "delivery_timeout_s": 15}


@pytest.fixture(scope="module")
def server() -> Iterator[XServer]:
    with XServer() as running:
        yield running


@pytest.fixture(params=[RecordingXterm, RecordingGtkEntry], ids=["xterm", "gtk"])
def window(request: pytest.FixtureRequest, server: XServer) -> Iterator[Recorder]:
    server.layout("us")
    with request.param(server) as recorder:
        yield recorder


@pytest.fixture(scope="module")
def daemon(server: XServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with on_display(server, tmp_path_factory.mktemp("typing") / "d") as running:
        yield running


@pytest.fixture(scope="module")
def phone(daemon: Daemon) -> Profile:
    return daemon.pair()


def on_display(server: XServer, folder: Path, **settings: Any) -> Daemon:
    """Return a daemon that types on this display."""
    display = {name: server.env[name] for name in ("DISPLAY",)}
    return Daemon(folder, env=display, **{"desktop_backend": "auto", **MANY, **settings})


def send(phone: Profile, text: str) -> Outcome:
    arm_and_approve(phone)
    return say(phone, INJECT, text.encode()).outcome


def test_a_secret_goes_from_a_phone_process_into_the_focused_window(
    server: XServer, window: Recorder, tmp_path: Path
) -> None:
    secret = random_secret(random.Random())
    with on_display(server, tmp_path / "d") as daemon:
        daemon.uri()  # the picture is there
        profile = ("--profile", tmp_path / "phone.json", "--json")
        paired = run("phone", "pair", "--png", daemon.picture(), *profile)
        assert paired.returncode == 0, paired.stderr
        for step in ("arm", "approve"):
            assert run("phone", step, *profile).returncode == 0
        window.clear()
        sent = subprocess.run(
            command("phone", "send", *profile), input=secret.encode(), env=daemon.env, capture_output=True
        )
        reply = json.loads(sent.stdout)
        assert (sent.returncode, reply["status"], reply["reason"]) == (0, 0, "typing_fallback")
        assert differs(window.wait_for(secret), secret) is None


@pytest.fixture(params=["phone", "app"])
def tap(request: pytest.FixtureRequest, phone: Profile) -> Callable[[str], bool]:
    """Send a secret as the reference phone or as the app does; whether it was typed."""
    if request.param == "phone":
        return lambda text: send(phone, text) is Outcome.TYPED
    app = with_app(phone)
    return lambda text: app.arm().ok and app.send(text).text == "Sent to desk"


def campaign(server: XServer, window: Recorder, tap: Callable[[str], bool], rounds: int) -> None:
    rng = random.Random()
    for layout in LAYOUTS:
        server.layout(layout)
        before = server.keymap()
        for _ in range(rounds):
            text = random_secret(rng)
            window.clear()
            assert tap(text)
            assert differs(window.wait_for(text), text) is None, layout
        assert server.keymap() == before, f"the keyboard differs under {layout}"


def test_random_secrets_go_through_the_whole_daemon(
    server: XServer, window: Recorder, tap: Callable[[str], bool]
) -> None:
    campaign(server, window, tap, rounds=3)


@pytest.mark.long
def test_two_hundred_random_secrets_go_through_the_whole_daemon(
    server: XServer, window: Recorder, tap: Callable[[str], bool]
) -> None:
    campaign(server, window, tap, rounds=50)


def test_a_send_that_cannot_be_typed_costs_neither_arming_nor_approval(
    server: XServer, phone: Profile
) -> None:
    arm_and_approve(phone)
    for _ in range(2):  # no window has the focus
        reply = say(phone, INJECT, b"refused")
        assert reply.outcome is Outcome.INTERNAL_ERROR
        assert "nothing was typed: no window has the keyboard focus" in reply.msg
    with RecordingGtkEntry(server) as entry:
        assert say(phone, INJECT, b"typed now").outcome is Outcome.TYPED, "still armed and approved"
        assert entry.wait_for("typed now") == "typed now"
        assert say(phone, INJECT, b"again").outcome is Outcome.NOT_ARMED, "used up by the success"
        arm_and_approve(phone)
        assert say(phone, INJECT, b"!").outcome is Outcome.TYPED


def clipboard(server: XServer) -> str:
    return server.run("xclip", "-o", "-selection", "clipboard", check=False)


def copy(server: XServer, text: str) -> None:
    quiet = {"capture_output": False, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server.run("xclip", "-i", "-selection", "clipboard", input=text, **quiet)


def test_clipboard_fallback_for_a_paste_and_for_what_the_person_must_paste(
    server: XServer, tmp_path: Path
) -> None:
    settings = {"allow_typing_fallback": False, "allow_clipboard_on_inject_failure": True}
    with on_display(server, tmp_path / "d", **settings) as daemon:
        phone = daemon.pair()
        with RecordingGtkEntry(server) as entry:
            arm_and_approve(phone)
            reply = say(phone, INJECT, "pasted é".encode())
            assert (reply.outcome, reply.outcome.status, reply.outcome.reason) == (
                Outcome.PASTED,
                0x00,
                "clipboard_fallback",
            )
            assert entry.wait_for("pasted é") == "pasted é"
        arm_and_approve(phone)
        reply = say(phone, INJECT, b"nowhere to paste")
        assert (reply.outcome, reply.outcome.status) == (Outcome.COPIED, 0x09)
        assert reply.outcome.reason == "clipboard_fallback"
        assert clipboard(server) == "nowhere to paste"
        assert say(phone, INJECT, b"x").outcome is Outcome.NOT_ARMED, "a copy is a success"


def test_clipboard_fallback_when_disarmed_and_when_typing_fails(server: XServer, tmp_path: Path) -> None:
    settings = {"allow_clipboard_when_disarmed": True, "allow_clipboard_on_inject_failure": True}
    with on_display(server, tmp_path / "d", two_man_enabled=False, **settings) as daemon:
        phone = daemon.pair()
        with RecordingGtkEntry(server) as entry:
            assert say(phone, INJECT, b"not armed").outcome is Outcome.COPIED
            assert clipboard(server) == "not armed"
            assert entry.text() == "", "only typed while armed"
        say(phone, MessageType.ARM)
        assert say(phone, INJECT, b"no window").outcome is Outcome.COPIED
        assert clipboard(server) == "no window"


def test_the_clipboard_is_taken_back_after_its_time_and_at_exit_if_it_is_still_ours(
    server: XServer, tmp_path: Path
) -> None:
    settings = {"allow_clipboard_when_disarmed": True, "two_man_enabled": False}
    with on_display(server, tmp_path / "d", clipboard_clear_s=1, **settings) as daemon:
        phone = daemon.pair()
        assert say(phone, INJECT, b"for a second").outcome is Outcome.COPIED
        wait_until(lambda: clipboard(server) == "", "taking it back")
        assert say(phone, INJECT, b"ours").outcome is Outcome.COPIED
        copy(server, "theirs")
        gevent.sleep(1.5)  # past the time at which it would be taken back
        assert clipboard(server) == "theirs"
    with on_display(server, tmp_path / "d", **settings) as daemon:
        again = daemon.at(phone)
        assert say(again, INJECT, b"until the exit").outcome is Outcome.COPIED
        assert clipboard(server) == "until the exit"
        assert daemon.stop() == 0
        assert clipboard(server) == ""
    with on_display(server, tmp_path / "d", **settings) as daemon:
        assert say(daemon.at(phone), INJECT, b"ours").outcome is Outcome.COPIED
        copy(server, "theirs")
        assert daemon.stop() == 0
        assert clipboard(server) == "theirs"


def ascii_secret() -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(256))


@pytest.mark.parametrize("who", ["another user", "the same user"])
def test_arguments_and_environments_never_hold_the_secret(
    server: XServer, daemon: Daemon, phone: Profile, tmp_path: Path, who: str
) -> None:
    prefix = needs.as_unprivileged() if who == "another user" else []
    text = ascii_secret()[:250]
    phone.save(tmp_path / "phone.json")
    with RecordingGtkEntry(server) as entry, Watcher(text.encode(), prefix) as watcher:
        for number in range(4):  # the very same text would not be typed again at once
            entry.clear()
            assert send(phone, f"{text}{number}") is Outcome.TYPED
            assert differs(entry.wait_for(f"{text}{number}"), f"{text}{number}") is None
            watcher.sweep()
        arm_and_approve(phone)  # and by the phone's command, whose arguments are somebody's too
        argv = command("phone", "send", "--profile", tmp_path / "phone.json")
        sent = subprocess.run(argv, input=f"{text}!".encode(), env=daemon.env, capture_output=True)
        assert sent.returncode == 0
    assert watcher.sweeps >= 4
    assert watcher.read >= 100
    assert watcher.seen == []


def test_the_watcher_sees_arguments_of_others_and_its_own_environment() -> None:
    text = ascii_secret()
    for prefix, kinds in ((needs.as_unprivileged(), ["cmdline"]), ([], ["cmdline", "environ"])):
        argv = ["/usr/bin/python3", "-c", "print(flush=True); import sys; sys.stdin.read()", text]
        pipe = subprocess.PIPE
        leaking = subprocess.Popen(argv, env={"SECRET": text}, stdin=pipe, stdout=pipe)
        try:
            assert leaking.stdout is not None
            leaking.stdout.readline()
            with Watcher(text.encode(), prefix) as watcher:
                watcher.sweep()
        finally:
            leaking.communicate()
        assert watcher.seen == kinds


def crash(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGABRT)
    assert process.wait(30) == -signal.SIGABRT


def test_no_file_and_no_core_holds_the_secret(
    server: XServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = ascii_secret()[:250]
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))  # children inherit it, and the folder for cores
    try:
        monkeypatch.chdir(tmp_path)
        with on_display(server, tmp_path / "d", allow_clipboard_when_disarmed=True) as daemon:
            phone = daemon.pair()
            with RecordingGtkEntry(server) as entry:
                assert send(phone, text) is Outcome.TYPED
                assert differs(entry.wait_for(text), text) is None
                arm_and_approve(phone)
            assert say(phone, INJECT, f"{text}1".encode()).outcome is Outcome.INTERNAL_ERROR, "no window"
            say(phone, MessageType.DISARM)
            assert say(phone, INJECT, f"{text}2".encode()).outcome is Outcome.COPIED
            crash(daemon.process)
            files = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        crash(subprocess.Popen(["sleep", "60"]))
        if not Path("/proc/sys/kernel/core_pattern").read_text().startswith(("|", "/")) and hard:
            assert list(tmp_path.glob("core*")), "a process that does not care leaves one here"
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    assert {"devices.json", "server_keys.json", "novakey.log", "d.out"} <= set(files)
    assert not [name for name in files if name.startswith("core")]
    for name, content in files.items():
        assert not any(piece in content for piece in pieces(text.encode())), name
