"""Start, memory and idleness: beside a bare interpreter that imports what no daemon can do without."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from figures import Figure, figure
from subject import Subject, context_switches, cpu_seconds, load, resident_kib, settle

ROUNDS = 9
BARE = "import gevent, nacl.bindings, pqcrypto.kem"
HOLD = f"{BARE}\nimport pqcrypto.kem.ml_kem_768, sys\nprint(flush=True)\nsys.stdin.read()"
START_LIMIT, MEMORY_LIMIT, SWITCHES_LIMIT = 3.0, 1.8, 2.0
IDLE_S = 60.0


def _bare_seconds() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", BARE], check=True)
    return time.perf_counter() - started


def _bare_memory() -> float:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        settle()
        kib = resident_kib(process.pid)
        process.stdin.close()
        return kib / 1024


def start(full: bool) -> Iterator[Figure]:
    """From the command to listening, with a paired phone, warm and with the first bytecode to be compiled."""
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(Path(folder) / "d", 1)
        bare, warm = [], []
        for _ in range(ROUNDS):
            bare.append(_bare_seconds())
            started = time.perf_counter()
            with subject.daemon:
                warm.append(time.perf_counter() - started)
        subject.daemon.env["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "pyc")
        started = time.perf_counter()
        with subject.daemon:
            cold = time.perf_counter() - started
        yield figure("start", f"python -c '{BARE[:22]}...'", "ms", [value * 1000 for value in bare])
        yield figure("start", "command to listening, warm", "ms", [value * 1000 for value in warm])
        yield figure("start", "command to listening, no bytecode yet", "ms", [cold * 1000])
        ratios = [one / other for one, other in zip(warm, bare, strict=True)]
        yield figure("start", "listening / bare imports", "x", ratios, START_LIMIT)
        yield from _modules()


def _modules() -> Iterator[Figure]:
    """Return the dearest imports of a serving daemon, by themselves (python -X importtime)."""
    code = "import novakey.__main__ as m; m.patch(); import novakey.cli, novakey.daemon.app"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True
    )
    rows = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines() if "|" in line]
    own = sorted(((int(row[0]), row[2].strip()) for row in rows if row[0].strip().isdigit()), reverse=True)
    for microseconds, name in own[:8]:
        yield figure("start", f"import of {name} by itself", "ms", [microseconds / 1000])


def memory(full: bool) -> Iterator[Figure]:
    """Resident memory of an idle daemon, and after messages."""
    messages = 100_000 if full else 10_000
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(Path(folder) / "d", 1)
        bare = [_bare_memory() for _ in range(3)]
        with subject.daemon as daemon:
            settle(2)  # it goes on loading after it listens
            idle = resident_kib(subject.pid) / 1024
            load(daemon.port, messages=messages, at_once=4, public=subject.public, devices=subject.devices)
            settle()
            after = resident_kib(subject.pid) / 1024
    yield figure("memory", "bare imports", "MiB", bare)
    yield figure("memory", "daemon, idle", "MiB", [idle])
    yield figure("memory", "daemon, idle / bare imports", "x", [idle / value for value in bare], MEMORY_LIMIT)
    yield figure("memory", f"daemon, after {messages:,} messages", "MiB", [after])


def idle(full: bool) -> Iterator[Figure]:
    """Return what a daemon with a paired phone does in a minute in which nothing happens."""
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(Path(folder) / "d", 1)
        with subject.daemon:
            settle(2)
            before, cpu = context_switches(subject.pid), cpu_seconds(subject.pid)
            time.sleep(IDLE_S)
            after, cpu = context_switches(subject.pid), cpu_seconds(subject.pid) - cpu
    switches = sum(count - before.get(thread, 0) for thread, count in after.items())
    yield figure("idle", "context switches", "1/s", [switches / IDLE_S], SWITCHES_LIMIT)
    yield figure("idle", "CPU", "ms/min", [cpu * 1000])
