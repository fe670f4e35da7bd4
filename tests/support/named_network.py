"""A daemon with a real mDNS responder, whose address changes, and a phone in another network namespace.

Run by `unshare --net --mount`. Prints one line of JSON: the host in the QR, and what each step gave.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from support.daemon import Daemon
from support.dbus import message_bus
from support.two_networks import ip

from novakey.wire import uri

FIRST, SECOND, PHONE = "10.77.0.1", "10.77.0.50", "10.77.0.2"
SOON_S = 60

AVAHI = """[server]
host-name=Novakey-Test
use-ipv6=no
[wide-area]
enable-wide-area=no
[publish]
publish-workstation=no
"""


def main(folder: Path) -> None:
    """Pair by name, change the address, and send again without pairing."""
    subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True, timeout=20)
    beyond = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo ready; exec sleep 300"], stdout=subprocess.PIPE
    )
    try:
        assert beyond.stdout is not None and beyond.stdout.readline() == b"ready\n"
        other = str(beyond.pid)
        ip("link", "set", "lo", "up")
        ip("link", "add", "near", "type", "veth", "peer", "name", "far", "netns", other)
        ip("address", "add", f"{FIRST}/24", "dev", "near")
        ip("link", "set", "near", "up")
        ip("link", "set", "lo", "up", inside=other)
        ip("address", "add", f"{PHONE}/24", "dev", "far", inside=other)
        ip("link", "set", "far", "up", inside=other)
        ip("route", "add", "224.0.0.0/4", "dev", "far", inside=other)
        with message_bus("DBUS_SYSTEM_BUS_ADDRESS") as bus:
            (folder / "avahi.conf").write_text(AVAHI)
            bus.start(
                [
                    "avahi-daemon",
                    "-f",
                    str(folder / "avahi.conf"),
                    "--no-drop-root",
                    "--no-chroot",
                    "--no-rlimits",
                ],
                env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": bus.address},
            )
            wait_for_name()
            env = {"DBUS_SYSTEM_BUS_ADDRESS": bus.address}
            with Daemon(folder / "d", env=env, listen_addr="0.0.0.0:0", advertise_host="mdns") as daemon:
                host = uri.decode(daemon.uri()).host
                paired = in_the_other(other, folder, "pair", daemon.uri())
                ip("address", "del", f"{FIRST}/24", "dev", "near")
                ip("address", "add", f"{SECOND}/24", "dev", "near")
                sent = in_the_other(other, folder, "arm", SECOND)
                print(json.dumps({"host": host, "paired": paired, "sent": sent}))
    finally:
        beyond.kill()
        beyond.wait()


def wait_for_name() -> None:
    from novakey.session import mdns

    deadline = time.monotonic() + SOON_S
    while mdns.local_name() is None:
        assert time.monotonic() < deadline, "avahi has no name"
        time.sleep(0.1)


def in_the_other(other: str, folder: Path, step: str, more: str) -> Any:
    """Run a step of the phone in the other namespace; the URI goes through a pipe."""
    argv = ["nsenter", "-t", other, "-n", sys.executable, __file__, str(folder), step]
    done = subprocess.run(argv, input=more, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def resolve(name: str) -> str:
    """Return the IPv4 address of a name, by a one-shot multicast query (RFC 6762, 5.1)."""
    import socket

    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    query = b"\0\1\0\0\0\1\0\0\0\0\0\0" + labels + b"\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((PHONE, 0))
        sock.settimeout(1)
        deadline = time.monotonic() + SOON_S
        while time.monotonic() < deadline:
            sock.sendto(query, ("224.0.0.251", 5353))
            try:
                answer = sock.recv(1500)
            except TimeoutError:
                continue
            return socket.inet_ntoa(answer[-4:])  # the one record ends with its address
    raise AssertionError(f"{name} was not resolved")


def step(folder: Path, what: str) -> None:
    """Act as the phone: resolve the name of its listener as each connection does, then pair or arm."""
    from novakey import phone
    from novakey.secret import Secret
    from novakey.wire.message import MessageType

    kept = folder / "phone.json"
    if what == "pair":
        target = uri.decode(sys.stdin.read())
        address = resolve(target.host)
        phone.pair_with(target._replace(host=address).encode(), "phone-1").save(kept)
        (folder / "name").write_text(target.host)
        print(json.dumps(address))
        return
    wanted, deadline = sys.stdin.read(), time.monotonic() + SOON_S
    while (address := resolve((folder / "name").read_text())) != wanted:
        assert time.monotonic() < deadline, f"the name still leads to {address}"
    known = phone.load_profile(kept)
    moved = phone.Profile(address, known.port, known.device_id, known.device_key, known.public)
    print(json.dumps([address, phone.send(moved, MessageType.ARM, Secret(b"")).outcome.reason]))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        step(Path(sys.argv[1]), sys.argv[2])
    else:
        main(Path(sys.argv[1]))
