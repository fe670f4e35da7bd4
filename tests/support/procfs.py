"""Another process, of another user, that looks into everybody's arguments and environments all the time."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from types import TracebackType

# It reads what to look for from its input, and never repeats it.
_SCRIPT = """
import glob, json, sys
needles = [bytes.fromhex(word) for word in sys.stdin.readline().split()]
print("ready", flush=True)
import os, select
sweeps, seen, read = 0, set(), 0
while True:
    asked = select.select([0], [], [], 0)[0] and sys.stdin.readline()
    if asked in ("", "end\\n"):
        break
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        for file in ("cmdline", "environ"):
            try:
                with open("/proc/" + name + "/" + file, "rb") as f:
                    data = f.read()
            except OSError:
                continue
            read += 1
            if any(needle in data for needle in needles):
                seen.add(file)
    sweeps += 1
    if asked:
        print("swept", flush=True)
print(json.dumps({"sweeps": sweeps, "read": read, "seen": sorted(seen)}))
"""


def pieces(secret: bytes, size: int = 16) -> list[bytes]:
    """Parts of a secret; a reader of one of them has seen it."""
    return [secret[at : at + size] for at in range(0, len(secret) - size + 1, size)]


class Watcher:
    """Watches while the block runs; afterwards `sweeps` and what kinds of file showed the secret."""

    def __init__(self, secret: bytes, prefix: Sequence[str] = ()) -> None:
        self._needles = " ".join(piece.hex() for piece in pieces(secret))
        self._argv = [*prefix, "/usr/bin/python3", "-c", _SCRIPT]
        self.sweeps = self.read = 0
        self.seen: list[str] = []

    def __enter__(self) -> Watcher:
        self._process = subprocess.Popen(self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(self._needles + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "ready\n"
        return self

    def sweep(self) -> None:
        """Wait until it has looked at every process from now on."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("sweep\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "swept\n"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            output, _ = self._process.communicate("end\n", timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        found = json.loads(output)
        self.sweeps, self.read, self.seen = found["sweeps"], found["read"], found["seen"]
