"""The sealing key under a passphrase, and where the passphrase comes from."""

from __future__ import annotations

import json
import os
import pty
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.sealing_conformance import Conformance, FilePlace, new_key

from novakey.devices.sealing.passphrase import Passphrase
from novakey.devices.sealing.passphrase_source import PassphraseFile, Source, Terminal, from_environment
from novakey.devices.sealing.wrapped import COST, MAX_COST, Cost
from novakey.errors import StoreError
from novakey.secret import Secret

CHEAP = Cost(passes=1, memory_kib=8)
ROOT = Path(__file__).parents[4]


class Person(Source):
    """Somebody who gives these answers, one after the other."""

    def __init__(self, *answers: bytes, tries: int = 1) -> None:
        self.answers = list(answers)
        self.tries = tries
        self.asked: list[bool] = []
        self.told: list[str] = []

    def tell(self, problem: str) -> None:
        self.told.append(problem)

    def _get(self, new: bool) -> Secret:
        self.asked.append(new)
        return Secret(self.answers.pop(0))

    def _where(self) -> str:
        return "the passphrase"


class WrappedPlace(FilePlace):
    """A wrapped key, opened with the passphrase of a file."""

    def backend(self) -> Passphrase:
        return Passphrase(self.path, PassphraseFile(self.path.with_name("passphrase")), CHEAP)


@pytest.fixture
def place(tmp_path: Path) -> WrappedPlace:
    secret_file(tmp_path / "passphrase", b"correct horse\n")
    return WrappedPlace(tmp_path / "sealing.passphrase")


def secret_file(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def changed(place: WrappedPlace, **members: object) -> None:
    """Return the file with other members, written as the program writes it."""
    content = json.loads(place.path.read_bytes()) | members
    place.spoil(json.dumps(content, separators=(",", ":")).encode() + b"\n")


class TestPassphrase(Conformance):
    """See `Conformance`."""


class TestTheFile:
    def test_a_wrong_passphrase_has_its_own_message(self, place: WrappedPlace) -> None:
        place.backend().load_or_create()
        with pytest.raises(StoreError) as caught:
            Passphrase(place.path, Person(b"battery staple")).load()
        assert caught.value.problem == (
            f"{place.path} does not open: the passphrase is wrong, or the file was changed"
        )

    def test_a_damaged_file_has_another_and_asks_for_no_passphrase(self, place: WrappedPlace) -> None:
        place.backend().load_or_create()
        whole = place.path.read_bytes()
        for size in range(len(whole)):
            place.spoil(whole[:size])
            with pytest.raises(StoreError, match="is damaged: it is not a whole file of a sealing key"):
                Passphrase(place.path, Person()).load()

    @pytest.mark.parametrize(
        "members",
        [
            {"v": 2},
            {"kdf": "scrypt"},
            {"passes": True},
            {"memory_kib": 8.0},
            {"salt_b64": "AAAA"},
            {"nonce_b64": "not base64"},
            {"more": 1},
        ],
    )
    def test_a_file_that_we_do_not_write_is_damaged(
        self, place: WrappedPlace, members: dict[str, object]
    ) -> None:
        place.backend().load_or_create()
        changed(place, **members)
        with pytest.raises(StoreError, match="is damaged"):
            Passphrase(place.path, Person()).load()

    @pytest.mark.parametrize(
        "members",
        [
            {"passes": MAX_COST.passes + 1},
            {"passes": 0},
            {"memory_kib": MAX_COST.memory_kib + 1},
            {"memory_kib": 7},
            {"memory_kib": 10**30},
        ],
    )
    def test_a_planted_file_can_take_neither_all_memory_nor_all_time(
        self, place: WrappedPlace, members: dict[str, object]
    ) -> None:
        place.backend().load_or_create()
        changed(place, **members)
        with pytest.raises(StoreError, match="which no file of ours does"):
            Passphrase(place.path, Person()).load()

    def test_too_little_memory_is_said(self, place: WrappedPlace) -> None:
        place.backend().load_or_create()
        changed(place, memory_kib=MAX_COST.memory_kib)
        with open("/proc/self/statm") as statm:
            used = int(statm.read().split()[0]) * resource.getpagesize()
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), before[1]))
        try:
            with pytest.raises(StoreError, match=r"not enough memory for the passphrase \(1024 MiB"):
                place.backend().load()
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)

    def test_the_key_is_not_in_the_file_and_two_files_of_one_key_differ(self, place: WrappedPlace) -> None:
        key = new_key()
        place.backend().store(key)
        first = place.path.read_bytes()
        place.backend().delete()
        place.backend().store(key)
        assert (first == place.path.read_bytes()) is False
        assert (key.reveal() in first) is False

    def test_the_usual_cost_opens_within_seconds(self, tmp_path: Path) -> None:
        backend = Passphrase(tmp_path / "wrapped", Person(b"correct horse"), COST)
        before = time.monotonic()
        backend.load_or_create()
        assert time.monotonic() - before < 10
        assert (tmp_path / "wrapped").stat().st_mode & 0o777 == 0o600


