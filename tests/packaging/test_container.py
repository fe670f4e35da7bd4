"""The image, built from the very Dockerfile and started as its configuration says.

No engine runs here, so the pieces of one do: buildah builds, and bubblewrap
starts the image's entry point as the image's user, with the root read-only, in
namespaces of its own, with the image's environment and nothing else. The
network is the host's. `tests/packaging/image` builds, for minutes: these are long
tests. The first needs no image, only the files.

    tests/run -m long tests/packaging/test_container.py
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import needs
from support.daemon import ROOT, arm_and_approve, say
from support.x11 import RecordingXterm, XServer, differs

from novakey import phone
from novakey.config import load
from novakey.phone import Profile
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

DOCKERFILE = (ROOT / "conf" / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "conf" / "compose.yaml").read_text())
PASSPHRASE = "correct horse battery"
SECRET_FILE = "/run/secrets/novakey_passphrase"


def known_variable(name: str) -> bool:
    """Whether a variable means something to the daemon."""
    try:
        load.load(None, {name: ""}, Path("/nonexistent"))
    except load.ConfigError as error:
        return "unknown variable" not in str(error)
    return True


def test_dockerfile_and_compose_file_name_only_what_there_is() -> None:
    for words in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE):
        for name in words.split():
            assert (ROOT / name).exists(), name
            assert f"!{name}" in (ROOT / ".dockerignore").read_text().splitlines()
    assert all(":" in base for base in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))
    variables = set(re.findall(r"\bNOVAKEY_[A-Z_]+(?==)", DOCKERFILE))
    services = COMPOSE["services"]
    for service in services.values():
        variables |= {name for name in service["environment"] if name.startswith("NOVAKEY_")}
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["secrets"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert {name for service in services.values() for name in service["profiles"]} >= {"desktop", "server"}
    assert variables >= {"NOVAKEY_DATA_DIR", "NOVAKEY_PASSPHRASE_FILE", "NOVAKEY_DESKTOP_BACKEND"}
    assert all(known_variable(name) for name in variables)


@dataclass
class Image:
    """A laid out image and its configuration."""

    root: Path
    configuration: dict[str, Any]

    @property
    def ids(self) -> tuple[int, int]:
        user, _, group = self.configuration["User"].partition(":")
        return int(user), int(group)


@contextmanager
def open_folder() -> Iterator[Path]:
    """Return a folder that another user may pass through, as pytest's are not."""
    with tempfile.TemporaryDirectory(prefix="novakey-container-", dir=needs.open_place()) as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """Return what is laid out in `TEST_IMAGE`, else one built for these tests."""
    with open_folder() as built:
        folder = Path(os.environ.get("TEST_IMAGE") or built)
        if not (folder / "image.json").exists():
            subprocess.run([ROOT / "tests/packaging/image", folder], check=True, timeout=1500)
        yield Image(folder / "rootfs", json.loads((folder / "image.json").read_text()))


