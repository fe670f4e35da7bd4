"""Peers that send much, or slowly, or open everything at once: closed at the limit, unnoticed by others."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import gevent
import pytest
from support import needs
from support.daemon import Daemon, command, read_all

from novakey.phone import Profile
from novakey.secret import Secret
from novakey.wire import message, pair, preface, uri
from novakey.wire.message import Message, MessageType

MSG, PAIR = preface.Route.MSG.value, preface.Route.PAIR.value
MEGABYTE = 1 << 20
PHONE = "127.0.0.77"
FLOOD = Path(__file__).parents[1] / "bench" / "flood.py"
TICKS = os.sysconf("SC_CLK_TCK")


def resident(daemon: Daemon) -> int:
    """Bytes of memory that the daemon holds."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


def descriptors(daemon: Daemon) -> int:
    needs.sight_of(daemon.process.pid, part="fd")
    return len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))


def processor_seconds(daemon: Daemon) -> float:
    fields = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def pour(sock: socket.socket, total: int) -> int:
    """Send until the daemon closes; how much it took."""
    sent, piece = 0, b"N" * 65536
    with suppress(OSError):
        while sent < total:
            sent += sock.send(piece)
    return sent


@pytest.mark.parametrize("start", [b"", PAIR], ids=["preface", "hello"])
def test_64_megabytes_without_a_line_end_are_cut_at_the_limit(tmp_path: Path, start: bytes) -> None:
    with Daemon(tmp_path / "d") as daemon:
        daemon.uri()
        with daemon.connect() as sock:
            sock.sendall(PAIR + b"{}\n")  # once before, so that what is loaded late is there
            read_all(sock)
        before = resident(daemon)
        with ThreadPoolExecutor(4) as pool:
            sockets = [daemon.connect() for _ in range(4)]
            for sock in sockets:
                sock.sendall(start)
            # The kernel takes some megabytes before anybody reads; the daemon reads up to its cap.
            assert max(pool.map(lambda sock: pour(sock, 64 * MEGABYTE), sockets)) < 64 * MEGABYTE
            grown = resident(daemon) - before
            for sock in sockets:
                sock.close()
        assert grown < 10 * MEGABYTE
        assert daemon.pair().device_id


def trickle(daemon: Daemon, start: bytes, byte: bytes, source: str) -> tuple[float, bytes]:
    """One byte a second after `start`; seconds from there until the daemon ended it, and what it said."""
    with daemon.connect(source) as sock:
        sock.sendall(start)
        began = time.monotonic()
        said, last = b"", began
        sock.settimeout(0.1)
        while time.monotonic() - began < 40:
            try:
                piece = sock.recv(4096)
            except TimeoutError:
                if time.monotonic() - last >= 1:
                    last = time.monotonic()
                    with suppress(OSError):
                        sock.sendall(byte)
                continue
            except OSError:
                break
            if not piece:
                break
            said += piece
            if piece.endswith(b"\n") and b"server_key" not in piece:
                break
        return time.monotonic() - began, said


def test_one_byte_a_second_is_cut_at_the_deadline_of_each_step(tmp_path: Path) -> None:
    """5 s for the first line, 5 for the hello, 10 for the register, 10 for a message; not a second more."""
    with Daemon(tmp_path / "d") as daemon:
        token = uri.decode(daemon.uri()).token
        steps = {
            "preface": (b"", b"N", 5),
            "hello": (PAIR, b"{", 5),
            "register": (PAIR + pair.encode_hello(token) + b"\x04\x40", b"\x04", 10),
            "length": (MSG + b"\x04", b"", 10),  # the second byte never comes
            "payload": (MSG + b"\x04\xa0", b"\x03", 10),
        }
        with ThreadPoolExecutor(len(steps)) as pool:
            running = {
                name: pool.submit(trickle, daemon, start, byte, f"127.0.0.{10 + number}")
                for number, (name, (start, byte, _)) in enumerate(steps.items())
            }
        for name, (start, _, deadline) in steps.items():
            seconds, said = running[name].result()
            if start.startswith(MSG):
                assert json.loads(said)["reason"] == "bad_request"
            assert deadline - 0.5 < seconds < deadline + 1, name


