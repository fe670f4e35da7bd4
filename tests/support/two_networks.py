"""A daemon in a network namespace, and a phone in another one behind a router. Run by `unshare --net`.

Prints one line of JSON: what a phone's hello gets from each source address.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from support.daemon import Daemon
from support.pairing import PAIR

from novakey.wire import pair, uri

HERE, NEXT_DOOR, BEYOND = "10.77.0.1", "10.77.0.2", "198.51.100.7"

# The phone's side, in the other namespace: one hello from a source address, and the first line of the answer.
PHONE = """
import socket, sys
source, host, port, data = sys.argv[1], sys.argv[2], int(sys.argv[3]), bytes.fromhex(sys.stdin.read())
with socket.create_connection((host, port), timeout=20, source_address=(source, 0)) as sock:
    sock.sendall(data)
    print(sock.makefile().readline(), end="")
"""


def ip(*words: str, inside: str = "") -> None:
    """Run `ip`, in the namespace of the process `inside` where that is given."""
    entering = ["nsenter", "-t", inside, "-n"] if inside else []
    subprocess.run([*entering, "ip", *words], check=True, timeout=20)


def main(folder: Path, pair_from: str) -> None:
    """Set the two networks up, and let the phone try."""
    beyond = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo ready; exec sleep 120"], stdout=subprocess.PIPE
    )
    try:
        assert beyond.stdout is not None and beyond.stdout.readline() == b"ready\n"
        other = str(beyond.pid)
        ip("link", "set", "lo", "up")
        ip("link", "add", "near", "type", "veth", "peer", "name", "far", "netns", other)
        ip("address", "add", f"{HERE}/24", "dev", "near")
        ip("link", "set", "near", "up")
        ip("route", "add", f"{BEYOND}/32", "via", NEXT_DOOR)
        ip("link", "set", "lo", "up", inside=other)
        ip("address", "add", f"{NEXT_DOOR}/24", "dev", "far", inside=other)
        ip("address", "add", f"{BEYOND}/32", "dev", "lo", inside=other)
        ip("link", "set", "far", "up", inside=other)
        settings = {"listen_addr": f"{HERE}:0", "pair_from": pair_from}
        with Daemon(folder / "d", **settings) as daemon:
            hello = PAIR + pair.encode_hello(uri.decode(daemon.uri()).token)
            told = {}
            for source in (BEYOND, NEXT_DOOR):
                argv = [
                    "nsenter",
                    "-t",
                    other,
                    "-n",
                    sys.executable,
                    "-c",
                    PHONE,
                    source,
                    HERE,
                    str(daemon.port),
                ]
                done = subprocess.run(
                    argv, input=hello.hex(), capture_output=True, text=True, check=True, timeout=60
                )
                answer = json.loads(done.stdout)
                told[source] = answer.get("reason", answer["op"])
            print(json.dumps({"told": told, "log": daemon.log()}))
    finally:
        beyond.kill()
        beyond.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
