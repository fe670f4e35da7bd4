"""What root reads a second after an answered request, in the daemon and in the program that passed it on."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import gevent
import pytest
from attacks.test_memory import REST_S, secret
from support import needs
from support.browser import Host
from support.daemon import ROOT, command
from support.memory import forms, found
from support.pull import Child, Scene
from support.x11 import wait_until

# Reads lines and the secret behind them, as a program that asks does, wipes the secret and waits.
_READER = """
import socket, sys
from novakey.net.stream import Stream
stream = Stream(socket.socket(fileno=int(sys.argv[1])))
stream.set_deadline(20)
for _ in range(int(sys.argv[2])):
    stream.line(1000)
    stream.line(1000)
    stream.secret(64).wipe()
print("read", flush=True)
stream.read_some()
"""


def test_a_secret_that_comes_together_with_the_lines_before_it_leaves_no_copy() -> None:
    needs.root("reads the memory of another process")
    texts = [secret() for _ in range(40)]
    argv = [sys.executable, "-c", _READER, "0", str(len(texts))]
    ours, theirs = socket.socketpair()
    with ours, subprocess.Popen(argv, stdin=theirs, stdout=subprocess.PIPE, cwd=ROOT) as reading:
        theirs.close()
        for number, text in enumerate(texts):  # lines of many lengths: pieces of many sizes are left
            ours.sendall(f"line\n{'x' * 16 * number}\n{text}".encode())
        assert reading.stdout is not None and reading.stdout.readline() == b"read\n"
        counts = found(reading.pid, {str(number): text[16:].encode() for number, text in enumerate(texts)})
        ours.shutdown(socket.SHUT_WR)
    assert counts == {}


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    needs.root("reads the memory of another process")
    with Scene() as scene:
        needs.sight_of(scene.daemon.process.pid)
        yield scene


def left(scene: Scene, text: str, other: Child | None = None) -> dict[str, dict[str, int]]:
    """Return what is left in the daemon and in the other process, by form."""
    gevent.sleep(REST_S)
    pids = {"daemon": scene.daemon.process.pid}
    if other is not None:
        pids["other"] = other.process.pid
    return {name: counts for name, pid in pids.items() if (counts := found(pid, forms(text)))}


@pytest.mark.parametrize("words", [("ask",), ("askpass", "Password:")], ids=lambda words: words[0])
def test_after_a_program_has_its_secret_the_daemon_has_none(scene: Scene, words: tuple[str, ...]) -> None:
    text = secret()
    request = scene.novakey(*words)
    scene.answer(request, text)
    assert request.wait() == 0 and request.output().strip() == text.encode()
    assert left(scene, text) == {}


def test_a_pinentry_keeps_nothing_of_a_passphrase_that_it_has_passed_on(scene: Scene) -> None:
    text = f"{secret()}%{secret()}"
    pipe = subprocess.PIPE
    talking = scene.novakey("pinentry", stdin=pipe, stdout=pipe)
    assert talking.process.stdin is not None and talking.process.stdout is not None
    talking.process.stdin.write(b"GETPIN\n")
    talking.process.stdin.flush()
    scene.answer(talking, text)
    lines = [talking.process.stdout.readline() for _ in range(3)]
    assert lines[1:] == [b"D " + text.replace("%", "%25").encode() + b"\n", b"OK\n"]
    assert left(scene, text.split("%")[0], talking) == {}


def test_the_password_agent_keeps_nothing_of_what_it_has_passed_on(scene: Scene) -> None:
    agent: Child = scene.among_own_questions(*command("agent"))
    wait_until(lambda: "answering what is asked" in agent.said(), "the agent")
    text = secret()
    request = scene.among_own_questions("systemd-ask-password", "--no-tty", "--timeout=30", "The disk?")
    scene.answer(request, text)
    assert request.wait() == 0 and request.output().strip() == text.encode()
    assert left(scene, text, agent) == {}


def test_a_browsers_host_keeps_nothing_of_what_it_has_passed_on(scene: Scene) -> None:
    scene.restart()
    text = secret()
    with Host(scene.folder / "bin" / "novakey-browser", scene.env) as host:
        host.ask()
        sending = gevent.spawn(scene.tap, text)
        assert host.next() == {"type": "fill", "id": "1", "secret": text}
        host.say("outcome", outcome="filled")
        assert sending.get(timeout=20).msg == "filled on example.org (login.example.org)"
        assert host.next()["reason"] == "done"
        gevent.sleep(REST_S)
        pids = (scene.daemon.process.pid, host.process.pid)
        assert [found(pid, forms(text)) for pid in pids] == [{}, {}]
