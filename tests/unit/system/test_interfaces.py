"""The networks of this computer are those that the system's own tool lists."""

from __future__ import annotations

import ipaddress
import json
import shutil
import subprocess

import pytest

from novakey.system.interfaces import interfaces, is_attached, is_own

KNOWN = [ipaddress.ip_interface(text) for text in ("192.168.1.10/24", "fd00::2/64", "10.0.0.1/32")]


@pytest.mark.skipif(shutil.which("ip") is None, reason="needs ip (iproute2)")
def test_they_are_what_ip_address_lists() -> None:
    done = subprocess.run(["ip", "-json", "address"], capture_output=True, check=True, timeout=10)
    listed = {
        ipaddress.ip_interface(f"{each['local']}/{each['prefixlen']}")
        for link in json.loads(done.stdout)
        for each in link.get("addr_info", [])
        if "local" in each
    }
    assert set(interfaces() or []) == listed


@pytest.mark.parametrize(
    ("host", "attached"),
    [
        ("192.168.1.77", True),
        ("::ffff:192.168.1.77", True),
        ("192.168.2.77", False),
        ("10.0.0.1", True),
        ("10.0.0.2", False),
        ("203.0.113.9", False),
        ("fd00::1234", True),
        ("fd00::/64", True),
        ("fd00:0:0:1::/64", False),
        ("2001:db8::1", False),
        ("127.0.0.66", True),
        ("::1", True),
        ("somewhere.example", False),
    ],
)
def test_only_an_address_of_a_network_of_ours_is_attached(host: str, attached: bool) -> None:
    assert is_attached(host, KNOWN) is attached


def test_where_the_system_does_not_tell_a_private_address_counts_as_attached() -> None:
    assert is_attached("192.168.9.9", None) and is_attached("fe80::1", None)
    assert not is_attached("203.0.114.9", None) and not is_attached("2606:4700::1", None)


def test_a_name_is_not_known_to_be_foreign() -> None:
    assert is_own("192.168.1.10", KNOWN) and is_own("desk.local", KNOWN) and is_own("1.2.3.4", None)
    assert not is_own("192.168.1.11", KNOWN)
