"""The commands as a person meets them, in a real terminal; the screens stand here as text.

In them TIME, PORT, PID, LEFT and DIR stand for what differs from run to run,
and `(QR, 45 x 23)` for the code itself, which is read off the screen too.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support.daemon import Daemon
from support.tmux import Terminal, bright_cells, read_qr

from novakey import __version__, phone


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "d"
    folder.mkdir(mode=0o700)
    settings = {"listen_addr": "127.0.0.1:0", "desktop_backend": "none"}
    (folder / "novakey.json").write_text(json.dumps(settings))
    return folder


def plain(screen: str, folder: Path) -> str:
    """Return the screen without what differs from run to run, and its QR as one line."""
    head, mark, tail = screen.partition("Time left")
    if mark:
        said, code = [], []
        for line in head.split("\n")[:-1]:
            (code if re.fullmatch(r"[ █▀▄#]*", line) else said).append(line)
        head = "\n".join([*said, f"(QR, {max(map(len, code), default=0)} x {len(code)})", ""])
    text = head + mark + tail
    for pattern, name in (
        (re.escape(str(folder)), "DIR"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d\b", "TIME"),
        (r"\d\d:\d\d:\d\d", "TIME"),
        (r"Time left: \d+:\d\d", "Time left: LEFT"),
        (r"([Pp]ort|process) \d+", r"\1 N"),
        (r"fingerprint: [0-9a-f]{32}", "fingerprint: FP"),
        (r"Fingerprint: [0-9a-f]{32}", "Fingerprint: FP"),
        (re.escape(__version__), "VERSION"),
    ):
        text = re.sub(pattern, name, text)
    return text


SERVE = """\
$ novakey
TIME info    listening on 127.0.0.1 port N, 0 paired
TIME info    waiting for a phone: scan the QR in DIR/novakey-pair.png
TIME info    in the app add a listener first: Host 127.0.0.1, Port N, exactly so
TIME warning the QR says 127.0.0.1, which no phone can reach: \
listen on an address of the network or set advertise_host
(QR, 45 x 23)
Time left: LEFT, until TIME.
In the app add a listener first: Host 127.0.0.1, Port N, exactly so.
Fingerprint: FP
Picture: DIR/novakey-pair.png"""

STATUS_OPEN = """\
$ novakey status
daemon:   running since TIME, process N, version VERSION
address:  127.0.0.1 port N
pairing:  window open (a QR waits for a phone)
          show it: novakey.py pair
          until TIME, attempts left: 3
          DIR/novakey-pair.png
          In the app add a listener first: Host 127.0.0.1, Port N, exactly so.
devices:  0
armed:    no phone
approved: no phone
display:  none: desktop_backend is none
$"""

PAIR = """\
(QR, 45 x 23)
Time left: LEFT, until TIME.
In the app add a listener first: Host 127.0.0.1, Port N, exactly so.
Fingerprint: FP
Picture: DIR/novakey-pair.png"""

PAIRED = """\
$ novakey pair
paired: anna from 127.0.0.1
$"""

PAIR_AGAIN = """\
$ novakey pair
novakey: a phone is paired already
to add another: novakey.py pair --add
$"""

DEVICES = """\
$ novakey devices list
Anna's phone (anna)
  paired:    TIME from 127.0.0.1
  last seen: TIME
  messages:  1, secrets delivered: 0
berta
  paired:    TIME from 127.0.0.1
  last seen: never
  messages:  0, secrets delivered: 0