class Container:
    """One run of the image; a context manager that ends it."""

    def __init__(self, image: Image, volume: Path, *words: str, **options: Any) -> None:
        self.image = image
        self.volume = volume
        self._words = words
        self._env: dict[str, str] = options.pop("env", {})
        self._binds: list[tuple[Path, str]] = options.pop("binds", [])
        self._entry: list[str] = options.pop("entry", image.configuration["Entrypoint"])
        self.output = volume.parent / f"{volume.name}-{secrets.token_hex(4)}.out"

    def argv(self, info: int) -> list[str]:
        user, group = self.image.ids
        env = dict(pair.split("=", 1) for pair in self.image.configuration["Env"])
        words = ["bwrap", "--ro-bind", str(self.image.root), "/", "--proc", "/proc", "--dev", "/dev"]
        words += ["--perms", "0755", "--tmpfs", "/run", "--perms", "0755", "--dir", "/run/secrets"]
        words += ["--perms", "1777", "--tmpfs", "/tmp", "--bind", str(self.volume), "/data"]
        for outside, inside in self._binds:
            words += ["--ro-bind", str(outside), inside]
        words += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--as-pid-1", "--die-with-parent"]
        words += ["--info-fd", str(info), "--clearenv", "--cap-drop", "ALL"]
        for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):  # to give up what is left
            words += ["--cap-add", capability]
        for name, value in {**env, **self._env}.items():
            words += ["--setenv", name, value]
        words += ["--", "/usr/bin/setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        words += ["--no-new-privs", "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--"]
        return [*words, *self._entry, *(self._words or self.image.configuration["Cmd"])]

    def __enter__(self) -> Container:
        reading, writing = os.pipe()
        self.began = time.monotonic()
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                self.argv(writing),
                pass_fds=[writing],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={"PATH": os.environ["PATH"]},
            )
        os.close(writing)
        told = b""
        while b"}" not in told:  # the pipe stays open in the child
            piece = os.read(reading, 4096)
            assert piece, self.log()
            told += piece
        os.close(reading)
        self.pid = int(json.loads(told)["child-pid"])
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            # All in it end with its first process. That one no longer ends with bwrap: it changed its user.
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.process.wait(20)

    def log(self) -> str:
        return self.output.read_text(errors="replace")

    def listening(self) -> Container:
        """Wait until it serves; its port and how long that took."""
        while not (found := re.search(r"listening on (\S+) port (\d+)", self.log())):
            assert self.process.poll() is None and time.monotonic() - self.began < 60, self.log()
            time.sleep(0.01)
        self.took = time.monotonic() - self.began
        self.host, self.port = found[1], int(found[2])
        return self

    def stop(self) -> tuple[int, float]:
        """Return the image's stop signal to its first process: exit code and seconds."""
        began = time.monotonic()
        os.kill(self.pid, getattr(signal, self.image.configuration["StopSignal"]))
        return self.process.wait(20), time.monotonic() - began

    def run(self, *words: str, entry: list[str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run something to its end in the same image, volume and environment, as `docker exec` does."""
        other = Container(self.image, self.volume, *words, env=self._env, binds=self._binds)
        other._entry = self.image.configuration["Entrypoint"] if entry is None else entry
        with other:
            code = other.process.wait(60)
        return subprocess.CompletedProcess(words, code, other.log(), "")


@contextmanager
def serving(image: Image, volume: Path, passphrase: Path, **env: str) -> Iterator[Container]:
    env = {"NOVAKEY_LISTEN_ADDR": "127.0.0.1:0", "NOVAKEY_PASSPHRASE_FILE": SECRET_FILE, **env}
    with Container(image, volume, env=env, binds=[(passphrase, SECRET_FILE)]) as container:
        yield container.listening()


@pytest.fixture
def place() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


@pytest.fixture
def volume(image: Image, place: Path) -> Path:
    """Return an empty volume, with the owner and the rights that the image gives its folder."""
    folder = place / "data"
    folder.mkdir()
    there = (image.root / "data").stat()
    os.chown(folder, there.st_uid, there.st_gid)
    folder.chmod(there.st_mode & 0o777)
    assert (there.st_uid, there.st_mode & 0o777) == (image.ids[0], 0o700)
    return folder


@pytest.fixture
def passphrase(place: Path) -> Path:
    """As an engine hands out a secret: of root, readable."""
    file = place / "passphrase"
    file.write_text(PASSPHRASE + "\n")
    file.chmod(0o444)
    return file


def pair(container: Container) -> Profile:
    """Return the QR as the owner sees it by `docker exec … novakey.py pair`."""
    argv = Container(
        container.image, container.volume, "pair", "--json", env=container._env, binds=container._binds
    )
    with argv:
        while '"uri"' not in argv.log():
            assert time.monotonic() - argv.began < 30 and argv.process.poll() is None, (
                argv.log() + container.log()
            )
            time.sleep(0.02)
        text = next(v for v in json.loads(argv.log().splitlines()[0]).values() if "novakey://" in str(v))
        profile = phone.pair_with(text, "phone-1")
        assert argv.process.wait(20) == 0, "it ends when the phone has paired"
    return profile


@pytest.mark.long
def test_it_pairs_answers_every_type_and_keeps_its_devices(
    image: Image, volume: Path, passphrase: Path, record_property: Any
) -> None:
    with serving(image, volume, passphrase) as container:
        record_property("start seconds", round(container.took, 2))
        assert container.run(*image.configuration["Healthcheck"]["Test"][1:], entry=[]).returncode == 0
        profile = pair(container)
        assert say(profile, MessageType.ARM).outcome is Outcome.OK
        assert say(profile, MessageType.APPROVE).outcome is Outcome.OK
        assert say(profile, MessageType.INJECT, b"x").outcome is Outcome.INTERNAL_ERROR  # there is no display
        assert say(profile, MessageType.DISARM).outcome is Outcome.OK
        assert say(profile, MessageType.INJECT, b"x").outcome is Outcome.NOT_ARMED
        code, seconds = container.stop()
        assert code == 0 and seconds < 10
    assert container.run(*image.configuration["Healthcheck"]["Test"][1:], entry=[]).returncode == 1
    with serving(image, volume, passphrase) as container:
        again = Profile("127.0.0.1", container.port, "phone-1", profile.device_key, profile.public)
        assert say(again, MessageType.ARM).outcome is Outcome.OK
    names = {path.name for path in volume.iterdir()}
    assert {"devices.json", "server_keys.json", "sealing.passphrase"} <= names and "sealing.key" not in names


@pytest.mark.long
@pytest.mark.parametrize("given", ["another one", "", None])
def test_without_the_right_passphrase_it_says_so_and_exits_3(
    image: Image, volume: Path, passphrase: Path, given: str | None, place: Path
) -> None:
    with serving(image, volume, passphrase) as container:
        pair(container)
        container.stop()
    before = {path.name: path.read_bytes() for path in volume.iterdir() if path.is_file()}
    env = {"NOVAKEY_LISTEN_ADDR": "127.0.0.1:0"}
    binds = []
    if given is not None:
        wrong = place / "wrong"
        wrong.write_text(given)
        wrong.chmod(0o444)
        env["NOVAKEY_PASSPHRASE_FILE"], binds = SECRET_FILE, [(wrong, SECRET_FILE)]
    with Container(image, volume, env=env, binds=binds) as refused:
        assert refused.process.wait(60) == 3
    said = [line for line in refused.log().splitlines() if line.startswith("novakey: ")]
    assert len(said) == 1 and "passphrase" in said[0] and "Traceback" not in refused.log(), refused.log()
    assert before == {path.name: path.read_bytes() for path in volume.iterdir() if path.is_file()}


@pytest.mark.long
def test_inside_it_has_no_rights_and_can_write_nowhere_but_to_its_volume(
    image: Image, volume: Path, passphrase: Path
) -> None:
    with serving(image, volume, passphrase) as container:
        seen = container.run(
            "-c", "id -u; id -g; touch /x /opt/novakey/x /etc/x; echo; touch /data/x", entry=["/bin/sh"]
        )
        lines = seen.stdout.splitlines()
        assert lines[:2] == ["10001", "10001"] and seen.returncode == 0
        assert seen.stdout.count("Read-only file system") == 3
        # the running daemon itself, through the kernel's eyes
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{container.pid}/status").read_text().splitlines()
        )
        assert status["Uid"].split() == ["10001"] * 4 and status["NoNewPrivs"] == "1"
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == 0
        assert status["NSpid"].split()[-1] == "1"
        mounts = [line.split() for line in Path(f"/proc/{container.pid}/mountinfo").read_text().splitlines()]
        assert "ro" in next(mount for mount in mounts if mount[4] == "/")[5].split(",")
        env = Path(f"/proc/{container.pid}/environ").read_bytes()
        assert PASSPHRASE.encode() not in env


@pytest.mark.long
def test_through_the_socket_of_an_x_server_it_types_into_a_window_outside(
    image: Image, volume: Path, passphrase: Path
) -> None:
    with XServer() as server, RecordingXterm(server) as window:
        display = server.display
        server.run("xhost", "+local:")
        env = {"NOVAKEY_LISTEN_ADDR": "127.0.0.1:0", "NOVAKEY_PASSPHRASE_FILE": SECRET_FILE}
        env |= {"NOVAKEY_DESKTOP_BACKEND": "x11", "DISPLAY": display}
        socket_file = f"/tmp/.X11-unix/X{display[1:]}"
        binds = [(passphrase, SECRET_FILE), (Path(socket_file), socket_file)]
        with Container(image, volume, env=env, binds=binds) as container:
            profile = pair(container.listening())
            secret = secrets.token_urlsafe(16) + "äλж"
            arm_and_approve(profile)
            reply = say(profile, MessageType.INJECT, secret.encode())
            assert reply.outcome is Outcome.TYPED, reply
            assert differs(window.wait_for(secret), secret) is None


@pytest.mark.long
def test_without_a_display_a_program_that_asks_is_answered_by_the_phone(
    image: Image, volume: Path, passphrase: Path
) -> None:
    server = COMPOSE["services"]["server"]["environment"]
    settings = {name: server[name] for name in ("NOVAKEY_DESKTOP_BACKEND", "NOVAKEY_ASK_CONFIRM")}
    with serving(image, volume, passphrase, **settings) as container:
        profile = pair(container)
        words = ("ask", "--prompt", "the backup's key", "--timeout", "40")
        with Container(image, volume, *words, env=container._env, binds=container._binds) as request:
            while "waiting for a phone" not in request.log():
                assert time.monotonic() - request.began < 30 and request.process.poll() is None, request.log()
                time.sleep(0.02)
            secret = secrets.token_urlsafe(16)
            assert say(profile, MessageType.APPROVE).outcome is Outcome.OK
            reply = say(profile, MessageType.INJECT, secret.encode())
            assert reply.outcome is Outcome.OK, reply
            assert request.process.wait(20) == 0
            assert request.log().endswith(secret) is True
        assert (secret in container.log()) is False


@pytest.mark.long
def test_what_the_image_weighs(image: Image, record_property: Any) -> None:
    megabytes = int(subprocess.check_output(["du", "-sm", image.root]).split()[0])
    record_property("megabytes", megabytes)
    assert megabytes < 250
    assert not list(image.root.glob("opt/novakey/venv/lib/python3*/site-packages/pip"))
    assert not (image.root / "opt/novakey/tests").exists() and not (image.root / "root/.cache").exists()
