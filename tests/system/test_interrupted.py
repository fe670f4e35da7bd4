"""Ctrl-C at every prompt: one clean end of the line, exit code 130, and a terminal that echoes."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.tmux import Terminal

from novakey.phone import Profile
from novakey.secret import Secret
from novakey.wire import crypto

PROMPTS = {
    "serve": "new passphrase for the device store:",
    "reset": "type reset to go on:",
    "setup": r"\[network\]",
    "phone send": "secret:",
    "phone pair --replace": "pairing URI:",
    "askpass 'continue (yes/no)?'": r"continue \(yes/no\)\?",
    "pinentry < confirm": r"really\? \(yes/no\)",
}


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    folder = tmp_path_factory.mktemp("interrupted")
    data = folder / "d"
    data.mkdir(mode=0o700)
    settings = {"device_store": "passphrase", "desktop_backend": "none", "listen_addr": "127.0.0.1:0"}
    (data / "novakey.json").write_text(json.dumps(settings))
    public = crypto.ExpandedKey.generate().public
    Profile("127.0.0.1", 1, "phone-1", Secret(secrets.token_bytes(32)), public).save(data / "phone.json")
    (folder / "confirm").write_text("OPTION ttyname=/dev/tty\nSETDESC really?\nCONFIRM\n")
    with Terminal(data) as terminal:
        terminal.type(f"cd {folder}")
        yield terminal


@pytest.mark.parametrize("words", PROMPTS)
def test_ctrl_c_at_a_prompt_ends_the_line_and_nothing_else(terminal: Terminal, words: str) -> None:
    terminal.clear()
    terminal.type(f"novakey {words}; echo code $?; stty -a | grep -o '[ -]echo '")
    terminal.wait_for(rf"{PROMPTS[words]}\s*$")
    terminal.press("C-c")
    screen = terminal.wait_for(r"\n\$ $\Z")
    assert re.search(rf"{PROMPTS[words]} *(\^C)?\ncode 130\n echo *\n\$ $", screen), screen


@pytest.mark.parametrize("words", ["serve", "phone send"])
def test_sigterm_at_a_prompt_without_echo_leaves_a_terminal_that_echoes(
    terminal: Terminal, words: str
) -> None:
    terminal.clear()
    terminal.type(f"novakey {words}; echo code $?; stty -a | grep -o '[ -]echo '")
    terminal.wait_for(rf"{PROMPTS[words]}\s*$")
    os.kill(_process(str(terminal.data), words), signal.SIGTERM)
    assert re.search(r"code 143\n echo *\n", terminal.wait_for(r"code \d+\n.echo *\n"))


def _process(*parts: str) -> int:
    """Return the id of the one process with these parts in its command line."""
    needles = [part.replace(" ", "\0").encode() for part in parts]
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if all(needle in line for needle in needles):
            found.append(int(path.parent.name))
    (pid,) = found
    return pid
