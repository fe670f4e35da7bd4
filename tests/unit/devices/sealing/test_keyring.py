"""The sealing key in a real keyring: gnome-keyring on a session bus of its own.

What stands in for something real is said where it is used: the prompter (see
`secretservice`), plaintext keyrings, and keyrings that lie.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from support import secret_service
from support.sealing_conformance import Conformance, Place, new_key
from support.secret_service import SecretService

from novakey.devices.sealing import keyring, keyring_child
from novakey.devices.sealing.keyring import MESSAGES, Keyring, existing_daemon_key, installation_id
from novakey.errors import StoreError

pytest.importorskip("keyring")
pytestmark = pytest.mark.skipif(
    secret_service.missing() is not None, reason=f"{secret_service.missing()} is not installed"
)

DEADLINE_S = 8  # generous: none of these is meant to pass
HUNG_S = 1.5  # the deadline where it is meant to pass
SLACK_S = 1.5

# The keyring package itself, in another process; contents travel as base64, over pipes.
_BEHIND = """
import base64, json, sys
sys.modules["keyring.backends.macOS.api"] = None  # a search with a compiler, which takes its time
import keyring
operation, account, content = json.load(sys.stdin)
if operation == "set":
    keyring.set_password("novakey", account, base64.b64decode(content).decode())
else:
    found = keyring.get_password("novakey", account)
    json.dump(found and base64.b64encode(found.encode()).decode(), sys.stdout)
"""

# Runs a module and names each program that it starts.
_TELLING = """
import runpy, sys
sys.addaudithook(lambda event, what: event == "subprocess.Popen" and print(what[0], file=sys.stderr))
runpy.run_module(sys.argv[1], run_name="__main__")
"""


def behind(operation: str, account: str, content: bytes = b"") -> bytes | None:
    """Look at or change an entry behind the backend's back."""
    request = json.dumps([operation, account, base64.b64encode(content).decode()])
    command = [sys.executable, "-c", _BEHIND]
    done = subprocess.run(command, input=request.encode(), capture_output=True, timeout=20, cwd="/")
    assert done.returncode == 0, "the keyring package failed"
    found = json.loads(done.stdout or b"null")
    return None if found is None else base64.b64decode(found)


class Entry(Place):
    """One entry of the keyring."""

    def __init__(self, installation: str) -> None:
        self.installation = installation

    def backend(self) -> Keyring:
        return Keyring(self.installation, DEADLINE_S)

    def content(self) -> bytes | None:
        return behind("get", f"sealing-key-{self.installation}")

    def spoil(self, content: bytes) -> None:
        behind("set", f"sealing-key-{self.installation}", content)


@pytest.fixture(scope="module")
def unlocked_service() -> Iterator[SecretService]:
    with SecretService() as service:
        service.unlock()
        yield service


@pytest.fixture
def unlocked(unlocked_service: SecretService, monkeypatch: pytest.MonkeyPatch) -> SecretService:
    _join(unlocked_service, monkeypatch)
    return unlocked_service


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[SecretService]:
    """Return a bus of the test's own; the test starts the keyring."""
    with SecretService() as service:
        _join(service, monkeypatch)
        yield service