@contextmanager
def flood(daemon: Daemon, seconds: float) -> Iterator[None]:
    """1,000 idle connections from one address and 300 a second of garbage from twenty others."""
    with subprocess.Popen(
        [sys.executable, str(FLOOD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        try:
            assert running.stdin is not None
            assert running.stdout is not None
            running.stdin.write(json.dumps({"port": daemon.port, "seconds": seconds}).encode() + b"\n")
            running.stdin.flush()
            running.stdout.readline()
            yield
        finally:
            running.terminate()


def served(daemon: Daemon, phone: Profile, count: int, gap_s: float) -> list[float]:
    """Send messages, one after the other, from an address of its own; the seconds until each was answered."""
    seconds = []
    for _ in range(count):
        opened = Message(int(time.time()), MessageType.ARM, phone.device_id.encode(), Secret(b""))
        sealed = message.seal(opened, phone.public, phone.device_key.reveal(), secrets.token_bytes(24))
        began = time.monotonic()
        with daemon.connect(PHONE) as sock:
            sock.sendall(MSG + sealed)
            said = read_all(sock)
        seconds.append(time.monotonic() - began)
        assert json.loads(said)["reason"] == "ok"
        time.sleep(gap_s)
    return seconds


def phone_is_served_during_a_flood(folder: Path, seconds: float, count: int) -> dict[str, float]:
    with Daemon(folder, max_requests_per_min=1000) as daemon:
        phone = daemon.pair()
        served(daemon, phone, 5, 0)
        time.sleep(1)
        files, memory = descriptors(daemon), resident(daemon)
        with flood(daemon, seconds + 30):
            took = served(daemon, phone, count, seconds / count)
            peak = descriptors(daemon)
        wait_until(lambda: descriptors(daemon) <= files, 20)
        log = len(daemon.log())
        figures = {
            "slowest": max(took),
            "median": sorted(took)[count // 2],
            "descriptors at most": peak,
            "memory grown": resident(daemon) - memory,
            "log": log,
        }
        assert peak <= files + 64
        assert resident(daemon) - memory < 10 * MEGABYTE
        return figures


def wait_until(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_paired_phone_is_served_while_others_flood(tmp_path: Path) -> None:
    print(phone_is_served_during_a_flood(tmp_path / "d", seconds=4, count=20))


@pytest.mark.long
def test_a_paired_phone_is_served_while_others_flood_long(tmp_path: Path) -> None:
    figures = phone_is_served_during_a_flood(tmp_path / "d", seconds=60, count=200)
    print(figures)
    assert figures["slowest"] < 1


def test_a_phone_of_a_known_address_gets_in_while_strangers_hold_every_place(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d", max_connections=12, reserved_connections=2, preface_timeout_s=60) as daemon:
        phone = daemon.pair()
        served(daemon, phone, 1, 0)
        with Connections(daemon, 30, lambda number: f"127.0.3.{number + 1}"):
            time.sleep(0.5)
            assert len(served(daemon, phone, 3, 0)) == 3
            with daemon.connect("127.0.3.200") as stranger:
                assert read_all(stranger) == b""


def _silent(daemon: Daemon, until: float) -> None:
    """Return a connection from the phone's address that says nothing, made again when it is closed."""
    while time.monotonic() < until:
        with suppress(OSError), daemon.connect(PHONE) as sock:
            sock.settimeout(max(0.1, until - time.monotonic()))
            sock.recv(1)
        gevent.sleep(0.02)


def answered_beside_silent_ones(folder: Path, seconds: float) -> int:
    """How many of 20 messages are answered while the phone's address floods."""
    with Daemon(folder, max_requests_per_min=1000, preface_timeout_s=60) as daemon:
        phone, answered = daemon.pair(), 0
        served(daemon, phone, 1, 0)
        until = time.monotonic() + seconds + 60
        silent = [gevent.spawn(_silent, daemon, until) for _ in range(40)]
        try:
            wait_until(lambda: "too many connections" in daemon.log() or "took its place" in daemon.log(), 20)
            for _ in range(20):
                with suppress(OSError, ValueError):
                    answered += len(served(daemon, phone, 1, seconds / 20))
        finally:
            gevent.killall(silent)
        wait_until(lambda: len(served(daemon, phone, 1, 0)) == 1, 20)
        return answered


def test_silent_connections_from_the_phones_address_do_not_shut_it_out(tmp_path: Path) -> None:
    assert answered_beside_silent_ones(tmp_path / "d", seconds=1) >= 19


@pytest.mark.long
def test_silent_connections_from_the_phones_address_do_not_shut_it_out_long(tmp_path: Path) -> None:
    assert answered_beside_silent_ones(tmp_path / "d", seconds=60) >= 19


def test_who_sends_a_recorded_message_gets_none_of_the_places_kept_for_phones(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d", max_connections=12, reserved_connections=2, preface_timeout_s=60) as daemon:
        phone = daemon.pair()
        arm = Message(int(time.time()), MessageType.ARM, phone.device_id.encode(), Secret(b""))
        frame = message.seal(arm, phone.public, phone.device_key.reveal(), secrets.token_bytes(24))
        for address, reason in ((PHONE, "ok"), ("127.0.0.9", "replay")):
            with daemon.connect(address) as sock:
                sock.sendall(MSG + frame)
                assert json.loads(read_all(sock))["reason"] == reason
        with Connections(daemon, 30, lambda number: "127.0.0.9" if number < 15 else f"127.0.3.{number}"):
            time.sleep(0.5)
            assert len(served(daemon, phone, 3, 0)) == 3


class Connections:
    """Idle connections, made at once and held."""

    def __init__(self, daemon: Daemon, count: int, source: Callable[[int], str]) -> None:
        self._made = [socket.socket() for _ in range(count)]
        for number, sock in enumerate(self._made):
            sock.bind((source(number), 0))
            sock.setblocking(False)  # some wait in the kernel, if the daemon cannot take them
            sock.connect_ex((daemon.host, daemon.port))

    def __enter__(self) -> Connections:
        return self

    def __exit__(self, *error: object) -> None:
        for sock in self._made:
            sock.close()


@pytest.mark.parametrize("within", [True, False], ids=["room for them", "no room at all"])
def test_out_of_descriptors_it_neither_spins_nor_fills_the_log(tmp_path: Path, within: bool) -> None:
    """128 descriptors and 200 connections; then also with so few that accepting itself fails."""
    limits = {"max_connections": 4000, "max_unauthenticated_per_address": 4000, "preface_timeout_s": 60}
    limited = ("prlimit", "--nofile=128", *command())
    with Daemon(tmp_path / "d", launch=limited, max_requests_per_min=1000, **limits) as daemon:
        phone = daemon.pair()
        daemon.wait_for_log("64 connections only")
        if not within:
            most = descriptors(daemon) + 20
            subprocess.run(["prlimit", f"--nofile={most}", f"--pid={daemon.process.pid}"], check=True)
        with Connections(daemon, 200, lambda number: "127.0.0.2"):
            time.sleep(0.5)
            log, busy = len(daemon.log()), processor_seconds(daemon)
            time.sleep(4)
            busy, log = processor_seconds(daemon) - busy, len(daemon.log()) - log
            assert within or "no more connections can be taken: Too many open files" in daemon.log()
        print(f"{busy / 4:.1%} of a core, {log} bytes of log")
        assert busy < 0.2 * 4
        assert log < 100_000
        began = time.monotonic()
        while time.monotonic() - began < 2:
            with suppress(OSError, ValueError, AssertionError):
                served(daemon, phone, 1, 0)
                return
        raise AssertionError("the phone was not served two seconds after they went")
