"""The host of a QR has one spelling, which is the one that a person types into the app."""

from __future__ import annotations

import pytest

from novakey.secret import Secret
from novakey.wire import uri


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("Localhost", "localhost"),
        ("Desk.LOCAL.", "desk.local"),
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("FD00::00AB:1", "fd00::ab:1"),
        ("[FE80::1%eth0]", "fe80::1%eth0"),
        ("192.168.1.10", "192.168.1.10"),
        (" my-Host.example ", "my-host.example"),
    ],
)
def test_a_host_is_lower_case_shortest_and_without_brackets(given: str, plain: str) -> None:
    assert uri.plain_host(given) == plain
    assert uri.plain_host(plain) == plain
    shown = uri.PairingUri(plain, 60768, Secret(bytes(16)), "0" * 32, 1).encode()
    assert uri.decode(shown).host == plain


def test_the_sentence_beside_the_qr_names_what_to_type() -> None:
    assert uri.listener("192.168.1.10", 60768) == (
        "In the app add a listener first: Host 192.168.1.10, Port 60768, exactly so."
    )
