"""The flood: 1,000 idle connections from one loopback address, 300 a second of garbage from twenty others.

A process of its own, on loopback only, bounded in time. Reads {"port":…, "seconds":…}
from standard input, writes a line when the connections stand.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import contextlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import resource  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

import gevent  # noqa: E402

IDLE, IDLE_FROM = 1000, "127.0.0.2"
A_SECOND, SOURCES = 300, [f"127.0.1.{number}" for number in range(1, 21)]


def main() -> None:
    job = json.loads(sys.stdin.readline())
    target, until = ("127.0.0.1", int(job["port"])), time.monotonic() + float(job["seconds"])
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    idle = [gevent.spawn(_hold, target, until) for _ in range(IDLE)]
    gevent.sleep(1)
    print(flush=True)
    sent = 0
    while time.monotonic() < until:
        gevent.spawn(_garbage, target, SOURCES[sent % len(SOURCES)], sent)
        sent += 1
        gevent.sleep(1 / A_SECOND)
    gevent.killall(idle)


def _hold(target: tuple[str, int], until: float) -> None:
    """Return an idle connection, made again when it is closed."""
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(target, 5, (IDLE_FROM, 0)) as sock:
            sock.settimeout(max(0.1, until - time.monotonic()))
            sock.recv(1)
        gevent.sleep(0.5)


def _garbage(target: tuple[str, int], source: str, number: int) -> None:
    first = (b"NOVAK/1 /msg\n", b"NOVAK/1 /pair\n", b"")[number % 3]
    with contextlib.suppress(OSError), socket.create_connection(target, 5, (source, 0)) as sock:
        sock.sendall(first + os.urandom(1200))
        sock.settimeout(2)
        sock.recv(4096)


if __name__ == "__main__":
    main()
