"""What root reads a second after an answered request, in the daemon and in the program that passed it on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import gevent
import pytest
from attacks.test_memory import REST_S, secret
from support import needs
from support.daemon import command
from support.memory import forms, found
from support.pull import Child, Scene
from support.x11 import wait_until

TRIES = 5


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    needs.root("reads the memory of another process")
    with Scene() as scene:
        needs.sight_of(scene.daemon.process.pid)
        yield scene


def left(scene: Scene, text: str, other: Child | None = None) -> dict[str, dict[str, int]]:
    """Return what is left in the daemon and in the other process, by form. A busy machine gets more time."""
    pids = {"daemon": scene.daemon.process.pid}
    if other is not None:
        pids["other"] = other.process.pid
    for _ in range(TRIES):
        gevent.sleep(REST_S)
        still = {name: counts for name, pid in pids.items() if (counts := found(pid, forms(text)))}
        if not still:
            break
    return still


@pytest.mark.parametrize("words", [("ask",), ("askpass", "Password:")], ids=lambda words: words[0])
def test_after_a_program_has_its_secret_the_daemon_has_none(scene: Scene, words: tuple[str, ...]) -> None:
    text = secret()
    asking = scene.novakey(*words)
    scene.answer(asking, text)
    assert asking.wait() == 0 and asking.output().strip() == text.encode()
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
    asking = scene.among_own_questions("systemd-ask-password", "--no-tty", "--timeout=30", "The disk?")
    scene.answer(asking, text)
    assert asking.wait() == 0 and asking.output().strip() == text.encode()
    assert left(scene, text, agent) == {}
