"""What the process gives away: nothing to a debugger, a core file, a child, its own memory."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import needs
from support.daemon import ROOT, Daemon, arm_and_approve, say
from support.memory import copies

from novakey.system import process
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("process") / "d", max_requests_per_min=1000) as running:
        yield running


def test_the_daemon_is_not_dumpable_and_leaves_no_core(daemon: Daemon) -> None:
    proc = Path(f"/proc/{daemon.process.pid}")
    if os.geteuid() == 0:
        assert (proc / "coredump_filter").read_text().strip() == "00000000"
    limits = (proc / "limits").read_text()
    assert next(line.split()[4:6] for line in limits.splitlines() if "core" in line) == ["1", "1"]


@pytest.mark.parametrize("closed", [False, True])
def test_programs_of_the_same_user_see_into_it_only_before_it_closes_up(closed: bool) -> None:
    assert _visible_to_its_own_user(closed) is not closed


def test_a_portal_may_look_while_it_is_asked_and_not_after() -> None:
    script = (
        "from novakey.system import process as p; p.harden(); print(p.is_dumpable())\n"
        "with p.open_to_portals(): print(p.is_dumpable())\n"
        "print(p.is_dumpable())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "True", "False"]


def test_a_secret_is_gone_from_memory_when_its_delivery_is_over(daemon: Daemon) -> None:
    """As root sees it. The device's id is looked for too: what is there is found."""
    phone = daemon.pair(f"seen-{secrets.token_hex(12)}")
    texts = [secrets.token_urlsafe(24) for _ in range(20)]
    for text in texts:
        arm_and_approve(phone)
        assert say(phone, MessageType.INJECT, text.encode()).outcome is Outcome.INTERNAL_ERROR
    if os.geteuid() != 0:
        with pytest.raises(PermissionError):
            copies(daemon.process.pid, phone.device_id.encode())
        return
    needs.sight_of(daemon.process.pid)
    assert copies(daemon.process.pid, phone.device_id.encode()) > 0
    # A freed piece of memory loses its first 16 bytes to the allocator: the end is looked for.
    assert [copies(daemon.process.pid, text[16:].encode()) for text in texts] == [0] * len(texts)


def test_helpers_get_a_clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOVAKEY_PASSPHRASE_FILE", "/somewhere")
    monkeypatch.setenv("SOME_TOKEN", "x")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-1")
    env = process.environment("WAYLAND_DISPLAY", "XDG_RUNTIME_DIR")
    assert set(env) <= {"PATH", "LANG", "LC_ALL", "WAYLAND_DISPLAY"}
    assert env["WAYLAND_DISPLAY"] == "wayland-1"


def _visible_to_its_own_user(closed: bool) -> bool:
    """Whether another program of the same ordinary user may read the environment of one, closed up or not."""
    python = [*needs.as_unprivileged(), "/usr/bin/python3", "-c"]
    source = Path(process.__file__).read_text() + ("harden()\n" if closed else "")
    source += "print('ready', flush=True)\nsys.stdin.read()\n"
    with subprocess.Popen([*python, source], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as looked_at:
        assert looked_at.stdout is not None
        assert looked_at.stdin is not None
        assert looked_at.stdout.readline() == b"ready\n"
        look = f"open('/proc/{looked_at.pid}/environ', 'rb').read(1)"
        seen = subprocess.run([*python, look], capture_output=True, check=False)
        looked_at.stdin.close()
    assert looked_at.returncode == 0
    return seen.returncode == 0
