"""The processes that are measured: the daemon with devices of its own, the floor, the load."""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

from support.daemon import Daemon  # noqa: E402

from novakey.devices import server_keys  # noqa: E402
from novakey.devices.sealing.keyfile import KeyFile  # noqa: E402
from novakey.devices.store import Device, DeviceStore  # noqa: E402
from novakey.messages import ledger  # noqa: E402
from novakey.secret import Secret  # noqa: E402
from novakey.system.paths import Paths  # noqa: E402
from novakey.wire import crypto  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
DeviceKeys = list[tuple[str, str]]


class Subject:
    """A daemon over a store with `count` devices, started as a person starts it."""

    def __init__(self, folder: Path, count: int, **settings: Any) -> None:
        self.folder = folder
        paths = Paths.under(folder)
        paths.prepare()
        key = KeyFile(paths.sealing_key).load_or_create()
        server = server_keys.create(paths.data / "server_keys.json", key)
        devices = {
            f"phone-{number}": Device(f"phone-{number}", Secret(secrets.token_bytes(32)))
            for number in range(count)
        }
        store = DeviceStore(paths.data / "devices.json", key, {}, None)
        store.replace_all(devices, crypto.fingerprint(server.public))
        ledger.begin(paths.replay_ledger, 1)  # else everything of the first minutes would be refused
        self.devices: DeviceKeys = [(device.id, device.key.reveal().hex()) for device in devices.values()]
        self.public = base64.b64encode(server.public).decode()
        raised = {"max_requests_per_min": 100_000, "max_unauthenticated_per_address": 64, **settings}
        self.daemon = Daemon(folder, **raised)

    @property
    def pid(self) -> int:
        return self.daemon.process.pid


@contextmanager
def floor() -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Return the floor's pid, port, and what the load needs to speak to it."""
    pair = crypto.ExpandedKey.generate()
    device_key = secrets.token_bytes(32)
    process = subprocess.Popen(
        [sys.executable, str(HERE / "floor.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(pair.reveal() + device_key)
        process.stdin.close()
        port = int(process.stdout.readline())
        yield (
            process.pid,
            port,
            {
                "public": base64.b64encode(pair.public).decode(),
                "devices": [("phone-0", device_key.hex())],
            },
        )
    finally:
        process.kill()
        process.wait()


def load(port: int, **job: Any) -> dict[str, Any]:
    """Run the load generator to its end."""
    request = json.dumps({"port": port, **job}).encode()
    done = subprocess.run(
        [sys.executable, str(HERE / "load.py")], input=request, capture_output=True, check=True
    )
    return dict(json.loads(done.stdout))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_kib(pid: int) -> int:
    """Resident memory."""
    return _status(pid, "VmRSS")


def context_switches(pid: int) -> dict[str, int]:
    """How often each of its threads was switched out, by itself or not."""
    counts = {}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        lines = (thread / "status").read_text().splitlines()
        counts[thread.name] = sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)
    return counts


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise KeyError(name)


def settle(seconds: float = 0.5) -> None:
    """Let what is still under way end."""
    time.sleep(seconds)
