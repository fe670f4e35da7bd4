"""Messages: CPU a message beside the floor, throughput and latency, and how both grow."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from figures import Figure, figure, percentile
from subject import Subject, cpu_seconds, floor, load, resident_kib

ROUNDS = 5
PER_ROUND = 2000
AT_ONCE = (1, 8, 32)
FLOOR_LIMIT = 1.6
GROWTH_LIMIT = 1.1


def per_message(pid: int, port: int, messages: int, **job: Any) -> tuple[float, dict[str, Any]]:
    """Microseconds of the process's own CPU a message, and what the load saw."""
    before = cpu_seconds(pid)
    seen = load(port, messages=messages, **job)
    assert set(seen["statuses"]) <= {"ok"}, seen["statuses"]
    return (cpu_seconds(pid) - before) / messages * 1e6, seen


def messages(full: bool) -> Iterator[Figure]:
    """Return the floor, the daemon beside it, and what a phone sees at 1, 8 and 32 connections."""
    with tempfile.TemporaryDirectory() as folder, floor() as (floor_pid, floor_port, floor_job):
        subject = Subject(Path(folder) / "d", 1)
        job = {"public": subject.public, "devices": subject.devices}
        with subject.daemon as daemon:
            load(floor_port, messages=300, at_once=1, **floor_job)
            load(daemon.port, messages=300, at_once=1, **job)
            for at_once in AT_ONCE:
                least, ours, rates, middle, slow = [], [], [], [], []
                for _ in range(ROUNDS):  # in turns: what disturbs one disturbs the other
                    least.append(
                        per_message(floor_pid, floor_port, PER_ROUND, at_once=at_once, **floor_job)[0]
                    )
                    cost, seen = per_message(subject.pid, daemon.port, PER_ROUND, at_once=at_once, **job)
                    ours.append(cost)
                    rates.append(PER_ROUND / seen["seconds"])
                    middle.append(percentile(seen["latencies_ms"], 0.5))
                    slow.append(percentile(seen["latencies_ms"], 0.99))
                name = f"{at_once} at once"
                yield figure("messages", f"floor, CPU a message, {name}", "us", least)
                yield figure("messages", f"daemon, CPU a message, {name}", "us", ours)
                ratios = [one / other for one, other in zip(ours, least, strict=True)]
                limit = FLOOR_LIMIT if at_once == 1 else None
                yield figure("messages", f"daemon / floor, {name}", "x", ratios, limit)
                yield figure("messages", f"messages a second, {name}", "1/s", rates)
                yield figure("messages", f"latency p50, {name}", "ms", middle)
                yield figure("messages", f"latency p99, {name}", "ms", slow)


def growth(full: bool) -> Iterator[Figure]:
    """CPU a message and memory after more and more accepted messages, with 1 and with 1,000 devices."""
    stages = (1_000, 100_000, 1_000_000) if full else (1_000, 20_000)
    for count in (1000, 1):
        with tempfile.TemporaryDirectory() as folder:
            subject = Subject(Path(folder) / "d", count, log_rotate_mb=64, log_keep=1)
            job = {"public": subject.public, "devices": subject.devices, "at_once": 4}
            with subject.daemon as daemon:
                per_message(subject.pid, daemon.port, 300, **job)
                first = [per_message(subject.pid, daemon.port, 1000, **job)[0] for _ in range(ROUNDS)]
                sent = 300 + 1000 * ROUNDS
                yield figure("growth", f"CPU a message, the first, {count} devices", "us", first)
                yield figure(
                    "growth", f"memory, the first, {count} devices", "MiB", [resident_kib(subject.pid) / 1024]
                )
                for stage in stages[1:]:
                    if stage > sent:
                        # One device may send 100,000 a minute at most.
                        pace = {"gap_s": 0.002} if count == 1 else {}
                        filled = load(daemon.port, messages=stage - sent, **pace, **job)
                        assert set(filled["statuses"]) == {"ok"}, filled["statuses"]
                    late = [per_message(subject.pid, daemon.port, 1000, **job)[0] for _ in range(ROUNDS)]
                    sent = max(stage, sent) + 1000 * ROUNDS
                    ratio = figure("growth", "", "x", late).median / figure("growth", "", "x", first).median
                    name = f"after {stage:,}, {count} devices"
                    yield figure("growth", f"CPU a message, {name}", "us", late)
                    yield figure("growth", f"CPU / the first thousand's, {name}", "x", [ratio], GROWTH_LIMIT)
                    yield figure("growth", f"memory, {name}", "MiB", [resident_kib(subject.pid) / 1024])
