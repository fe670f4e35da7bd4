"""What root reads in the daemon's memory a second after a delivery: no copy of the secret, in no form."""

from __future__ import annotations

import os
import secrets
import string
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from support import needs
from support.daemon import Daemon, say
from support.dbus import message_bus
from support.memory import forms, found
from support.mutter import Mutter, MutterFoot
from support.wayland import RecordingFoot, Sway, session_of
from support.x11 import RecordingXterm, XServer, display_of, wait_until

from novakey.desktop.wayland.keymap import Keymap
from novakey.desktop.x11 import wire
from novakey.desktop.x11.connection import Connection
from novakey.desktop.x11.keymap import Layout
from novakey.phone import Profile
from novakey.wire.message import MessageType

REST_S = 1.0
_OPEN = {"two_man_enabled": False, "arm_consume_on_inject": False, "arm_max_ms": 600_000}
_LIMITS = {"max_requests_per_min": 100_000, "delivery_timeout_s": 15, "clipboard_clear_s": 3}
_CLIPBOARD = {"allow_clipboard_when_disarmed": True}


def secret() -> str:
    """Lower-case letters: each is one key, so the key codes in order are known."""
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(64))


@pytest.fixture(autouse=True)
def _as_root() -> None:
    needs.root("reads the memory of another process")


def daemon(folder: Path, env: dict[str, str], backend: str) -> Daemon:
    return Daemon(folder, env=env, desktop_backend=backend, **_OPEN, **_LIMITS, **_CLIPBOARD)


def rest(running: Daemon, needles: dict[str, bytes]) -> dict[str, int]:
    """Return what is left after the delivery and a second."""
    needs.sight_of(running.process.pid)
    gevent.sleep(REST_S)
    return found(running.process.pid, needles)


def inject(phone: Profile, text: str) -> str:
    reply = say(phone, MessageType.INJECT, text.encode())
    assert reply.outcome.success, reply.msg
    return reply.msg


@pytest.fixture(scope="module")
def screen() -> Iterator[XServer]:
    with XServer() as running, display_of(running):
        yield running


def x11_forms(text: str) -> dict[str, bytes]:
    """Also the requests that press and release its keys."""
    connection = Connection()
    strokes = Layout(connection.keymap(), 0, 0).strokes
    codes = {character: strokes[ord(character)].keycode for character in string.ascii_lowercase}
    keys = [(codes[character], down) for character in text[16:] for down in (True, False)]
    requests = bytes(wire.fake_keys(connection.xtest, keys, len(keys)))
    connection.close()
    return {**forms(text, lambda character: codes[character]), "requests": requests}


def test_after_typing_on_x11_and_a_copy_nothing_is_left(screen: XServer, tmp_path: Path) -> None:
    with message_bus() as bus, RecordingXterm(screen) as window:
        env = {"DISPLAY": screen.display, "DBUS_SESSION_BUS_ADDRESS": bus.address}
        with daemon(tmp_path / "d", env, "x11") as running:
            phone = running.pair("a-phone-that-is-found")
            say(phone, MessageType.ARM, b'{"ms": 600000}')
            for _ in range(2):
                text = secret()
                window.clear()
                inject(phone, text)
                assert window.wait_for(text) == text
                assert rest(running, x11_forms(text)) == {}
            say(phone, MessageType.DISARM)
            text = secret()
            inject(phone, text)
            paste = ("xclip", "-o", "-selection", "clipboard")
            assert screen.run(*paste) == text
            assert found(running.process.pid, forms(text))["text"] >= 1, "it is found while it is there"
            wait_until(lambda: screen.run(*paste, check=False) == "", "clearing")
            assert rest(running, x11_forms(text)) == {}


def test_no_cache_of_key_events_reads_like_the_text(screen: XServer, tmp_path: Path) -> None:
    """One event for each key, kept in the order of first use, is most of a passphrase."""
    with RecordingXterm(screen) as window:
        env = {"DISPLAY": screen.display}
        with daemon(tmp_path / "d", env, "x11") as running:
            phone = running.pair()
            say(phone, MessageType.ARM, b'{"ms": 600000}')
            text = "".join(secrets.SystemRandom().sample(string.ascii_lowercase, 20))
            inject(phone, text)
            assert window.wait_for(text) == text
            connection = Connection()
            strokes = Layout(connection.keymap(), 0, 0).strokes
            presses = {
                character: wire.fake_key(connection.xtest, wire.KEY_PRESS, strokes[ord(character)].keycode)[
                    :8
                ]
                for character in text
            }
            connection.close()
            assert rest(running, presses) == {}


def evdev_forms(text: str) -> dict[str, bytes]:
    strokes = {character: Keymap().stroke(character) for character in string.ascii_lowercase}
    return forms(text, lambda character: stroke.code if (stroke := strokes[character]) else 0)


def test_after_typing_under_sway_and_a_copy_nothing_is_left(tmp_path: Path) -> None:
    with Sway() as sway, RecordingFoot(sway) as window:  # noqa: SIM117  (each has its line)
        with daemon(tmp_path / "d", sway.session, "wlroots") as running:
            phone = running.pair()
            say(phone, MessageType.ARM, b'{"ms": 600000}')
            text = secret()
            inject(phone, text)
            assert window.wait_for(text) == text
            assert rest(running, evdev_forms(text)) == {}
            say(phone, MessageType.DISARM)
            text = secret()
            inject(phone, text)
            argv = ("wl-paste", "--no-newline")
            pasted = subprocess.run(argv, env=sway.env, capture_output=True, timeout=10, check=True).stdout
            assert pasted == text.encode()
            gevent.sleep(3.5)  # it is cleared after three seconds
            assert rest(running, evdev_forms(text)) == {}


def test_after_typing_under_gnome_nothing_is_left(tmp_path: Path) -> None:
    with Mutter() as mutter, session_of(mutter.session), MutterFoot(mutter) as window:  # noqa: SIM117
        with daemon(tmp_path / "d", mutter.session, "gnome") as running:
            phone = running.pair()
            say(phone, MessageType.ARM, b'{"ms": 600000}')
            text = secret()
            inject(phone, text)
            assert window.wait_for(text) == text
            assert rest(running, evdev_forms(text)) == {}


def test_the_search_finds_each_form_that_is_planted() -> None:
    text = secret()
    needles = forms(text, lambda character: ord(character) - 80)
    script = (
        "import sys, struct\ntext = input()\nkept = [text.encode(), text.encode('utf-16-le')]\n"
        "kept += [text.encode('utf-32-le'), struct.pack('64Q', *map(ord, text))]\n"
        "kept += [struct.pack('64' + size, *(ord(c) - 80 for c in text)) for size in 'BHIQ']\n"
        "print(flush=True)\nsys.stdin.readline()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe) as planted:
        assert planted.stdin is not None and planted.stdout is not None
        planted.stdin.write(text.encode() + b"\n")
        planted.stdin.flush()
        planted.stdout.readline()
        seen = found(planted.pid, needles)
        planted.stdin.close()
    assert set(seen) == set(needles), struct.calcsize("P")
    assert found(os.getpid(), {"itself": b"\0" * 64}), "its own memory is read too"
