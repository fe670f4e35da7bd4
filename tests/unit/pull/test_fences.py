"""Who may ask, see and answer; what the owner sees first; what is a question for a person and no secret."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from support import needs
from support.daemon import random_key, run, say
from support.dbus import message_bus
from support.dunst import Dunst
from support.procfs import Watcher
from support.pull import SSH, Child, Scene, Terminal, found_in, ordinary_user, random_secret, sshd
from support.x11 import XServer, listens, wait_until

from novakey.control import client
from novakey.phone import Profile
from novakey.system.paths import Paths
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

SECRET = random_secret()

# Another user's try: to ask, to see who asks, to give a request away.
_STRANGER = """
import json, socket, sys
for op, args in (("ask", {"prompt": "mine"}), ("status", {}), ("approve", {})):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    try:
        sock.connect(sys.argv[1])
        sock.sendall(json.dumps({"v": 2, "op": op, "args": args}).encode() + b"\\n")
        print(op, sock.recv(4096))
    except OSError as error:
        print(op, type(error).__name__)
"""


@pytest.fixture
def scene(one: Scene) -> Iterator[Scene]:
    yield one
    one.settle()


def test_another_user_can_neither_ask_nor_see_nor_answer(scene: Scene) -> None:
    request = scene.novakey("ask", "--prompt", "ours")
    scene.asked(request)
    control = scene.daemon.folder / "control.sock"
    script = ["/usr/bin/python3", "-c", _STRANGER, str(control)]

    def tries() -> list[str]:
        done = subprocess.run(
            [*needs.as_unprivileged(), *script], capture_output=True, text=True, cwd="/", check=True
        )
        return [line.split(" ", 1)[1] for line in done.stdout.splitlines()]

    assert tries() == ["PermissionError"] * 3
    scene.daemon.folder.chmod(0o755)  # the two outer fences are gone
    control.chmod(0o666)
    try:
        assert set(tries()) <= {"b''", "ConnectionResetError", "BrokenPipeError"}
    finally:
        control.chmod(0o600)
        scene.daemon.folder.chmod(0o700)
    real = scene.daemon.at(scene.phone)
    forged = Profile(real.host, real.port, real.device_id, random_key(), real.public)
    assert say(forged, MessageType.INJECT, b"theirs").outcome is Outcome.CRYPTO_FAIL
    assert [row["prompt"] for row in scene.asks()] == ["ours"] and request.output() == b""
    assert scene.tap(SECRET).outcome is Outcome.OK
    assert request.wait() == 0 and request.output().decode() == SECRET


def test_no_process_shows_it_but_the_child_that_was_to_have_it_in_its_environment(scene: Scene) -> None:
    with Watcher(SECRET.encode(), needs.as_unprivileged()) as stranger:
        with Watcher(SECRET.encode()) as same_user:
            request = scene.start(scene.link("novakey-askpass"), "Password: ")
            scene.answer(request, SECRET)
            assert request.wait() == 0
            pin = scene.start(scene.link("novakey-pinentry"), stdin=subprocess.PIPE)
            assert pin.process.stdin is not None
            pin.process.stdin.write(b"GETPIN\nBYE\n")
            pin.process.stdin.flush()
            scene.answer(pin, SECRET)
            assert pin.wait() == 0 and f"D {SECRET}\n".encode() in pin.output()
            pin.process.stdin.close()
            waits = "echo ready >&2; read line; wc -c <&3"
            reading = scene.novakey("exec", "--fd", "3", "--", "sh", "-c", waits, stdin=subprocess.PIPE)
            scene.answer(reading, SECRET)
            wait_until(lambda: "ready" in reading.said(), "the child")
            same_user.sweep()
            reading.process.communicate(b"\n")
            assert reading.wait() == 0 and int(reading.output()) == len(SECRET)
        assert same_user.seen == []
        with Watcher(SECRET.encode()) as same_user:
            child = scene.novakey(
                "exec", "--env", "TOKEN", "--", "sh", "-c", "echo ready; read line", stdin=subprocess.PIPE
            )
            scene.answer(child, SECRET)
            wait_until(lambda: b"ready" in child.output(), "the child")
            same_user.sweep()
            stranger.sweep()
            child.process.communicate(b"\n")
            assert child.wait() == 0
        assert same_user.seen == ["environ"], "of its own child, and no argument"
    assert stranger.seen == []


def test_status_and_the_record_say_who_asked_for_what_and_never_the_secret(scene: Scene) -> None:
    request = scene.novakey("ask", "--prompt", "the key\tof \x1b[31mthe vault")
    row = scene.answer(request, SECRET)
    assert request.wait() == 0
    assert row["prompt"] == "the key of \\x1b[31mthe vault"
    home = ("--data-dir", scene.daemon.folder)
    wait_until(lambda: "given" in run(*home, "audit", "--json").stdout, "the record")
    entries = [json.loads(line) for line in run(*home, "audit", "--json").stdout.splitlines()]
    assert SECRET not in json.dumps(entries)
    mine = [entry for entry in entries if entry.get("prompt") == row["prompt"]]
    assert [(entry["event"], entry["outcome"], entry["device"]) for entry in mine] == [
        ("ask", "waiting", ""),
        ("ask", "given", "phone-1"),
    ]
    assert {entry["pid"] for entry in mine} == {str(request.process.pid)}
    table = [line.split() for line in run(*home, "audit").stdout.splitlines()]
    asked = [line[2:] for line in table if "ask" in line]
    assert [words[:-1] for words in asked[-2:]] == [["ask", "waiting"], ["phone-1", "ask", "given"]]
    assert found_in(scene.daemon.folder, SECRET) == [] and SECRET not in scene.daemon.log()


# ---- what the owner sees before ----


@pytest.fixture(scope="module")
def screen() -> Iterator[XServer]:
    with XServer() as running:
        yield running


@pytest.fixture
def notified(with_service: tuple[Scene, Dunst]) -> Iterator[tuple[Scene, Dunst]]:
    yield with_service
    with_service[0].settle()


@pytest.fixture(scope="module")
def with_service(screen: XServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scene, Dunst]]:
    """Return a daemon that asks its owner, and a notification service."""
    with message_bus() as bus:
        bus.env["DISPLAY"] = screen.display
        dunst = Dunst(bus, tmp_path_factory.mktemp("dunst"))
        with Scene(env={"DBUS_SESSION_BUS_ADDRESS": bus.address}, ask_confirm=True) as scene:
            yield scene, dunst


def test_a_program_without_a_terminal_waits_for_the_owners_word(
    notified: tuple[Scene, Dunst],
) -> None:
    scene, dunst = notified
    request = scene.start("setsid", "--wait", scene.link("novakey-askpass"), "Password for the vault: ")
    row = scene.asked(request)
    dunst.wait_until_shown()
    sending = gevent.spawn(scene.tap, SECRET)
    wait_until(lambda: "an answer on the screen" in request.said(), "what it waits for")
    assert not sending.ready() and request.output() == b"", "the phone waits for the owner"
    assert "waiting for a phone" not in request.said()
    dunst.press("Allow")
    assert sending.get(timeout=20).outcome is Outcome.OK
    assert request.wait() == 0 and request.output().decode() == SECRET + "\n"
    dunst.wait_until_shown(0)
    shown = dunst.history()[0]
    assert shown["summary"]["data"] == f"{row['program']} asks for a secret"
    assert f"(process {row['pid']}) says: Password for the vault:" in shown["body"]["data"]


def test_the_one_question_to_an_owner_who_approves_shows_phone_and_program(
    screen: XServer, tmp_path: Path
) -> None:
    with message_bus() as bus:
        bus.env["DISPLAY"] = screen.display
        dunst = Dunst(bus, tmp_path)
        env = {"DBUS_SESSION_BUS_ADDRESS": bus.address}
        with Scene(env=env, ask_confirm=True, two_man_approver="computer") as scene:
            for _ in range(2):
                request = scene.start("setsid", "--wait", scene.link("novakey-askpass"), "Password: ")
                row = scene.asked(request)
                dunst.press("Allow")
                dunst.wait_until_shown(0)
                assert scene.tap(SECRET).outcome is Outcome.OK
                assert request.wait() == 0 and request.output().decode() == SECRET + "\n"
            assert [summary for summary, _ in dunst.told()] == [f"{row['program']} asks for a secret"] * 2
            body = dunst.history()[0]["body"]["data"]
            assert body.startswith('"phone-1" may send it. ') and f"(process {row['pid']}) says: Pass" in body

            request = scene.start("setsid", "--wait", scene.link("novakey-askpass"), "Password: ")
            row = scene.asked(request)
            dunst.press("Allow")
            dunst.wait_until_shown(0)
            folder = Paths.under(scene.daemon.folder)
            # The daemon hears of the button a moment after the question has gone.
            wait_until(lambda: client.ask(folder, "deny") == {"denied": ["phone-1"]}, "taking it back")
            assert scene.tap(SECRET).outcome is Outcome.NEEDS_APPROVE
            assert client.ask(folder, "approve")["approved"] == "phone-1"
            assert scene.tap(SECRET).outcome is Outcome.OK
            assert request.wait() == 0


def test_one_that_the_owner_denies_gets_nothing(notified: tuple[Scene, Dunst]) -> None:
    scene, dunst = notified
    request = scene.start("setsid", "--wait", scene.link("novakey-askpass"), "Password: ")
    scene.asked(request)
    dunst.press("Deny")
    assert request.wait() == 1 and request.output() == b""
    assert "novakey: refused on the screen" in request.said()


def in_terminal(scene: Scene, terminal: Terminal, by: str) -> Child:
    """Return a program in front on a terminal that a program called `by` holds."""
    holder = scene.folder / "bin" / by
    if not holder.exists():
        shutil.copy(shutil.which("setsid") or pytest.skip("setsid is not installed"), holder)
    words = (str(holder), "--fork", "--ctty", "--wait", scene.link("novakey-askpass"), "Password: ")
    return scene.start(*words, stdin=terminal.slave)


def test_nothing_more_is_asked_for_a_program_on_a_terminal_that_is_seen(
    notified: tuple[Scene, Dunst],
) -> None:
    scene, dunst = notified
    with Terminal() as terminal:
        request = in_terminal(scene, terminal, "xterm")
        scene.asked(request)
        assert scene.tap(SECRET).outcome is Outcome.OK
        assert request.wait() == 0 and request.output().decode() == SECRET + "\n"
        assert dunst.shown() == 0


def test_a_program_on_an_unseen_terminal_has_its_secret_only_after_the_owners_word(
    notified: tuple[Scene, Dunst],
) -> None:
    scene, dunst = notified
    with Terminal() as terminal:
        request = in_terminal(scene, terminal, "a-relay")
        scene.asked(request)
        sending = gevent.spawn(scene.tap, SECRET)
        dunst.press("Allow")
        assert sending.get(timeout=20).outcome is Outcome.OK
        assert request.wait() == 0 and request.output().decode() == SECRET + "\n"


def test_what_was_opened_before_a_request_goes_to_it_only_with_the_owners_word(
    notified: tuple[Scene, Dunst],
) -> None:
    scene, dunst = notified
    phone = scene.daemon.at(scene.phone)
    for kind in (MessageType.ARM, MessageType.APPROVE):
        assert say(phone, kind).outcome is Outcome.OK
    with Terminal() as terminal:
        request = in_terminal(scene, terminal, "xterm")
        scene.asked(request)
        sending = gevent.spawn(say, phone, MessageType.INJECT, SECRET.encode())
        dunst.press("Deny")
        assert sending.get(timeout=20).outcome is Outcome.NOT_ARMED
        assert request.wait() == 1 and request.output() == b""


def test_where_no_person_can_be_asked_a_program_without_a_terminal_gets_nothing() -> None:
    with Scene(ask_confirm=True) as scene:
        request = scene.start("setsid", "--wait", scene.link("novakey-askpass"), "Password: ")
        assert request.wait() == 1 and request.output() == b""
        [line] = request.said().splitlines()
        assert line.startswith("novakey: no person can confirm it"), "it never waited for a phone"
        assert "ask_confirm: false" in line
        table = [line.split() for line in run("--data-dir", scene.daemon.folder, "audit").stdout.splitlines()]
        assert [line[2:4] for line in table if "ask" in line] == [["ask", "waiting"], ["ask", "refused"]]


# ---- questions for a person ----


def test_ssh_asks_for_a_host_key_on_the_terminal_and_the_phone_for_the_password(
    scene: Scene, tmp_path: Path
) -> None:
    with ordinary_user(SECRET) as user, sshd(scene, tmp_path) as port, Terminal() as terminal:
        known = ("-o", "StrictHostKeyChecking=ask", "-o", f"UserKnownHostsFile={tmp_path}/known")
        words = (*SSH, *known, "-p", str(port), f"{user}@127.0.0.1", "id -un")
        going = scene.start(*terminal.words, *words, env=scene.ssh, stdin=terminal.slave)
        terminal.wait_for("continue connecting (yes/no/[fingerprint])?")
        assert "SHA256:" in terminal.text()
        assert scene.asks() == []
        terminal.type("perhaps")
        terminal.wait_for("Please type 'yes', 'no' or the fingerprint:")
        assert scene.asks() == []
        terminal.type("yes")
        scene.answer(going, SECRET)
        assert going.wait() == 0, going.said()
        assert going.output().decode().strip() == user
        assert SECRET not in terminal.text()


def test_a_question_without_a_terminal_is_a_notification(
    notified: tuple[Scene, Dunst], tmp_path: Path
) -> None:
    scene, dunst = notified
    for label, answer in (("Yes", "yes\n"), ("No", "no\n")):
        prompt = "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        request = scene.start("setsid", "--wait", scene.link("novakey-askpass"), prompt)
        dunst.press(label)
        assert request.wait() == 0 and request.output().decode() == answer


def test_ssh_agent_asks_the_person_before_it_uses_a_key(
    notified: tuple[Scene, Dunst], tmp_path: Path
) -> None:
    needs.programs("ssh-agent", "ssh-add", "ssh-keygen")
    scene, dunst = notified
    key = tmp_path / "id"
    scene.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "of a test", "-f", str(key))
    env = {**scene.ssh, "SSH_AUTH_SOCK": str(scene.folder / "a")}
    scene.start("ssh-agent", "-D", "-a", env["SSH_AUTH_SOCK"], env=env)
    wait_until(lambda: listens(scene.folder / "a"), "ssh-agent")
    scene.run("ssh-add", "-q", "-c", str(key), env=env)
    (scene.folder / "letter").write_text("from anna\n")
    sign = ("ssh-keygen", "-q", "-Y", "sign", "-f", f"{key}.pub", "-n", "test", "letter")
    signing = scene.start(*sign, env=env)
    dunst.press("Yes")
    assert signing.wait() == 0, signing.said()
    assert (scene.folder / "letter.sig").exists()
    (scene.folder / "letter.sig").unlink()
    signing = scene.start(*sign, env=env)
    dunst.press("No")
    assert signing.wait() != 0 and not (scene.folder / "letter.sig").exists()


def test_a_pinentrys_question_is_asked_on_the_terminal_that_its_client_names(scene: Scene) -> None:
    with Terminal() as terminal:
        pin = scene.start("setsid", "--wait", scene.link("novakey-pinentry"), stdin=subprocess.PIPE)
        assert pin.process.stdin is not None
        for line in (
            f"OPTION ttyname={os.ttyname(terminal.slave)}",
            "SETDESC Delete it%0Afor good?",
            "CONFIRM",
        ):
            pin.process.stdin.write(line.encode() + b"\n")
        pin.process.stdin.flush()
        terminal.wait_for("for good? (yes/no)")
        terminal.type("no")
        wait_until(lambda: b"ERR 83886194 Not confirmed <Pinentry>\n" in pin.output(), "the answer")
        pin.process.stdin.write(b"GETPIN\n")
        pin.process.stdin.flush()
        scene.answer(pin, SECRET)
        assert "novakey: waiting for a phone" in terminal.text() and SECRET not in terminal.text()
        pin.process.stdin.write(b"BYE\n")
        pin.process.stdin.close()
        assert pin.wait() == 0
