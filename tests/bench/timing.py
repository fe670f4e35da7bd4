"""A text typed into a terminal by us and by another program, in turns: how long until all of it is there.

The terminal's program writes down when each piece came, by the clock of the machine. Ours is counted
from the accepted message on, the other program from its start.
"""

from __future__ import annotations

import random
import statistics
import string
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

import gevent
from figures import Figure, figure
from support.delivery import anywhere
from support.random_text import COMMON
from support.x11 import Recorder, differs, wait_until

from novakey.messages.output import Output
from novakey.secret import Secret
from novakey.wire.reply import Outcome

ROUNDS = 15
LENGTHS = (16, 94, 250)
PRINTABLE = string.ascii_letters + string.digits + "!#%&*+"


def plain(length: int) -> str:
    """Return what a keyboard has."""
    return "".join(random.choices(PRINTABLE, k=length))


def mixed(length: int) -> str:
    """Of up to 30 different characters of six scripts, as somebody's passphrase may be."""
    letters = [chr(random.choice(random.choice(COMMON))) for _ in range(30)]
    return "".join(random.choices(letters, k=length))


TEXTS = (("", plain), ("mixed ", mixed))

READER = """
import os, sys, termios, time, tty
tty.setraw(0)
out = open(sys.argv[1], "ab", buffering=0)
open(sys.argv[1] + ".ready", "w").close()
while data := os.read(0, 4096):
    out.write(b"%d %s\\n" % (time.monotonic_ns(), data.hex().encode()))
"""


def _came(window: Recorder) -> tuple[str, int]:
    """Return what has come, and when the last of it came (nanoseconds)."""
    lines = [line.split() for line in window.text().splitlines()]
    whole = [line for line in lines if len(line) == 2]
    text = b"".join(bytes.fromhex(line[1]) for line in whole).decode("utf-8", "replace")
    return text, int(whole[-1][0]) if whole else 0


def _ours(output: Output, window: Recorder, text: str) -> float:
    """Milliseconds until the window has exactly the text."""
    output.prepare()
    gevent.sleep(0.4)  # as between arming and sending
    window.clear()
    start = time.monotonic_ns()
    assert output.deliver(Secret(text.encode()), anywhere)[0] is Outcome.TYPED
    with suppress(AssertionError):
        wait_until(lambda: _came(window)[0] == text, "the text")
    came = _came(window)[0]
    assert came == text, differs(came, text)
    return (_came(window)[1] - start) / 1e6


def _theirs(argv: Sequence[str], window: Recorder, text: str) -> float:
    """Milliseconds until the last of what comes, which others alter where they borrow keys."""
    gevent.sleep(0.4)
    window.clear()
    start = time.monotonic_ns()
    subprocess.run(argv, input=text.encode(), env=window.server.env, check=True, timeout=60)
    wait_until(lambda: _came(window)[1], "a character")
    before = 0
    while before != (before := _came(window)[1]):
        gevent.sleep(0.2)
    return (before - start) / 1e6


def compared(
    part: str,
    output: Output,
    window: Recorder,
    argv: Sequence[str],
    full: bool,
    limits: tuple[float | None, float | None] = (None, None),
) -> Iterator[Figure]:
    """Two kinds of text in three lengths: ours, theirs, and the ratio of the medians."""
    for (kind, make), limit in zip(TEXTS, limits, strict=True):
        for length in LENGTHS:
            ours, theirs = [], []
            for _ in range(ROUNDS * (3 if full else 1)):
                text = make(length)
                ours.append(_ours(output, window, text))
                theirs.append(_theirs(argv, window, text))
            name = f"{length} {kind}characters"
            yield figure(part, name, "ms", ours)
            yield figure(part, f"{name}, {argv[0]}", "ms", theirs)
            ratio = statistics.median(ours) / statistics.median(theirs)
            yield figure(part, f"{name}, ours / {argv[0]}'s", "x", [ratio], limit)