class TestAsking:
    def test_a_new_passphrase_is_asked_for_once_though_the_key_is_read_back(self, tmp_path: Path) -> None:
        person = Person(b"correct horse")
        Passphrase(tmp_path / "wrapped", person, CHEAP).load_or_create()
        assert person.asked == [True]

    def test_no_passphrase_is_asked_for_where_none_is_needed(self, place: WrappedPlace) -> None:
        backend = Passphrase(place.path, Person(), CHEAP)
        assert backend.load() is None
        backend.delete()
        place.backend().load_or_create()
        with pytest.raises(StoreError, match="already"):
            backend.store(new_key())
        backend.delete()

    def test_a_person_may_mistype_but_not_for_ever(self, place: WrappedPlace) -> None:
        key = place.backend().load_or_create()
        person = Person(b"", b"wrong", b"correct horse", tries=3)
        assert Passphrase(place.path, person).load() == key
        assert len(person.told) == 2
        with pytest.raises(StoreError, match="does not open"):
            Passphrase(place.path, Person(*[b"wrong"] * 3, tries=3)).load()

    def test_a_short_passphrase_is_refused_when_it_is_chosen(self, place: WrappedPlace) -> None:
        with pytest.raises(StoreError, match="has fewer than 8 bytes"):
            Passphrase(place.path, Person(b"1234567"), CHEAP).load_or_create()
        assert place.content() is None