$"""

STATUS = """\
$ novakey status
daemon:   running since TIME, process N, version VERSION
address:  127.0.0.1 port N
pairing:  paired
devices:  2
armed:    Anna's phone (anna) until TIME
approved: no phone
display:  none: desktop_backend is none
last:     TIME Anna's phone (anna): arm ok
$"""

STOPPED = """\
$ novakey status
daemon:   not running
pairing:  paired
devices:  1
$"""


def test_a_person_serves_pairs_two_phones_and_looks_after_them(folder: Path) -> None:
    with Terminal(folder, 130, 45) as left, Terminal(folder) as right:
        left.clear()
        left.type("novakey")
        assert plain(left.wait_for("^Picture: "), folder) == SERVE
        text = phone.read_picture(folder / "novakey-pair.png")
        assert read_qr("\n".join(left.screen().split("\n")[5:]), dark_glyphs=True) == text

        assert plain(right.run("novakey status"), folder).rstrip() == STATUS_OPEN
        right.clear()
        right.type("novakey pair")
        assert plain(right.wait_for("^Picture: "), folder) == PAIR
        right.wait_for_qr(text, dark_glyphs=True)  # the same window
        phone.pair_with(text, "anna").save(folder / "phone.json")
        assert plain(right.wait_for(r"^paired.*\n\$ $"), folder).rstrip() == PAIRED
        left.wait_for(r'paired: "anna" from 127.0.0.1. if that was not you: novakey.py devices revoke')
        assert not (folder / "novakey-pair.png").exists()

        assert plain(right.run("novakey pair"), folder).rstrip() == PAIR_AGAIN
        right.clear()
        right.type("novakey pair --add")
        assert plain(right.wait_for("^Picture: "), folder) == PAIR
        phone.pair_with(phone.read_picture(folder / "novakey-pair.png"), "berta")
        right.wait_for("^paired: berta from 127.0.0.1")

        right.run("novakey phone arm")
        right.run('novakey devices rename anna "Anna\'s phone"')
        assert plain(right.run("novakey devices list"), folder).rstrip() == DEVICES
        assert plain(right.run("novakey status"), folder).rstrip() == STATUS
        assert "revoked: berta, 1 left" in right.run("novakey devices revoke berta")
        left.press("C-c")
        left.wait_for(r"info    stopping\n\$")
        assert plain(right.run("novakey status"), folder).rstrip() == STOPPED


TOO_SMALL = """\
The QR needs 45 x 24 characters,
this terminal has 40 x 12.
Make it larger, or open the picture:
DIR/novakey-pair.png
In the app add a listener first: Host
127.0.0.1, Port N, exactly so.
Time left: LEFT, until TIME."""


def test_the_qr_follows_the_size_of_the_terminal_or_names_its_picture(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "d"
    with Daemon(folder) as daemon, Terminal(folder, 40, 12) as terminal:
        text = daemon.uri()
        terminal.clear()
        terminal.type("novakey pair")
        screen = plain(terminal.wait_for("^Time left"), folder).replace("(QR, 0 x 0)\n", "")
        assert screen == TOO_SMALL
        terminal.resize(80, 24)
        terminal.wait_for_qr(text, dark_glyphs=True)  # a usual terminal has room, to the last row
        last = terminal.wait_for(
            r"▀[^T]*^Time left: [0-9:]+, until [0-9:]+\. Host 127\.0\.0\.1, Port \d+\.\Z"
        )
        assert len(last.split("\n")) == 24
        terminal.resize(100, 30)
        terminal.wait_for(r"^Picture: ")
        terminal.wait_for_qr(text, dark_glyphs=True)
        first = terminal.wait_for("^Time left: ")
        counted = re.search(r"Time left: [0-9:]+", first)
        assert counted
        terminal.wait_for(rf"Time left: (?!{counted[0].removeprefix('Time left: ')})")
        terminal.resize(60, 10)
        terminal.wait_for(r"this terminal has 60 x 10")
        terminal.press("C-c")
        screen = terminal.wait_for("^the window stays open")
        assert screen.startswith("$ novakey pair\n"), "the code is gone from the screen"
        terminal.type("echo code $?")
        terminal.wait_for("^code 130")
        assert daemon.pair("still").device_id == "still"


@pytest.mark.parametrize(
    ("env", "size", "dark_glyphs"),
    [
        ({"NO_COLOR": "1"}, (80, 24), False),
        ({"LC_ALL": "C"}, (100, 50), False),
        ({"LC_ALL": "C", "NO_COLOR": "1"}, (100, 50), False),
        ({"TERM": "dumb"}, (100, 50), False),
        ({"TERM": "dumb", "LC_ALL": "POSIX"}, (100, 60), False),
    ],
    ids=lambda value: " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else None,
)
def test_without_colour_or_utf8_the_qr_can_still_be_read(
    tmp_path: Path, env: dict[str, str], size: tuple[int, int], dark_glyphs: bool
) -> None:
    folder = tmp_path / "d"
    with Daemon(folder) as daemon, Terminal(folder, *size, **env) as terminal:
        text = daemon.uri()
        terminal.clear()
        terminal.type("novakey pair")
        terminal.wait_for("^Time left: ")
        screen = terminal.screen("-e", "-N")
        assert screen.isascii() == ("LC_ALL" in env)
        coloured = "\x1b[" in screen.split("Time left")[0]
        assert coloured == ("NO_COLOR" not in env and "TERM" not in env)
        drawn = terminal.screen()
        if coloured:  # no UTF-8, but colour: light modules are spaces on a bright background
            drawn = bright_cells(screen)
        drawn = drawn[drawn.index("\n") + 1 :] if drawn.startswith("$ novakey pair") else drawn
        assert read_qr(drawn, dark_glyphs) == text
        daemon.pair()
        terminal.wait_for("^paired: phone-1 from")


def test_names_do_not_command_a_terminal(tmp_path: Path) -> None:
    """A name may be any printable text, and an old store may hold any id."""
    folder = tmp_path / "d"
    with Daemon(folder) as daemon, Terminal(folder, LC_ALL="C") as terminal:
        daemon.pair("größe")
        screen = terminal.run("novakey devices list")
        assert r"gr\xf6\xdfe" in screen
