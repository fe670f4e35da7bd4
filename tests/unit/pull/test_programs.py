"""Programs that ask for secrets, each the real one, each answered by the reference phone and by the app."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import installed, needs
from support.daemon import Daemon, command, say
from support.pull import SSH, Scene, found_in, git_server, ordinary_user, random_secret, sshd
from support.x11 import end, listens, wait_until

from novakey.control import client
from novakey.system.paths import Paths
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

SECRET = random_secret()


@pytest.fixture(scope="module", params=[False, True], ids=["phone", "app"])
def shared(request: pytest.FixtureRequest) -> Iterator[Scene]:
    with Scene(app=request.param) as made:
        yield made
        made.daemon.stop()
        assert found_in(made.daemon.folder, SECRET) == [], "in a file, a log or the record"
        assert SECRET not in made.daemon.log()


@pytest.fixture
def scene(shared: Scene) -> Iterator[Scene]:
    yield shared
    shared.settle()


@pytest.fixture
def key(scene: Scene, tmp_path: Path) -> Path:
    needs.programs("ssh-keygen")
    path = tmp_path / "id"
    scene.run(
        "ssh-keygen", "-q", "-t", "ed25519", "-a", "1", "-N", SECRET, "-C", "of a test", "-f", str(path)
    )
    return path


@contextmanager
def ssh_agent(scene: Scene) -> Iterator[dict[str, str]]:
    needs.programs("ssh-agent")
    path = scene.folder / "agent.sock"
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(path)], env={**scene.env, **scene.ssh}, stdout=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: listens(path), "ssh-agent")
        yield {**scene.ssh, "SSH_AUTH_SOCK": str(path)}
    finally:
        end(process)
        path.unlink(missing_ok=True)


def test_ssh_add_takes_an_encrypted_key_and_asks_again_after_a_wrong_passphrase(
    scene: Scene, key: Path
) -> None:
    with ssh_agent(scene) as env:
        adding = scene.start("ssh-add", str(key), env=env)
        row = scene.answer(adding, "wrong" + SECRET)
        assert row["program"] == "ssh-add" and row["prompt"].startswith("Enter passphrase for ")
        row = scene.answer(adding, SECRET)
        assert row["prompt"].startswith("Bad passphrase, try again")
        assert adding.wait() == 0, adding.said()
        assert "of a test" in scene.run("ssh-add", "-l", env=env)
        assert f"waiting for a phone (request {row['number']}): Bad passphrase" in adding.said()


def test_ssh_logs_in_with_a_password_and_tries_again_after_a_wrong_one(scene: Scene, tmp_path: Path) -> None:
    with ordinary_user(SECRET) as user, sshd(scene, tmp_path) as port:
        known = ("-o", "StrictHostKeyChecking=accept-new", "-o", f"UserKnownHostsFile={tmp_path}/known")
        words = (*SSH, *known, "-p", str(port), f"{user}@127.0.0.1", "id -un")
        going = scene.start(*words, env=scene.ssh)
        assert scene.answer(going, "wrong" + SECRET)["prompt"] == f"{user}@127.0.0.1's password:"
        assert scene.answer(going, SECRET)["program"] == "ssh"
        assert going.wait() == 0, going.said()
        assert going.output().decode().strip() == user


def test_git_clones_over_http_with_a_user_and_a_password(scene: Scene, tmp_path: Path) -> None:
    needs.programs("git")
    with git_server(scene, SECRET) as url:
        env = {"GIT_ASKPASS": scene.link("novakey-askpass"), "GIT_CONFIG_NOSYSTEM": "1"}
        cloning = scene.start("git", "clone", "-q", f"{url}/r.git", str(tmp_path / "clone"), env=env)
        assert scene.answer(cloning, "anna")["prompt"] == f"Username for '{url}':"
        row = scene.answer(cloning, SECRET)
        assert row["prompt"] == f"Password for '{url.replace('//', '//anna@')}':"
        assert cloning.wait() == 0, cloning.said()
        assert (tmp_path / "clone/file").read_text() == "content\n"
        assert found_in(tmp_path / "clone", SECRET) == []


# ---- gpg ----


@pytest.fixture(scope="module")
def gnupg(shared: Scene) -> Iterator[dict[str, str]]:
    """Make a key under the secret, in a home whose agent has our pinentry and remembers nothing."""
    needs.programs("gpg", "gpg-agent", "gpgconf")
    home = shared.folder / "g"
    home.mkdir(mode=0o700)
    (home / "gpg-agent.conf").write_text(
        f"pinentry-program {shared.link('novakey-pinentry')}\ns2k-count 65536\n"
        "default-cache-ttl 0\nmax-cache-ttl 0\n"
    )
    env = {"GNUPGHOME": str(home)}
    loopback = ("gpg", "--batch", "-q", "--pinentry-mode", "loopback", "--passphrase-fd", "0")
    shared.run(
        *loopback, "--quick-generate-key", "Anna <anna@example.org>", "future-default", env=env, input=SECRET
    )
    yield env
    shared.run("gpgconf", "--kill", "all", env=env)


GPG = ("gpg", "--batch", "--no-tty", "-q")


def test_gpg_decrypts_and_says_what_was_wrong_when_it_asks_again(scene: Scene, gnupg: dict[str, str]) -> None:
    plain = b"for anna\n"
    to_anna = (*GPG, "--trust-model", "always", "-r", "anna@example.org", "-e", "-o", "sealed")
    scene.run(*to_anna, env=gnupg, input=plain, text=False)
    decrypting = scene.start(*GPG, "--decrypt", "sealed", env=gnupg)
    row = scene.answer(decrypting, "wrong" + SECRET)
    assert row["program"] == "gpg-agent" and "Anna <anna@example.org>" in row["prompt"]
    assert scene.answer(decrypting, SECRET)["prompt"].startswith("Bad Passphrase (try 2 of 3) - ")
    assert decrypting.wait() == 0, decrypting.said()
    assert decrypting.output() == plain


def test_gpg_signs(scene: Scene, gnupg: dict[str, str]) -> None:
    (scene.folder / "letter").write_text("from anna\n")
    signing = scene.start(*GPG, "--detach-sign", "-o", "letter.sig", "letter", env=gnupg)
    scene.answer(signing, SECRET)
    assert signing.wait() == 0, signing.said()
    scene.run(*GPG, "--verify", "letter.sig", "letter", env=gnupg)


# ---- systemd ----


@pytest.fixture
def agent(scene: Scene) -> Iterator[None]:
    running = scene.among_own_questions(*command("agent"))
    wait_until(lambda: "answering what is asked" in running.said(), "the agent")
    yield
    running.process.terminate()
    assert running.wait() == 0, running.said()


def test_systemd_ask_password_is_answered_also_two_at_once(scene: Scene, agent: None) -> None:
    words = ("systemd-ask-password", "--no-tty", "--timeout=60")
    first = scene.among_own_questions(*words, "disk one")
    assert scene.asked(first)["prompt"].startswith("disk one (for systemd-ask-password, process ")
    second = scene.among_own_questions(*words, "disk two")
    assert scene.asked(second)["prompt"].startswith("disk two (for ")
    assert scene.tap(SECRET).outcome.success
    assert first.wait() == 0 and first.output().decode() == SECRET + "\n"
    assert scene.tap(SECRET + "2").outcome.success
    assert second.wait() == 0 and second.output().decode() == SECRET + "2\n"


# ---- pipes and children ----


def test_openssl_reads_it_from_a_pipe_and_from_a_descriptor(scene: Scene, tmp_path: Path) -> None:
    needs.programs("openssl")
    crypt = ("openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-in")
    plain, sealed = tmp_path / "plain", tmp_path / "sealed"
    plain.write_text("content")
    ask = shlex.join(command("ask", "--prompt", "the key"))
    seal = shlex.join([*crypt, str(plain), "-out", str(sealed), "-pass", "stdin"])
    sealing = scene.start("sh", "-c", f"{ask} | {seal}")
    row = scene.answer(sealing, SECRET)
    assert row["prompt"] == "the key"
    assert sealing.wait() == 0, sealing.said()
    opening = scene.novakey("exec", "--fd", "5", "--", *crypt, str(sealed), "-d", "-pass", "fd:5")
    assert scene.answer(opening, SECRET)["prompt"] == "a secret for openssl"
    assert opening.wait() == 0, opening.said()
    assert opening.output() == b"content"


def test_cryptsetup_reads_it_from_a_pipe(scene: Scene, tmp_path: Path) -> None:
    needs.programs("cryptsetup")
    image = tmp_path / "image"
    image.touch()
    os.truncate(image, 20 << 20)
    cheap = ("--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
    scene.run("cryptsetup", "luksFormat", "-q", *cheap, str(image), "--key-file=-", input=SECRET)
    ask = shlex.join(command("ask"))
    script = f'{ask} | cryptsetup open --test-passphrase --key-file=- "$0"'
    opening = scene.start("sh", "-c", script, str(image))
    scene.answer(opening, SECRET)
    assert opening.wait() == 0, opening.said()


def test_exec_puts_it_into_the_childs_environment_and_ends_as_the_child_does(scene: Scene) -> None:
    shell = ("sh", "-c", 'printf %s "$TOKEN"; exit 7')
    running = scene.novakey("exec", "--env", "TOKEN", "--", *shell)
    scene.answer(running, SECRET)
    assert running.wait() == 7
    assert running.output().decode() == SECRET


def test_a_child_ends_with_its_reader_as_it_would_without_us(scene: Scene) -> None:
    run = shlex.join(command("exec", "--env", "TOKEN", "--", "yes"))
    running = scene.start("bash", "-c", f'{run} | head -1; echo "${{PIPESTATUS[0]}}"')
    scene.answer(running, SECRET)
    assert running.wait() == 0
    assert running.output() == b"y\n141\n", "of SIGPIPE"


# ---- sudo ----


def test_sudo_takes_an_ordinary_users_password() -> None:
    """Their daemon, their askpass. Root, which we are, may send and look."""
    needs.programs("sudo", "runuser")
    with ordinary_user(SECRET) as user:
        as_user = ("runuser", "-u", user, "--")
        needs.interpreter_for(as_user)
        scene = Scene()
        tree = scene.folder / "tree"
        tree.mkdir(mode=0o755)
        link = scene.folder / "novakey-askpass"
        link.symlink_to(tree / "novakey.py")
        theirs = {**scene.env, "HOME": f"/home/{user}", "SUDO_ASKPASS": str(link)}
        script = installed.copy_to(tree)
        programs = scene.folder / "python"  # the first line of the askpass asks for `python3`
        programs.mkdir(mode=0o755)
        (programs / "python3").symlink_to(installed.python())
        theirs |= {"PYTHONPATH": str(tree), "PATH": f"{programs}:/usr/bin:/bin:/usr/sbin:/sbin"}
        launch = [*as_user, installed.python(), str(script)]
        scene.daemon = Daemon(scene.daemon.folder, env=theirs, launch=launch, ask_confirm=False, notify=False)
        for path in (scene.daemon.folder, scene.daemon.folder / "novakey.json"):
            shutil.chown(path, user)
        rule = Path("/etc/sudoers.d") / user
        rule.write_text(f"{user} ALL=(root) PASSWD: /usr/bin/id\n")
        rule.chmod(0o440)
        try:
            with scene:
                going = scene.start(*as_user, "sudo", "-A", "-k", "id", "-u", env=theirs)
                row = scene.answer(going, SECRET)
                assert row["program"] == "sudo" and row["prompt"] == f"[sudo] password for {user}:"
                assert going.wait() == 0, going.said()
                assert going.output() == b"0\n"
                assert found_in(scene.daemon.folder, SECRET) == []
        finally:
            rule.unlink()


# ---- any order, with and without approval ----


@pytest.mark.parametrize("two_man", [True, False])
def test_arming_and_approval_count_only_after_the_request_came(two_man: bool) -> None:
    with Scene(two_man_enabled=two_man) as scene:
        phone = scene.phone
        for before in (True, False):
            if before:
                say(phone, MessageType.ARM)
                say(phone, MessageType.APPROVE)
            request = scene.novakey("ask")
            scene.asked(request)
            reply = say(phone, MessageType.INJECT, SECRET.encode())
            assert reply.outcome.reason == ("not_armed" if before or not two_man else "needs_approve")
            say(phone, MessageType.APPROVE)
            secret = f"{SECRET}{before}"
            assert say(phone, MessageType.INJECT, secret.encode()).outcome.success, "it needs no arming"
            assert request.wait() == 0 and request.output().decode() == secret
            assert not say(phone, MessageType.INJECT, b"another").outcome.success, "used up"


def test_what_a_test_has_left_is_not_in_the_way_of_the_next() -> None:
    with Scene() as scene:
        left = [scene.novakey("ask"), scene.among_own_questions(*command("agent"))]
        for name in ("one", "two"):
            left.append(scene.among_own_questions("systemd-ask-password", "--no-tty", "--timeout=60", name))
        wait_until(lambda: len(scene.asks()) == 3, "all of them")
        scene.settle()
        assert all(child.process.poll() is not None for child in left)
        request = scene.novakey("ask", "--prompt", "the next")
        assert scene.answer(request, SECRET)["prompt"] == "the next"
        assert request.wait() == 0


def test_an_approval_on_the_computer_is_for_the_request_that_waits() -> None:
    """Without a display, by the command: before there was a request it was for none."""
    with Scene(two_man_approver="computer") as scene:
        folder = Paths.under(scene.daemon.folder)
        for answered in (False, True):
            if not answered:
                client.ask(folder, "approve")
            request = scene.novakey("ask")
            scene.asked(request)
            if answered:
                assert client.ask(folder, "approve")["approved"] == "phone-1"
            reply = say(scene.phone, MessageType.INJECT, SECRET.encode())
            assert reply.outcome is (Outcome.OK if answered else Outcome.NEEDS_APPROVE), reply.msg
            if not answered:
                assert request.process.poll() is None
                request.process.kill()
                request.wait()
                wait_until(lambda: not scene.asks(), "its end")
                scene.restart()
                scene.phone = scene.daemon.at(scene.phone)
        assert request.wait() == 0 and request.output().decode() == SECRET


def test_a_prompt_that_begins_as_an_option_does_is_a_prompt(scene: Scene) -> None:
    request = scene.start(scene.link("novakey-askpass"), "--help -x")
    assert scene.answer(request, SECRET)["prompt"] == "--help -x"
    assert request.wait() == 0 and request.output().decode() == SECRET + "\n"


def test_the_pinentry_by_its_name_ignores_what_it_is_given(scene: Scene) -> None:
    asked = "GETINFO flavor\nGETINFO version\nOPTION ttyname=/dev/null\nSETPROMPT \xe4 %25\nNONSENSE\nBYE\n"
    said = scene.run(scene.link("novakey-pinentry"), "--display", ":0", "-x", input=asked)
    assert said.splitlines()[:2] == ["OK NovaKey pinentry", "D novakey"]
    assert "ERR 83886355 Unknown IPC command <Pinentry>" in said
