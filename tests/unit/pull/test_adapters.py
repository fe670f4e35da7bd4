"""The adapters to the letter: what a client or a file may say, and what comes back."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from support.daemon import run
from support.x11 import wait_until

from novakey.errors import NovaKeyError
from novakey.pull import WaitedTooLong, password_agent, write
from novakey.pull.client import has_gone
from novakey.pull.password_agent import PasswordAgent
from novakey.pull.person import UserPrompt, for_a_person
from novakey.pull.pinentry import MAX_LINE, Pinentry
from novakey.secret import Secret
from novakey.system import procfs

# ---- the output ----


def test_an_output_that_has_no_room_is_waited_for(tmp_path: Path) -> None:
    secret = os.urandom(200_000)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with (tmp_path / "read").open("wb") as read:
        reader = subprocess.Popen(["sh", "-c", "sleep 0.1; exec cat"], stdin=reading, stdout=read)
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as output:
        write(output, Secret(secret), b"\n")
    assert reader.wait(20) == 0
    assert (tmp_path / "read").read_bytes() == secret + b"\n"


def test_a_secret_whose_reader_has_gone_can_be_wiped() -> None:
    secret = Secret(b"correct horse")
    reading, writing = os.pipe()
    os.fdopen(reading).close()  # gevent's os.close waits for the loop
    with os.fdopen(writing, "wb", buffering=0) as output, pytest.raises(BrokenPipeError) as failed:
        write(output, secret, b"\n")
    secret.wipe()  # with the error, and so its frames, alive
    assert failed.value is not None and len(secret) == 0


# ---- pinentry ----


def pinentry(lines: bytes, answer: bytes | NovaKeyError = b"correct horse") -> tuple[list[bytes], list[str]]:
    """Return what it says, after its greeting, and what it asked the phone for."""
    asked: list[str] = []

    def ask(prompt: str, seconds: float | None) -> Secret:
        asked.append(prompt)
        if isinstance(answer, NovaKeyError):
            raise answer
        return Secret(answer)

    output = io.BytesIO()
    Pinentry(ask, UserPrompt("/nonexistent")).serve(io.BytesIO(lines), output)
    greeting, *said = output.getvalue().splitlines()
    assert greeting.startswith(b"OK ")
    return said, asked


def test_a_prompt_is_made_of_what_the_client_said_and_an_error_comes_once() -> None:
    said, asked = pinentry(
        b"SETDESC Unlock%0Athe key\nSETPROMPT Passphrase:\nSETERROR Bad (try 2)\nGETPIN\ngetpin\nBYE\n"
    )
    assert asked == ["Bad (try 2) - Unlock the key - Passphrase:", "Unlock the key - Passphrase:"]
    assert said == [b"OK"] * 3 + [b"D correct horse", b"OK"] * 2 + [b"OK closing connection"]


def test_a_secret_is_escaped_and_cut_into_lines_that_keep_to_the_limit() -> None:
    from urllib.parse import unquote_to_bytes

    secret = b"50%\r\n" + "ä€😀".encode() * 300
    said, _ = pinentry(b"GETPIN\n", secret)
    assert said.pop() == b"OK"
    assert all(line.startswith(b"D ") and len(line) < MAX_LINE for line in said) and len(said) > 2
    assert b"".join(unquote_to_bytes(line[2:]) for line in said) == secret


@pytest.mark.parametrize(
    ("problem", "code"), [(WaitedTooLong("late"), 83886142), (NovaKeyError("no daemon runs"), 83886179)]
)
def test_a_time_out_and_a_refusal_have_the_codes_of_libgpg_error(problem: NovaKeyError, code: int) -> None:
    said, _ = pinentry(b"GETPIN\n", problem)
    assert said[0].startswith(f"ERR {code} ".encode())


def test_a_new_passphrase_is_not_typed_twice() -> None:
    said, _ = pinentry(b"SETREPEAT Again:\nGETPIN\nGETPIN\n")
    assert said == [b"OK", b"S PIN_REPEATED", b"D correct horse", b"OK", b"D correct horse", b"OK"]


def test_what_is_no_command_is_an_error_and_a_line_without_an_end_is_the_end() -> None:
    said, asked = pinentry(
        b"# a comment\n\nMAKE TEA\nSETTIMEOUT \xc2\xb2\nGETINFO secrets\nGETPIN " + b"x" * 2000
    )
    assert [line.split()[:2] for line in said] == [
        [b"ERR", b"83886355"],
        [b"ERR", b"83886135"],
        [b"ERR", b"83886135"],
        [b"ERR", b"83886343"],
    ]
    assert asked == []


def test_a_question_that_cannot_be_asked_is_cancelled_and_not_confirmed() -> None:
    said, asked = pinentry(b"SETDESC Delete?\nCONFIRM\n")
    assert said[1].startswith(b"ERR 83886179 ") and asked == []


@pytest.mark.parametrize("request_line", [b"GETPIN", b"CONFIRM"])
def test_why_there_is_no_answer_stands_on_the_clients_terminal(request_line: bytes) -> None:
    problem = NovaKeyError("no person can be asked", "start a notification service")
    screen, terminal = os.openpty()
    os.set_blocking(screen, False)
    try:
        person = UserPrompt("/nonexistent")
        person.agrees = person.tell = refusing(problem)  # type: ignore[method-assign]
        lines = b"OPTION ttyname=" + os.ttyname(terminal).encode() + b"\n" + request_line + b"\n"
        output = io.BytesIO()
        Pinentry(refusing(problem), person).serve(io.BytesIO(lines), output)
        assert output.getvalue().splitlines()[-1] == b"ERR 83886179 Operation cancelled <Pinentry>"
        shown = os.read(screen, 1000).decode().splitlines()
        assert shown == ["novakey: no person can be asked", "start a notification service"]
    finally:
        os.close(screen)
        os.close(terminal)


def refusing(problem: NovaKeyError) -> Any:
    def refuse(*arguments: object) -> Any:
        raise problem

    return refuse


# ---- askpass ----


@pytest.mark.parametrize(
    ("prompt", "person"),
    [
        ("Are you sure you want to continue connecting (yes/no/[fingerprint])? ", True),
        ("Please type 'yes', 'no' or the fingerprint: ", True),
        ("Accept updated hostkeys? (yes/no): ", True),
        ("Overwrite? [y/N] ", True),
        ("(R)eject, accept (t)emporarily or accept (p)ermanently? ", True),
        ("Enter passphrase for key '/home/yes/no': ", False),
        ("[sudo] password for no: ", False),
        ("Password for 'https://anna@example.org': ", False),
    ],
)
def test_a_decision_is_told_from_a_secret(prompt: str, person: bool) -> None:
    assert for_a_person(prompt) is person


def test_a_reader_that_has_gone_is_noticed_and_one_that_is_slow_is_not() -> None:
    reading, writing = os.pipe()
    assert not has_gone(writing)
    os.close(reading)
    wait_until(lambda: has_gone(writing), "its end")  # gevent may close it a moment later
    os.close(writing)
    ours, theirs = socket.socketpair()
    with ours:
        assert not has_gone(ours.fileno())
        theirs.close()
        wait_until(lambda: has_gone(ours.fileno()), "its end")


def test_who_asks_is_the_program_and_for_a_command_of_ours_the_one_above_it() -> None:
    with subprocess.Popen(["sh", "-c", "read x; exit"], stdin=subprocess.PIPE) as shell:
        assert procfs.describe(shell.pid) in ("dash", "bash"), "the file, not what it calls itself"
        assert shell.stdin is not None
    ours = "\"$0\" -c 'import sys; print(1, flush=True); sys.stdin.read()' <&3 & echo $!; wait"
    argv = ["bash", "-c", f"exec 3<&0; {ours}", sys.executable]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as above:
        assert above.stdout is not None and above.stdin is not None
        pid = next(int(line) for line in above.stdout if line != "1\n")
        assert procfs.describe(pid) == "bash"
        above.stdin.close()
    assert procfs.describe(1 << 22) == "an unknown program"
    assert procfs.terminal(1 << 22) is None


# ---- the password agent ----


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Path, socket.socket]]:
    """Return a folder of questions, and the socket of the program that asks."""
    folder = tmp_path / "ask-password"
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "sck"))
        sock.settimeout(5)
        yield folder, sock


def question(folder: Path, name: str = "ask.one", **members: object) -> Path:
    path = folder / name
    told = {"PID": os.getpid(), "Socket": folder.parent / "sck", "Message": "disk", **members}
    path.write_text("[Ask]\n" + "".join(f"{key}={value}\n" for key, value in told.items()))
    return path


def test_a_question_is_read_and_what_is_none_is_left_alone(place: tuple[Path, socket.socket]) -> None:
    folder, _ = place
    found = password_agent.read(question(folder, Message="disk\x1b[31m %n", NotAfter=2_500_000))
    assert found is not None and found.message == "disk\\x1b[31m %n" and found.not_after == 2.5
    assert password_agent.read(question(folder, "ask.m", PID=password_agent.MAX_PID)) is not None
    for name, members in (
        ("ask.a", {"Socket": "relative"}),
        ("ask.b", {"PID": "one"}),
        ("ask.f", {"NotAfter": "9" * 900}),
        ("ask.g", {"PID": 1 << 31}),
        ("ask.h", {"PID": "9" * 900}),
    ):
        assert password_agent.read(question(folder, name, **members)) is None
    (folder / "ask.c").write_bytes(b"\xff\x00 nothing of the kind")
    (folder / "ask.d").symlink_to(folder / "ask.one")
    os.mkfifo(folder / "ask.e")
    for name in ("ask.c", "ask.d", "ask.e", "ask.none"):
        assert password_agent.read(folder / name) is None
    if os.geteuid() == 0:
        os.chown(folder / "ask.one", 65534, 65534)
        assert password_agent.read(folder / "ask.one") is None, "planted by somebody else"


def test_an_answer_goes_to_the_socket_of_the_question(place: tuple[Path, socket.socket]) -> None:
    folder, sock = place
    question(folder, PID=0)
    agent = PasswordAgent(folder, lambda prompt, seconds: Secret(b"correct horse"))
    running = gevent.spawn(agent.run)
    assert sock.recv(100) == b"+correct horse"
    running.kill()


def test_a_question_that_is_over_is_not_answered(place: tuple[Path, socket.socket]) -> None:
    folder, sock = place
    asked: list[str] = []

    def ask(prompt: str, seconds: float | None) -> Secret:
        asked.append(prompt)
        gevent.sleep(0.2)
        (folder / "ask.gone").unlink(missing_ok=True)
        return Secret(b"correct horse")

    question(folder, "ask.old", NotAfter=int((time.monotonic() - 1) * 1e6))
    question(folder, "ask.dead", PID=1 << 22)
    question(folder, "ask.most", PID=password_agent.MAX_PID)
    question(folder, "ask.gone")
    running = gevent.spawn(PasswordAgent(folder, ask).run)
    sock.settimeout(1.5)
    with pytest.raises(TimeoutError):
        sock.recv(100)
    running.kill()


def test_the_folder_of_questions_is_the_owners_alone_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with gevent.Timeout(0.2, False):
            PasswordAgent(tmp_path / "systemd" / "ask-password", lambda prompt, seconds: Secret(b"x")).run()
    finally:
        os.umask(before)
    for folder in (tmp_path / "systemd", tmp_path / "systemd" / "ask-password"):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_questions_that_are_found_together_are_asked_in_the_order_in_which_they_came(
    place: tuple[Path, socket.socket],
) -> None:
    folder, _ = place
    asked: list[str] = []

    def ask(prompt: str, seconds: float | None) -> Secret:
        asked.append(prompt[0])
        raise NovaKeyError("no phone is paired")

    for number, name in enumerate(("ask.c", "ask.a", "ask.d", "ask.b")):
        os.utime(question(folder, name, Message=number), ns=(0, number))
    agent = PasswordAgent(folder, ask)
    agent.look()
    wait_until(lambda: len(asked) == 4, "all of them")
    assert asked == ["0", "1", "2", "3"]


def test_the_agent_has_the_sessions_folder_and_for_root_the_systems_too() -> None:
    env = {"XDG_RUNTIME_DIR": "/run/user/1000"}
    theirs = Path("/run/user/1000/systemd/ask-password")
    assert password_agent.folders(env, 1000) == [theirs]
    assert password_agent.folders(env, 0) == [theirs, password_agent.SYSTEM]
    assert password_agent.folders({}, 1000) == []


def test_a_time_that_is_none_is_refused(tmp_path: Path) -> None:
    for seconds in ("nan", "0", "-1", "1e9"):
        done = run("--data-dir", tmp_path, "ask", f"--timeout={seconds}")
        assert done.returncode == 2 and "is not possible" in done.stderr
