"""The load generator: a process of its own that sends frames and times the replies.

Reads one JSON object from standard input: port, devices (id, key), public key,
how many messages on how many connections at a time, from which addresses. Each
device encapsulates once; every message has a nonce, a timestamp and a seal of
its own, made before the clock starts. Writes one JSON object: how many were
answered with which status, the seconds taken, and the latencies in milliseconds.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import base64  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import gevent  # noqa: E402
from gevent.queue import Empty, Queue  # noqa: E402

from novakey.secret import Secret  # noqa: E402
from novakey.wire import crypto, message, preface  # noqa: E402
from novakey.wire.message import Message, MessageType  # noqa: E402

BATCH = 2000  # frames built before each stretch of sending


class Device:
    """One paired phone that encapsulates only once."""

    def __init__(self, device_id: str, key: bytes, public: bytes) -> None:
        self.id = device_id.encode()
        ciphertext, shared = crypto.encapsulate(public)
        self._key = crypto.message_key(shared, key)
        self._header = message.header(self.id, ciphertext)

    def frame(self, kind: MessageType, payload: bytes) -> bytes:
        nonce = os.urandom(crypto.NONCE_SIZE)
        opened = Message(int(time.time()), kind, self.id, Secret(payload)).encode()
        sealed = crypto.seal(self._key, nonce, opened, self._header)
        return preface.Route.MSG.value + message.frame(self._header + nonce + sealed)


class Load:
    """Counts and latencies of one run."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._target = ("127.0.0.1", int(job["port"]))
        self._source = job.get("source", "127.0.0.1")
        public = base64.b64decode(job["public"])
        self._devices = [Device(name, bytes.fromhex(key), public) for name, key in job["devices"]]
        self._count = int(job["messages"])
        self._at_once = int(job["at_once"])
        self._gap = float(job.get("gap_s", 0.0))
        self.latencies: list[float] = []
        self.statuses: dict[str, int] = {}
        self.seconds = 0.0

    def run(self) -> None:
        done = 0
        while done < self._count:
            batch = min(BATCH, self._count - done)
            frames: Queue[bytes] = Queue()
            for index in range(batch):
                frames.put(self._devices[(done + index) % len(self._devices)].frame(MessageType.ARM, b""))
            started = time.perf_counter()
            gevent.joinall(
                [gevent.spawn(self._send_all, frames) for _ in range(self._at_once)], raise_error=True
            )
            self.seconds += time.perf_counter() - started
            done += batch

    def _send_all(self, frames: Queue[bytes]) -> None:
        while True:
            try:
                frame = frames.get_nowait()
            except Empty:
                return
            started = time.perf_counter()
            status = self._send(frame)
            self.latencies.append((time.perf_counter() - started) * 1000)
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if self._gap:
                time.sleep(self._gap)

    def _send(self, frame: bytes) -> str:
        try:
            with socket.create_connection(self._target, timeout=15, source_address=(self._source, 0)) as sock:
                sock.sendall(frame)
                reply = b""
                while not reply.endswith(b"\n"):
                    data = sock.recv(4096)
                    if not data:
                        return "closed"
                    reply += data
        except OSError as error:
            return type(error).__name__
        return str(json.loads(reply)["reason"])


def main() -> None:
    load = Load(json.load(sys.stdin))
    load.run()
    json.dump(
        {"seconds": load.seconds, "statuses": load.statuses, "latencies_ms": load.latencies}, sys.stdout
    )


if __name__ == "__main__":
    main()
