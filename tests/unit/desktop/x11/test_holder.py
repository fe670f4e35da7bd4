"""Typing while the keyboard is held: into the window whose program holds it, and nowhere else."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support import needs
from support.delivery import anywhere
from support.x11 import Recorder, RecordingXterm, XServer, differs, end, wait_until

from novakey.desktop.base import DesktopError
from novakey.desktop.x11.backend import X11Backend
from novakey.desktop.x11.connection import Connection
from novakey.desktop.x11.snapshot import Snapshot
from novakey.secret import Secret

DEADLINE_S = 20.0
TEXT = "aB1! äß字"
MANY = "".join(chr(0x4E00 + index) for index in range(240))  # more than all keys can be borrowed for at once
PINENTRY = b"SETPROMPT Passphrase\nGETPIN\n"


def is_held(server: XServer) -> bool:
    connection = Connection()
    try:
        with connection.grabbed():
            return Snapshot(connection).keyboard_is_held
    finally:
        connection.close()


@contextmanager
def prompt(server: XServer, *argv: str, said: bytes = b"") -> Iterator[subprocess.Popen[Any]]:
    """Run a program that holds the keyboard, until it does."""
    needs.programs(argv[0])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(argv, env=server.env, **pipes)
    assert process.stdin is not None
    try:
        process.stdin.write(said)
        process.stdin.flush()
        wait_until(lambda: is_held(server), "holding the keyboard")
        yield process
    finally:
        end(process)
        process.communicate()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("pinentry-gtk-2",), PINENTRY),
        (("pinentry-qt",), PINENTRY),
        (("/usr/lib/openssh/gnome-ssh-askpass", "Passphrase"), b""),
    ],
    ids=["gtk 2", "qt", "gtk 3"],
)
@pytest.mark.parametrize(
    "text", [pytest.param(TEXT, id="short"), pytest.param(MANY, id="of many steps", marks=pytest.mark.long)]
)
def test_a_prompt_that_holds_the_keyboard_for_itself_is_typed_into(
    backend: X11Backend, server: XServer, argv: tuple[str, ...], said: bytes, text: str
) -> None:
    before = server.keymap()
    with prompt(server, *argv, said=said) as process:
        wait_until(lambda: backend.focus(DEADLINE_S), "the focus of the prompt")
        backend.type_text(Secret(text.encode()), DEADLINE_S, anywhere)
        assert server.keymap() == before
        server.run("xdotool", "key", "Return")
        out, _ = process.communicate(b"BYE\n" if said else None, timeout=DEADLINE_S)
    got = next((line.removeprefix(b"D ") for line in out.splitlines() if not line.startswith(b"OK")), b"")
    assert differs(got.decode(), text) is None


def test_a_locker_that_holds_the_keyboard_without_the_focus_gets_nothing(
    backend: X11Backend, server: XServer, terminal: Recorder
) -> None:
    with prompt(server, "i3lock", "-n"):
        refused(backend)
    assert terminal.text() == ""


_MENU = """
import os, sys, gi
gi.require_version("Gtk", "3.0")
gi.require_version("Gdk", "3.0")
from gi.repository import Gdk, GLib, Gtk
window, menu = Gtk.Window(title="with a menu"), Gtk.Menu()
item = Gtk.MenuItem(label="one")
item.show()
menu.append(item)
window.add(Gtk.Entry())
window.show_all()
GLib.timeout_add(100, lambda: not menu.get_mapped() and (window.is_active() and menu.popup_at_widget(
    window, Gdk.Gravity.CENTER, Gdk.Gravity.CENTER, None), True)[1])
Gtk.main()
"""


def test_a_menu_of_the_focused_window_is_not_typed_into(backend: X11Backend, server: XServer) -> None:
    with prompt(server, "/usr/bin/python3", "-c", _MENU):
        wait_until(lambda: backend.focus(DEADLINE_S), "the focus")
        refused(backend)


def refused(backend: X11Backend) -> None:
    with pytest.raises(DesktopError, match="holds the keyboard") as caught:
        backend.type_text(Secret(b"secret"), DEADLINE_S, anywhere)
    assert caught.value.typed == 0


def test_a_terminal_with_a_secure_keyboard_is_typed_into(backend: X11Backend, server: XServer) -> None:
    class Secure(RecordingXterm):
        options = ("-xrm", "*VT100.translations: #override <Key>F5: secure()")

    with Secure(server) as window:
        server.run("xdotool", "key", "F5")
        wait_until(lambda: is_held(server), "holding the keyboard")
        window.clear()
        backend.type_text(Secret(TEXT.encode()), DEADLINE_S, anywhere)
        assert differs(window.wait_for(TEXT), TEXT) is None
