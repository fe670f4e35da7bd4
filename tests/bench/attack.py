"""What a phone sees while others do their worst: idle connections and a flood of garbage."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from figures import Figure, figure, percentile
from subject import HERE, Subject, load, settle

MESSAGES = 200
LIMIT = 5.0
PHONE = "127.0.0.77"


def attack(full: bool) -> Iterator[Figure]:
    """Return the latencies of a paired phone without and with the flood."""
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(Path(folder) / "d", 1)
        with subject.daemon as daemon:
            job = {
                "public": subject.public,
                "devices": subject.devices,
                "at_once": 1,
                "source": PHONE,
                "messages": MESSAGES,
                "gap_s": 0.02,
            }
            load(daemon.port, **job)
            calm = load(daemon.port, **job)
            argv = [sys.executable, str(HERE / "flood.py")]
            with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as flood:
                assert flood.stdin is not None and flood.stdout is not None
                flood.stdin.write(json.dumps({"port": daemon.port, "seconds": 30}).encode() + b"\n")
                flood.stdin.flush()
                flood.stdout.readline()
                settle(1)
                attacked = load(daemon.port, **job)
                flood.terminate()
    assert set(calm["statuses"]) == {"ok"}, calm["statuses"]
    assert set(attacked["statuses"]) == {"ok"}, attacked["statuses"]
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        before, under = (percentile(seen["latencies_ms"], share) for seen in (calm, attacked))
        yield figure("attack", f"latency {name}, in peace", "ms", [before])
        yield figure("attack", f"latency {name}, under attack", "ms", [under])
        yield figure(
            "attack",
            f"{name} under attack / in peace",
            "x",
            [under / before],
            LIMIT if name == "p99" else None,
        )


def reachable(port: int) -> bool:
    """Whether something listens there."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
