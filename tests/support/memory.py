"""Looks for a secret in the memory of another process, as root may."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

# The allocator takes the first bytes of a freed piece of memory for itself, so the end is looked for.
_LOST = 16


def copies(pid: int, needle: bytes) -> int:
    """How often the bytes stand in the writable memory of the process."""
    return sum(piece.count(needle) for piece in _writable(pid))


def forms(text: str, code: Callable[[str], int] = ord) -> dict[str, bytes]:
    """Return the end of a text in each form that memory may hold; `code` gives a character's key code.

    Forms with one number a character stand for keysyms and key codes in order, however wide the numbers are.
    """
    end = text[_LOST:]
    codes = [code(character) for character in end]
    wide = {
        f"key codes, {8 * size} bits": struct.pack(f"={len(end)}{letter}", *codes)
        for size, letter in ((1, "B"), (2, "H"), (4, "I"), (8, "Q"))
    }
    return {
        "text": end.encode(),
        "JSON": json.dumps(end)[1:-1].encode(),
        "UTF-16": end.encode("utf-16-le"),
        "UTF-32 or keysyms": end.encode("utf-32-le"),
        "keysyms, 64 bits": struct.pack(f"={len(end)}Q", *map(ord, end)),
        **wide,
    }


def found(pid: int, needles: Mapping[str, bytes]) -> dict[str, int]:
    """Which of the needles stand in the writable memory of the process, and how often."""
    counts = dict.fromkeys(needles, 0)
    for piece in _writable(pid):
        for name, needle in needles.items():
            counts[name] += piece.count(needle)
    return {name: count for name, count in counts.items() if count}


def _writable(pid: int) -> Iterator[bytes]:
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            words = line.split()
            if not words[1].startswith("rw"):
                continue
            start, _, end = words[0].partition("-")
            memory.seek(int(start, 16))
            try:
                yield memory.read(int(end, 16) - int(start, 16))
            except OSError:  # special memory, such as a device's
                continue
