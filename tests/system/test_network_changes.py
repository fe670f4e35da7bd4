"""A daemon that starts before the network, and one whose address changes: the QR follows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import needs
from support.daemon import Daemon, clean_environment, command
from support.x11 import end, wait_until

from novakey import phone
from novakey.pairing import display
from novakey.pairing.display import Lack
from novakey.wire import uri


@contextmanager
def network() -> Iterator[list[str]]:
    """Make a network namespace without any address; yield the words before a command in it."""
    needs.programs("unshare", "nsenter", "ip")
    root = needs.as_root("makes a network of its own")
    holder = subprocess.Popen(
        [*root, "unshare", "--net", "sh", "-c", "echo ready; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        if holder.stdout.readline() != b"ready\n":
            pytest.skip("needs the right to make a network namespace")
        yield [*root, "nsenter", "--target", str(holder.pid), "--net", "--"]
    finally:
        end(holder)
        for pipe in (holder.stdin, holder.stdout):
            if pipe is not None:
                pipe.close()


def test_the_qr_follows_the_address_while_it_is_shown(tmp_path: Path) -> None:
    with network() as inside:

        def ip(*words: str) -> None:
            subprocess.run([*inside, "ip", *words], check=True, capture_output=True)

        with Daemon(tmp_path / "d", listen_addr="0.0.0.0:0", launch=[*inside, *command()]) as daemon:
            daemon.wait_for_log("no phone can reach: connect this computer to a network")
            with pairing(daemon) as shown:
                assert next(shown) == "127.0.0.1"
                ip("link", "add", "one", "type", "veth", "peer", "name", "other")
                ip("link", "set", "other", "up")
                ip("link", "set", "one", "up")
                ip("address", "add", "192.0.2.7/24", "dev", "one")
                ip("route", "add", "default", "via", "192.0.2.1")
                assert next(shown) == "192.0.2.7"
                ip("address", "add", "198.51.100.8/24", "dev", "one")
                ip("route", "replace", "default", "via", "198.51.100.1")
                ip("address", "del", "192.0.2.7/24", "dev", "one")
                assert next(shown) == "198.51.100.8"
            picture = daemon.folder / "novakey-pair.png"
            wait_until(lambda: uri.decode(phone.read_picture(picture)).host == "198.51.100.8", "the new QR")
            daemon.wait_for_log("the address of this computer is 198.51.100.8 now")


@contextmanager
def pairing(daemon: Daemon) -> Iterator[Iterator[str]]:
    """Return the hosts that `pair` shows, one after the other."""
    showing = subprocess.Popen(
        [*command("--data-dir", daemon.folder), "pair", "--json"],
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert showing.stdout is not None
    try:
        yield (uri.decode(json.loads(line)["uri"]).host for line in showing.stdout)
    finally:
        end(showing)
        showing.stdout.close()


@pytest.mark.parametrize(
    ("bound", "routes", "host", "lack"),
    [
        ("0.0.0.0", {}, "127.0.0.1", Lack.NETWORK),
        ("0.0.0.0", {6: "2001:db8::7"}, "127.0.0.1", Lack.IPV4),
        ("0.0.0.0", {4: "192.0.2.7", 6: "2001:db8::7"}, "192.0.2.7", Lack.NETWORK),
        ("::", {6: "2001:db8::7"}, "2001:db8::7", Lack.NETWORK),
        ("::", {4: "192.0.2.7", 6: "2001:db8::7"}, "192.0.2.7", Lack.NETWORK),
        ("127.0.0.1", {4: "192.0.2.7"}, "127.0.0.1", Lack.LISTENER),
    ],
)
def test_the_qr_names_only_what_is_listened_on(
    monkeypatch: pytest.MonkeyPatch, bound: str, routes: dict[int, str], host: str, lack: Lack
) -> None:
    monkeypatch.setattr(display, "_of_route", routes.get)
    assert display.advertised(bound) == host
    if host == "127.0.0.1":
        assert display.lack(bound) is lack
