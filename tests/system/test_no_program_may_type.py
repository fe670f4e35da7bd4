"""A session that lets no program type, from phone to clipboard: a real mutter without its message bus."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from support.daemon import Daemon, arm_and_approve, say
from support.delivery import anywhere
from support.mutter import Mutter, MutterFoot
from support.wayland import session_of
from support.x11 import differs, wait_until

from novakey.desktop.base import CannotType
from novakey.desktop.select import Chooser
from novakey.secret import Secret
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

BY_POLICY = {"desktop_backend": "auto", "allow_clipboard_on_inject_failure": True}
SECRET = "pässwörd €字😀"


@pytest.fixture(scope="module")
def mutter() -> Iterator[Mutter]:
    with Mutter() as running:
        yield running


@pytest.fixture
def bare(mutter: Mutter) -> dict[str, str]:
    """Return the session of a daemon that finds no bus, and so nothing that presses keys."""
    return {name: mutter.session[name] for name in ("XDG_RUNTIME_DIR", "WAYLAND_DISPLAY")}


def clipboard(mutter: Mutter, kind: str = "text/plain;charset=utf-8") -> str:
    argv = ("wl-paste", "--no-newline", "--type", kind)
    done = subprocess.run(argv, env=mutter.env, capture_output=True, timeout=10, check=False)
    return done.stdout.decode()


def is_gone(mutter: Mutter) -> bool:
    """Look at times only: a look takes the focus for a moment, and so does taking it back."""
    gevent.sleep(1)
    return clipboard(mutter) == ""


def test_by_policy_the_secret_is_on_the_clipboard_and_the_reply_says_why(
    mutter: Mutter, bare: dict[str, str], tmp_path: Path
) -> None:
    patient = Daemon(tmp_path / "d", env=bare, **BY_POLICY, clipboard_clear_s=60)
    with patient as daemon, MutterFoot(mutter) as foot:
        phone = daemon.pair()
        arm_and_approve(phone)
        reply = say(phone, MessageType.INJECT, SECRET.encode())
        assert reply.outcome is Outcome.COPIED_WAYLAND
        assert (reply.outcome.status, reply.outcome.reason) == (0x09, "inject_unavailable_wayland")
        assert differs(clipboard(mutter), SECRET) is None
        assert clipboard(mutter, "x-kde-passwordManagerHint") == "secret"
        assert foot.text() == ""
    assert clipboard(mutter) == "", "it is taken back at exit"


def test_the_clipboard_is_taken_back_after_its_time(
    mutter: Mutter, bare: dict[str, str], tmp_path: Path
) -> None:
    quick = Daemon(tmp_path / "d", env=bare, **BY_POLICY, clipboard_clear_s=1)
    with quick as daemon, MutterFoot(mutter) as foot:
        phone = daemon.pair()
        arm_and_approve(phone)
        assert say(phone, MessageType.INJECT, SECRET.encode()).outcome is Outcome.COPIED_WAYLAND
        wait_until(lambda: is_gone(mutter), "taking it back", 30)
        wait_until(foot._takes_keys, "the focus, back where it was")


def test_the_clipboard_is_taken_back_from_a_compositor_that_was_busy(
    mutter: Mutter, bare: dict[str, str]
) -> None:
    with session_of(bare), MutterFoot(mutter) as foot:
        backend = Chooser("wayland")()
        backend.copy(Secret(SECRET.encode()), 5)
        assert differs(clipboard(mutter), SECRET) is None
        assert mutter.process is not None
        mutter.process.send_signal(signal.SIGSTOP)
        try:
            clearing = gevent.spawn(backend.clear_clipboard)
            gevent.sleep(4)
        finally:
            mutter.process.send_signal(signal.SIGCONT)
        clearing.join(20)
        assert clearing.dead and clipboard(mutter) == ""
        wait_until(foot._takes_keys, "the focus, back where it was")


def test_without_that_policy_nothing_is_copied(mutter: Mutter, bare: dict[str, str], tmp_path: Path) -> None:
    with Daemon(tmp_path / "d", env=bare, desktop_backend="auto") as daemon:
        phone = daemon.pair()
        arm_and_approve(phone)
        reply = say(phone, MessageType.INJECT, SECRET.encode())
        assert reply.outcome is Outcome.INTERNAL_ERROR
        assert "nothing was typed: this Wayland session lets no program type" in reply.msg
        assert clipboard(mutter) == ""


def test_a_copy_leaves_no_file_behind_and_what_another_copied_since_is_left_alone(
    mutter: Mutter, bare: dict[str, str]
) -> None:
    with session_of(bare):
        backend = Chooser("wayland")()
        assert backend.name == "clipboard"
        with pytest.raises(CannotType):
            backend.paste(Secret(b"secret"), 5, anywhere)
        backend.copy(Secret(b"ours"), 5)
        assert clipboard(mutter) == "ours"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["wl-copy"], input=b"theirs", env=mutter.env, timeout=10, check=True, **quiet)
        wait_until(lambda: clipboard(mutter) == "theirs", "another copy", 5)
        backend.close()
        assert clipboard(mutter) == "theirs"
