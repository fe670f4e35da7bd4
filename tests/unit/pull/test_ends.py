"""How a request ends that is not answered, or wrongly: as the program says, and no secret goes elsewhere."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import needs, tmux
from support import pull as pullbench
from support.daemon import Daemon, command, say
from support.pull import Scene, git_server, random_secret
from support.x11 import RecordingXterm, XServer, listens, wait_until

from novakey.control import client
from novakey.messages.requests import LATE_S
from novakey.system.paths import Paths
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

SECRET = random_secret()


@pytest.fixture
def shared(one: Scene) -> Iterator[Scene]:
    """For the tests that leave nothing late behind."""
    yield one
    one.settle()


@pytest.fixture
def scene() -> Iterator[Scene]:
    with Scene() as made:
        yield made


def is_late(scene: Scene) -> None:
    """Check that a secret that comes now is refused, with the reason."""
    reply = scene.tap(SECRET)
    assert reply.outcome is Outcome.RATE_LIMIT and "the program that asked has gone" in reply.msg


def test_nothing_that_comes_after_its_request_is_typed_also_over_a_kill() -> None:
    """The asking program killed, the next in the queue, the daemon killed; at last a secret may be typed."""
    with (
        XServer() as server,
        RecordingXterm(server) as window,
        Scene(env={"DISPLAY": server.display}, desktop_backend="x11") as scene,
    ):
        request = scene.novakey("ask", "--prompt", "one")
        scene.asked(request)
        request.process.kill()
        request.wait()
        wait_until(lambda: not scene.asks(), "the end of the request")
        is_late(scene)
        queued = scene.novakey("ask", "--prompt", "two")
        scene.asked(queued)
        is_late(scene)
        assert queued.process.poll() is None and queued.output() == b""

        scene.daemon.kill()
        assert queued.wait() == 1
        assert queued.said().splitlines()[-1] == "novakey: the daemon stopped, or ended the connection"
        with Daemon(
            scene.daemon.folder,
            env=scene.daemon.env,
            desktop_backend="x11",
            ask_confirm=False,
        ) as again:
            scene.daemon = again
            started = time.monotonic()
            is_late(scene)
            assert window.text() == ""
            time.sleep(max(0.0, started + LATE_S + 0.5 - time.monotonic()))
            assert scene.tap(SECRET).outcome is Outcome.TYPED, "the window was there to be typed into"
            assert window.wait_for(SECRET) == SECRET


def test_a_daemon_told_to_stop_ends_its_requests(scene: Scene) -> None:
    request = scene.novakey("ask")
    scene.asked(request)
    scene.daemon.stop()
    assert request.wait() == 1 and request.output() == b""
    assert request.said().splitlines()[-1] == "novakey: the daemon stopped, or ended the connection"
    with scene.daemon:
        is_late(scene)


def test_a_time_out_says_so_and_exits_with_1(scene: Scene) -> None:
    request = scene.novakey("ask", "--timeout", "1", "--prompt", "the disk")
    assert request.wait() == 1 and request.output() == b""
    first, problem, cure = request.said().splitlines()
    assert first == "novakey: waiting for a phone (request 1): the disk"
    assert problem == "novakey: no phone sent a secret within 1 s" and "--timeout" in cure
    is_late(scene)


@pytest.mark.parametrize(
    "words",
    [["ask"], ["exec", "--fd", "3", "--", "true"], ["askpass", "Password: "]],
    ids=lambda words: words[0],
)
def test_ctrl_c_ends_it_in_silence(scene: Scene, words: list[str]) -> None:
    request = scene.novakey(*words)
    scene.asked(request)
    wait_until(lambda: "waiting for a phone" in request.said(), "that it waits")
    request.process.send_signal(signal.SIGINT)
    assert request.wait() == 130 and request.output() == b""
    [line] = request.said().splitlines()
    assert line.startswith("novakey: waiting for a phone"), "nothing but that"
    wait_until(lambda: not scene.asks(), "the end of the request")


def test_ctrl_c_on_a_terminal_shows_nothing_but_itself(scene: Scene) -> None:
    with tmux.Terminal(scene.daemon.folder, 100, 10) as terminal:
        terminal.type("novakey ask; echo $?")
        terminal.wait_for("waiting for a phone")
        terminal.press("C-c")
        lines = terminal.wait_for(r"130\s+\$ $").split("\n")
    assert lines[0].startswith("$ novakey ask") and lines[1].startswith("novakey: waiting for a phone")
    assert [line.strip() for line in lines[2:] if line.strip()] == ["^C", "130", "$"]


def test_a_text_that_is_refused_leaves_the_request_waiting(shared: Scene) -> None:
    request = shared.novakey("ask", "--newline")
    shared.asked(request)
    reply = shared.tap("two\nlines")
    assert reply.outcome is Outcome.BAD_REQUEST
    assert shared.tap(SECRET).outcome is Outcome.OK
    assert request.wait() == 0 and request.output().decode() == SECRET + "\n"


def test_two_requests_at_once_are_served_in_order_and_see_their_place(shared: Scene) -> None:
    first = shared.novakey("ask", "--prompt", "one")
    shared.asked(first)
    second = shared.novakey("ask", "--prompt", "two")
    shared.asked(second)
    wait_until(lambda: ", 1 before it): two" in second.said(), "its place")
    assert shared.tap("for the first").outcome is Outcome.OK
    assert first.wait() == 0 and first.output() == b"for the first"
    wait_until(lambda: second.said().endswith("): two\n") and second.said().count("\n") == 2, "its new place")
    assert shared.tap("for the second").outcome is Outcome.OK
    assert second.wait() == 0 and second.output() == b"for the second"


def test_a_request_for_one_phone_is_not_answered_by_another(shared: Scene) -> None:
    with client.request(Paths.under(shared.daemon.folder), "pair", add=True) as asked:
        assert asked.next(20) is not None
        other = shared.daemon.pair("other")
    request = shared.novakey("ask", "--device", "other")
    row = shared.asked(request)
    reply = shared.tap(SECRET)
    assert reply.outcome is Outcome.NOT_ARMED and reply.msg.endswith("waits for another device"), row
    assert shared.tap(SECRET, other).outcome is Outcome.OK
    assert request.wait() == 0


def test_a_second_tap_is_not_typed(shared: Scene) -> None:
    request = shared.novakey("ask")
    shared.answer(request, SECRET)
    reply = shared.tap(SECRET)
    assert reply.outcome is Outcome.OK and "it is not delivered twice" in reply.msg
    reply = shared.tap("another")
    assert reply.outcome is Outcome.RATE_LIMIT and "has its secret" in reply.msg


def test_without_a_paired_phone_or_a_daemon_it_says_so_at_once(tmp_path: Path) -> None:
    lone = Scene()
    with lone.daemon:
        request = lone.novakey("ask")
        assert request.wait() == 1 and request.said().startswith("novakey: no phone is paired\n")
    request = lone.novakey("ask")
    assert request.wait() == 1 and request.said().startswith("novakey: no daemon runs\n")
    shutil.rmtree(lone.folder)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--env", "A B", "--", "true"), "cannot be the name of a variable"),
        (("--fd", "1", "--", "true"), "is taken or too high"),
        (("--fd", "3"), "there is no command to run"),
    ],
)
def test_what_exec_cannot_do_it_says_before_it_asks(
    tmp_path: Path, words: tuple[str, ...], problem: str
) -> None:
    from support.daemon import run

    done = run("--data-dir", tmp_path, "exec", *words)
    assert done.returncode == 2 and problem in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("no-such-program", "there is no program of that name in PATH"),
        ("./no-such-program", "there is no program of that path"),
        ("./dangling", "there is no program of that path"),
        ("./plain", "./plain is not executable"),
        ("./folder", "it is a folder"),
        ("./script", "its interpreter /nonexistent/python is missing"),
    ],
)
def test_exec_of_a_command_that_cannot_be_run_ends_as_a_shell_does(
    tmp_path: Path, name: str, problem: str
) -> None:
    from support.daemon import run

    (tmp_path / "plain").touch(0o644)
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "script").write_text("#!/nonexistent/python -u\n")
    (tmp_path / "script").chmod(0o755)
    shell = subprocess.run(["bash", "-c", '"$0"', name], cwd=tmp_path, capture_output=True, check=False)
    done = run("--data-dir", tmp_path / "d", "exec", "--fd", "3", "--", name, cwd=tmp_path)
    assert done.returncode == shell.returncode, done.stderr
    first, cure = done.stderr.splitlines()
    assert first.startswith(f"novakey: {name} cannot be run: ") and problem in first and cure


# ---- the programs ----


def test_ssh_add_that_is_killed_takes_its_request_with_it(scene: Scene, tmp_path: Path) -> None:
    needs.programs("ssh-add", "ssh-keygen")
    key = tmp_path / "id"
    scene.run("ssh-keygen", "-q", "-t", "ed25519", "-a", "1", "-N", SECRET, "-f", str(key))
    agent = scene.start("ssh-agent", "-D", "-a", str(scene.folder / "a"))
    wait_until(lambda: listens(scene.folder / "a"), "ssh-agent")
    env = {**scene.ssh, "SSH_AUTH_SOCK": str(scene.folder / "a")}
    adding = scene.start("ssh-add", str(key), env=env)
    scene.asked(adding)
    adding.process.kill()
    adding.wait()
    wait_until(lambda: not scene.asks(), "the end of its askpass")
    is_late(scene)
    assert agent.process.poll() is None

    # Where the askpass is ended instead, ssh-add has no passphrase: ssh-add(1) exits with 1.
    adding = scene.start("ssh-add", str(key), env=env)
    row = scene.asked(adding)
    os.kill(row["pid"], signal.SIGTERM)
    assert adding.wait() == 1
    listed = scene.start("ssh-add", "-l", env=env)
    assert listed.wait() == 1 and b"no identities" in listed.output()


@pytest.fixture
def signing(scene: Scene) -> Iterator[dict[str, str]]:
    needs.programs("gpg", "gpg-agent")
    home = scene.folder / "g"
    home.mkdir(mode=0o700)
    (home / "gpg-agent.conf").write_text(
        f"pinentry-program {scene.link('novakey-pinentry')}\npinentry-timeout 3\ns2k-count 65536\n"
        "default-cache-ttl 0\nmax-cache-ttl 0\n"
    )
    (scene.folder / "letter").write_text("from anna\n")
    env = {"GNUPGHOME": str(home)}
    loopback = ("gpg", "--batch", "-q", "--pinentry-mode", "loopback", "--passphrase-fd", "0")
    scene.run(*loopback, "--quick-generate-key", "Anna", "ed25519", env=env, input=SECRET)
    yield env
    scene.run("gpgconf", "--kill", "all", env=env)


def test_gpg_is_told_of_the_time_out_of_its_agent_and_its_end_ends_the_request(
    scene: Scene, signing: dict[str, str]
) -> None:
    sign = ("gpg", "--batch", "--no-tty", "--detach-sign", "-o", "sig", "letter")
    with pullbench.Terminal() as terminal:
        failing = scene.start(*sign, env={**signing, "GPG_TTY": os.ttyname(terminal.slave)})
        scene.asked(failing)
        assert failing.wait() == 2 and "Timeout" in failing.said()
        terminal.wait_for("novakey: no phone sent a secret within 3 s")
    assert not scene.asks()
    again = scene.start(*sign, env=signing)
    scene.asked(again)
    scene.run("gpgconf", "--kill", "all", env=signing)
    assert again.wait() == 2
    wait_until(lambda: not scene.asks(), "the end of its pinentry")
    assert not (scene.folder / "sig").exists()


def test_git_gives_up_when_no_password_comes(scene: Scene) -> None:
    needs.programs("git")
    with git_server(scene, SECRET) as url:
        env = {"GIT_ASKPASS": scene.link("novakey-askpass"), "GIT_TERMINAL_PROMPT": "0"}
        cloning = scene.start("git", "clone", f"{url.replace('//', '//anna@')}/r.git", "clone", env=env)
        row = scene.asked(cloning)
        os.kill(row["pid"], signal.SIGTERM)
        assert cloning.wait() == 128, "git's own for: fatal"
        assert "could not read Password" in cloning.said() and not (scene.folder / "clone").exists()


def test_systemd_ask_password_ends_at_its_own_time_and_its_request_with_it(scene: Scene) -> None:
    agent = scene.among_own_questions(*command("agent"))
    wait_until(lambda: "answering what is asked" in agent.said(), "the agent")
    request = scene.among_own_questions("systemd-ask-password", "--no-tty", "--timeout=4", "disk")
    scene.asked(request)
    assert request.wait() == 1 and request.output() == b""
    wait_until(lambda: not scene.asks(), "the end of the request")
    is_late(scene)
    agent.process.terminate()
    assert agent.wait() == 0


def test_a_daemon_that_restarts_is_found_again_by_the_systemd_agent(scene: Scene) -> None:
    agent = scene.among_own_questions(*command("agent"))
    request = scene.among_own_questions("systemd-ask-password", "--no-tty", "--timeout=60", "disk")
    scene.asked(request)
    scene.daemon.stop()
    (scene.daemon.folder / "asking").unlink()  # else the moment after a request would have to pass
    scene._seen = 0
    with scene.daemon:
        scene.asked(request)
        say(scene.daemon.at(scene.phone), MessageType.APPROVE)
        assert scene.tap(SECRET).outcome is Outcome.OK
        assert request.wait() == 0 and request.output().decode() == SECRET + "\n"
        agent.process.terminate()
        assert agent.wait() == 0
