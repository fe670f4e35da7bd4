"""Looks for a secret in the memory of another process, as root may."""

from __future__ import annotations

from pathlib import Path


def copies(pid: int, needle: bytes) -> int:
    """How often the bytes stand in the writable memory of the process."""
    found = 0
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            words = line.split()
            if not words[1].startswith("rw"):
                continue
            start, _, end = words[0].partition("-")
            memory.seek(int(start, 16))
            try:
                found += memory.read(int(end, 16) - int(start, 16)).count(needle)
            except OSError:  # special memory, such as a device's
                continue
    return found