def _join(service: SecretService, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in service.env.items():
        monkeypatch.setenv(name, value)


def refusal(call: Callable[[], object], within_s: float = DEADLINE_S) -> StoreError:
    """Return the error that the call ends with, inside its deadline."""
    before = time.monotonic()
    with pytest.raises(StoreError) as caught:
        call()
    assert time.monotonic() - before < within_s + SLACK_S
    assert caught.value.cure
    return caught.value


class TestKeyring(Conformance):
    """See `Conformance`."""

    SPOILED = (
        b"A" * 43,
    )  # each content costs six processes here; see also `test_an_entry_that_is_not_a_key`

    @pytest.fixture
    def place(self, unlocked: SecretService) -> Entry:
        return Entry(new_key().reveal().hex()[:16])


class TestSituations:
    """Each has its own message and ends within the deadline."""

    def test_no_bus(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for address in ("unix:path=/nonexistent", "disabled:", None):
            if address is None:
                monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS")
            else:
                monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
            error = refusal(Keyring("x", DEADLINE_S).load)
            assert error.problem == "there is no session bus, and the keyring is reached through it"

    def test_a_bus_without_a_keyring(self, service: SecretService) -> None:
        assert refusal(Keyring("x", DEADLINE_S).load).problem == "no keyring service is on the session bus"

    def test_a_keyring_that_was_never_used_and_no_way_to_ask_for_its_password(
        self, service: SecretService
    ) -> None:
        service.locked()
        error = refusal(Keyring("x", DEADLINE_S).load)
        assert error.problem == "the keyring has no default collection, and none was made"

    def test_locked_without_a_prompt_and_then_unlocked(self, service: SecretService) -> None:
        service.unlock()
        backend = Keyring("x", DEADLINE_S)
        key = backend.load_or_create()
        service.stop()
        service.locked()
        for call in (backend.load, backend.load_or_create, backend.delete, lambda: backend.store(new_key())):
            problem = "the keyring is locked, and there is no way to ask for its password"
            assert refusal(call).problem == problem
        service.stop()
        service.unlock()
        assert backend.load() == key

    def test_the_prompt_is_dismissed(self, service: SecretService) -> None:
        service.unlock()
        backend = Keyring("x", DEADLINE_S)
        key = backend.load_or_create()
        service.stop()
        service.locked()
        service.prompter("dismiss")
        for call in (backend.load, backend.load_or_create, backend.delete, lambda: backend.store(new_key())):
            assert refusal(call).problem == "the prompt to unlock the keyring was dismissed"
        service.stop()
        service.unlock()
        assert backend.load() == key

    def test_the_prompt_is_not_answered(self, service: SecretService) -> None:
        service.unlock()
        service.stop()
        service.locked()
        service.prompter("ignore")
        error = refusal(Keyring("x", HUNG_S).load, HUNG_S)
        assert error.problem == "the keyring did not answer within 1.5 s"

    def test_the_service_hangs_and_everything_else_runs_on(
        self, service: SecretService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        service.unlock()
        service.signal(signal.SIGSTOP)
        children = _watch(monkeypatch)
        ticks = []
        ticker = gevent.spawn(lambda: [(ticks.append(1), gevent.sleep(0.05)) for _ in range(20)])
        error = refusal(Keyring("x", HUNG_S).load, HUNG_S)
        ticker.kill()
        assert error.problem == "the keyring did not answer within 1.5 s"
        assert len(ticks) == 20
        assert not Path(f"/proc/{children[0].pid}").exists()

    @pytest.mark.parametrize("operation", ["load", "store", "delete"])
    def test_the_service_is_killed_during_the_call(self, service: SecretService, operation: str) -> None:
        service.unlock()
        service.signal(signal.SIGSTOP)
        killer = gevent.spawn(service.kill_while_asked)
        backend = Keyring("x", DEADLINE_S)
        arguments = [new_key()] if operation == "store" else []
        error = refusal(lambda: getattr(backend, operation)(*arguments))
        killer.join()
        assert error.problem == "the keyring service stopped during the call"

    def test_an_entry_that_is_not_a_key(self, unlocked: SecretService) -> None:
        entry = Entry("garbled")
        for content in (b"", b"A" * 2000, b"\xc3\xa9" * 22, b"A" * 43 + b"=\n"):
            entry.spoil(content)
            error = refusal(entry.backend().load)
            assert error.problem == "the keyring's entry novakey/sealing-key-garbled is not a sealing key"

    def test_the_package_is_not_installed(
        self, tmp_path: Path, unlocked: SecretService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        venv.create(tmp_path / "bare", symlinks=True)
        monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
        error = refusal(Keyring("x", DEADLINE_S).load)
        assert error.problem == "the keyring package is not installed"
        assert "requirements-optional.txt" in (error.cure or "")

    @pytest.mark.parametrize("name", ["fail", "null"])
    def test_the_package_is_switched_off(
        self, name: str, unlocked: SecretService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PYTHON_KEYRING_BACKEND", f"keyring.backends.{name}.Keyring")
        assert (
            refusal(Keyring("x", DEADLINE_S).load).problem == "the keyring package is set to use no keyring"
        )

    def test_the_package_is_set_to_something_that_is_not_there(
        self, unlocked: SecretService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "nowhere.Keyring")
        error = refusal(Keyring("x", DEADLINE_S).load)
        assert error.problem == (
            "the keyring package cannot load the keyring that it is set to use (ModuleNotFoundError)"
        )

    def test_the_helper_does_not_start_or_says_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "executable", "/nonexistent/python")
        assert "cannot be started (No such file" in refusal(Keyring("x", DEADLINE_S).load).problem
        monkeypatch.setattr(sys, "executable", "/bin/false")
        assert "without an answer (exit code 1)" in refusal(Keyring("x", DEADLINE_S).load).problem

    def test_each_situation_has_a_message_of_its_own(self) -> None:
        source = Path(keyring_child.__file__).read_text()
        raised = set(re.findall(r'Failure\("([a-z-]+)"', source)) | set(keyring_child._BY_TYPE.values())
        assert raised <= set(MESSAGES)
        assert len({problem for problem, _ in MESSAGES.values()}) == len(MESSAGES)


class TestPlaintext:
    """A stand-in for keyrings.alt: a plug-in of the package that keeps plain text."""

    @pytest.fixture(autouse=True)
    def plugin(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "plain.py").write_text(
            "from keyring.backend import KeyringBackend\n"
            "class Keyring(KeyringBackend):\n"
            "    priority = 1\n"
            "    def get_password(self, service, username): return None\n"
            "    def set_password(self, service, username, password): raise SystemExit\n"
        )
        about = tmp_path / "plain-1.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: plain\nVersion: 1\n")
        (about / "entry_points.txt").write_text("[keyring.backends]\nplain = plain\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    PROBLEM = "the keyring plain.Keyring is not known to encrypt what it keeps, so it is not used"

    def test_is_refused_where_it_is_all_there_is(self, service: SecretService) -> None:
        assert refusal(Keyring("x", DEADLINE_S).load_or_create).problem == self.PROBLEM

    def test_is_refused_in_a_chain_behind_the_real_one(self, unlocked: SecretService) -> None:
        assert refusal(Keyring("x", DEADLINE_S).load_or_create).problem == self.PROBLEM


class TestTheChild:
    def test_secrets_stand_neither_in_its_arguments_nor_in_its_environment(
        self, unlocked: SecretService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NOVAKEY_PASSPHRASE_FILE", "/somewhere")
        monkeypatch.setenv("PYTHONSTARTUP", "/somewhere")
        children = _watch(monkeypatch)
        key = new_key()
        Keyring("arguments", DEADLINE_S).store(key)
        ((words, env),) = [(child.words, child.env) for child in children]
        seen = " ".join([*words, *env.values()])
        for form in (key.reveal().hex(), base64.b64encode(key.reveal()).decode()):
            assert (form in seen) is False, "the key is where others can read it"
        assert set(env) <= {*keyring._ENVIRONMENT, "PYTHONPATH"}

    def test_starts_no_program(self, unlocked: SecretService) -> None:
        """The package's search for the libraries of macOS would run a compiler, three times."""
        request = {"op": "load", "service": "novakey", "account": "x", "deadline_s": 8}
        command = [sys.executable, "-P", "-c", _TELLING, keyring_child.__name__]
        env = {**os.environ, "PYTHONPATH": str(keyring._PACKAGE_FOLDER)}
        done = subprocess.run(
            command, input=json.dumps(request).encode(), env=env, timeout=20, cwd="/", capture_output=True
        )
        assert json.loads(done.stdout) == {"answer": "none"}
        assert done.stderr == b""

    def test_ends_by_itself_when_its_parent_is_gone(self, service: SecretService) -> None:
        service.unlock()
        service.signal(signal.SIGSTOP)
        request = {"op": "load", "service": "novakey", "account": "x", "deadline_s": 0.5}
        command = [sys.executable, "-P", "-m", keyring_child.__name__]
        env = {**os.environ, "PYTHONPATH": str(keyring._PACKAGE_FOLDER)}
        done = subprocess.run(command, input=json.dumps(request).encode(), env=env, timeout=10, cwd="/")
        assert done.returncode == -signal.SIGALRM

    def test_finds_the_users_bus_without_the_variable(
        self, unlocked: SecretService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS")
        assert Keyring("never", DEADLINE_S).load() is None


class TestAccounts:
    def test_installations_do_not_see_each_others_keys(self, unlocked: SecretService, tmp_path: Path) -> None:
        one, other = (
            Keyring(installation_id(tmp_path / name), DEADLINE_S) for name in ("installation", "another")
        )
        key = one.load_or_create()
        assert other.load() is None
        other.delete()
        assert one.load() == key

    def test_the_id_belongs_to_the_folder_however_it_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "link").symlink_to("folder")
        assert installation_id(tmp_path / "link") == installation_id(tmp_path / "folder")
        assert re.fullmatch("[0-9a-f]{16}", installation_id(tmp_path))

    def test_the_existing_daemons_key_is_read_and_left_alone(self, unlocked: SecretService) -> None:
        assert refusal(lambda: existing_daemon_key(DEADLINE_S)).problem == (
            "the keyring holds no key of the other daemon (novakey/devices-key)"
        )
        key = new_key()
        behind("set", "devices-key", base64.b64encode(key.reveal()))
        assert existing_daemon_key(DEADLINE_S) == key
        Keyring("", DEADLINE_S).load_or_create()
        Keyring("", DEADLINE_S).delete()
        assert existing_daemon_key(DEADLINE_S) == key


class Lying:
    """A stand-in for a keyring that loses, keeps or refuses what it should not."""

    def __init__(self, **fault: Any) -> None:
        self.entries: dict[tuple[str, str], str] = {}
        self.fault = fault

    def get_password(self, service: str, account: str) -> str | None:
        return self.entries.get((service, account))

    def set_password(self, service: str, account: str, text: str) -> None:
        if "refuses" in self.fault:
            raise self.fault["refuses"]
        self.entries[service, account] = self.fault.get("keeps", text)

    def delete_password(self, service: str, account: str) -> None:
        if "undead" not in self.fault:
            del self.entries[service, account]


class TestLyingKeyrings:
    """Inside the child, with stand-ins for the keyring."""

    @pytest.mark.parametrize(
        ("ring", "operation", "situation"),
        [
            (Lying(keeps="other"), "store", "not-kept"),
            (Lying(undead=True), "delete", "not-deleted"),
            (Lying(refuses=ConnectionResetError()), "store", "stopped"),
            (Lying(refuses=ZeroDivisionError("secret")), "store", "failed"),
        ],
    )
    def test_are_found_out(
        self, ring: Lying, operation: str, situation: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if operation == "delete":
            ring.entries["s", "a"] = "text"
        monkeypatch.setattr(keyring_child, "_rings", lambda: [ring])
        with pytest.raises(keyring_child.Failure) as caught:
            keyring_child._call({"op": operation, "service": "s", "account": "a", "key": "text"})
        assert caught.value.situation == situation
        assert caught.value.detail in ("", "ZeroDivisionError")

    def test_a_refused_change_keeps_its_cause(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from keyring.errors import PasswordSetError

        refused = PasswordSetError("no")
        monkeypatch.setattr(keyring_child, "_rings", lambda: [Lying(refuses=refused)])
        with pytest.raises(keyring_child.Failure) as caught:
            keyring_child._call({"op": "store", "service": "s", "account": "a", "key": "text"})
        assert caught.value.situation == "refused"
        assert caught.value.__cause__ is refused


class _Watched:
    def __init__(self, pid: int, words: list[str], env: dict[str, str]) -> None:
        self.pid, self.words, self.env = pid, words, env


def _watch(monkeypatch: pytest.MonkeyPatch) -> list[_Watched]:
    """Every child that is started from now on."""
    children: list[_Watched] = []

    class Popen(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, words: list[str], **options: Any) -> None:
            super().__init__(words, **options)
            children.append(_Watched(self.pid, words, options["env"]))

    monkeypatch.setattr(keyring.subprocess, "Popen", Popen)
    return children