class TestPassphraseFile:
    @pytest.mark.parametrize(
        ("content", "passphrase"),
        [
            (b"correct horse", b"correct horse"),
            (b"correct horse\n", b"correct horse"),
            (b"correct horse\r\n", b"correct horse"),
            (b" correct horse \n\n", b" correct horse \n"),
            (b"correct horse\r", b"correct horse\r"),
            (b"\xff" * 1024 + b"\r\n", b"\xff" * 1024),
        ],
    )
    def test_gives_its_content_less_one_line_end(
        self, tmp_path: Path, content: bytes, passphrase: bytes
    ) -> None:
        assert PassphraseFile(secret_file(tmp_path / "f", content)).ask(new=False) == Secret(passphrase)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is empty"),
            (b"\n", "is empty"),
            (b"\r\n", "is empty"),
            (b"x" * 1025, "more than 1024 bytes"),
        ],
    )
    def test_is_refused_when_it_holds_nothing_or_too_much(
        self, tmp_path: Path, content: bytes, message: str
    ) -> None:
        with pytest.raises(StoreError, match=message):
            PassphraseFile(secret_file(tmp_path / "f", content)).ask(new=False)

    def test_must_be_a_regular_file(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero")):
            with pytest.raises(StoreError, match="is not a regular file"):
                PassphraseFile(path).ask(new=False)
        for path in (tmp_path / "nowhere", Path("a\0b")):
            with pytest.raises(StoreError, match="cannot be read"):
                PassphraseFile(path).ask(new=False)

    def test_may_be_a_link_as_kubernetes_makes_them(self, tmp_path: Path) -> None:
        secret_file(tmp_path / "f", b"correct horse")
        (tmp_path / "link").symlink_to("f")
        assert PassphraseFile(tmp_path / "link").ask(new=False) == Secret(b"correct horse")

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives files away")
    @pytest.mark.parametrize(
        ("owner", "reader", "mode", "message"),
        [
            (0, 1000, 0o444, None),  # how Docker and Kubernetes hand secrets out
            (0, 0, 0o444, None),
            (1000, 1000, 0o600, None),
            (1000, 1000, 0o640, "others have rights"),
            (1000, 1000, 0o604, "others have rights"),
            (0, 1000, 0o646, "others have rights"),
            (0, 1000, 0o664, "others have rights"),
            (1000, 0, 0o600, "belongs to another user"),
            (1001, 1000, 0o444, "belongs to another user"),
        ],
    )
    def test_who_may_own_and_read_it(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        owner: int,
        reader: int,
        mode: int,
        message: str | None,
    ) -> None:
        path = secret_file(tmp_path / "f", b"correct horse", mode)
        os.chown(path, owner, owner)
        monkeypatch.setattr(os, "geteuid", lambda: reader)
        if message is None:
            assert PassphraseFile(path).ask(new=False) == Secret(b"correct horse")
        else:
            with pytest.raises(StoreError, match=message):
                PassphraseFile(path).ask(new=False)

    def test_is_what_the_variable_names_and_else_the_terminal_is_asked(self, tmp_path: Path) -> None:
        path = secret_file(tmp_path / "f", b"correct horse")
        source = from_environment({"NOVAKEY_PASSPHRASE_FILE": str(path)})
        assert source.ask(new=True) == Secret(b"correct horse")
        for env in ({}, {"NOVAKEY_PASSPHRASE_FILE": ""}):
            assert isinstance(from_environment(env), Terminal)


# Asks on its own terminal, as the daemon does; prints what came out, or that it is what was expected.
_ASK = """
import fcntl, os, sys, termios
from gevent import monkey
monkey.patch_all()
from novakey.devices.sealing.passphrase_source import Terminal
from novakey.errors import StoreError
from novakey.secret import Secret
how, new, timeout, expected = sys.argv[1], sys.argv[2] == "new", float(sys.argv[3]), sys.argv[4]
if how != "none":
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
if how == "background" and os.fork() == 0:
    os.setpgid(0, 0)
elif how == "background":
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
try:
    given = Terminal(timeout).ask(new)
    sys.stderr.write("as expected" if given == Secret(expected.encode()) else "something else")
except StoreError as error:
    sys.stderr.write(error.problem)
echo = termios.tcgetattr(0)[3] & termios.ECHO if how != "none" else True
sys.stderr.write("" if echo else " and the echo is off")
"""


class Asked:
    """A child on a terminal, and the person at it."""

    def __init__(self, master: int, child: subprocess.Popen[bytes]) -> None:
        self.master, self.child, self.shown = master, child, b""

    def until(self, text: bytes) -> None:
        start = len(self.shown)
        while text not in self.shown[start:]:
            self.shown += os.read(self.master, 1024)

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def outcome(self) -> str:
        assert self.child.stderr is not None
        said = self.child.stderr.read().decode()
        assert self.child.wait(timeout=10) == 0, said
        return said


@contextmanager
def asked(how: str, new: str = "old", timeout_s: float = 10, expected: str = "") -> Iterator[Asked]:
    master, slave = pty.openpty()
    command = [sys.executable, "-c", _ASK, how, new, str(timeout_s), expected]
    child = subprocess.Popen(command, stdin=slave, stderr=subprocess.PIPE, start_new_session=True, cwd=ROOT)
    try:
        yield Asked(master, child)
    finally:
        child.kill()
        child.wait()
        os.close(master)
        os.close(slave)


class TestTerminal:
    def test_a_passphrase_is_typed_once_and_not_shown(self) -> None:
        with asked("terminal", expected="correct horse") as session:
            session.until(b"passphrase of the device store: ")
            session.type(b"correct horse\n")
            assert session.outcome() == "as expected"
            session.until(b"\n")
            assert (b"horse" in session.shown) is False

    def test_a_new_one_is_typed_twice_and_again_where_the_two_differ(self) -> None:
        with asked("terminal", "new", expected="correct horse") as session:
            for answer in (b"correct horse", b"correct house", b"correct horse", b"correct horse"):
                session.until(b": ")
                session.type(answer + b"\n")
            assert session.outcome() == "as expected"
            assert b"the two differ" in session.shown

    def test_one_that_will_not_do_is_asked_for_again(self) -> None:
        with asked("terminal", expected="correct horse") as session:
            for answer in (b"", b"correct horse"):
                session.until(b"store: ")
                session.type(answer + b"\n")
            assert session.outcome() == "as expected"
            assert b"the passphrase is empty" in session.shown

    def test_the_question_is_not_answered(self) -> None:
        with asked("terminal", timeout_s=0.3) as session:
            assert session.outcome() == "the passphrase was not given within 0.3 s"

    def test_the_question_is_cancelled(self) -> None:
        with asked("terminal") as session:
            session.until(b"store: ")
            session.type(b"\x04")
            assert session.outcome() == "the question for the passphrase was cancelled"

    def test_no_terminal(self) -> None:
        with asked("none") as session:
            assert session.outcome() == "there is no terminal to ask for the passphrase on"

    def test_in_the_background_it_is_an_error_and_not_a_stopped_process(self) -> None:
        with asked("background") as session:
            assert session.outcome() == "the passphrase cannot be asked for in the background"
