"""The origin that a browser tells: which may have a secret, and how a person reads it."""

from __future__ import annotations

import pytest

from novakey.sites.origin import MAX_ORIGIN, SiteError, parse

SHOWN = {
    "https://example.org": "example.org",
    "https://EXAMPLE.org": "example.org",
    "https://example.org:443": "example.org",
    "https://example.org.": "example.org",
    "https://login.example.org": "example.org (login.example.org)",
    "https://login.example.org:8443": "example.org (login.example.org:8443)",
    "https://example.org:8443": "example.org (example.org:8443)",
    "https://a.b.example.co.uk": "example.co.uk (a.b.example.co.uk)",
    "https://someone.github.io": "someone.github.io",
    "https://xn--bcher-kva.example": "b\u00fccher.example [xn--bcher-kva.example]",
    "https://x.xn--bcher-kva.example": "b\u00fccher.example [xn--bcher-kva.example] (x.b\u00fccher.example)",
    "https://xn--80ak6aa92e.com": "\u0430\u0440\u0440\u04cf\u0435.com [xn--80ak6aa92e.com]",
    "https://xn--zzzzzz9999.example": "xn--zzzzzz9999.example",
    "https://foo_bar.example.org": "example.org (foo_bar.example.org)",
    "https://localhost": "localhost",
    "https://intranet": "intranet",
    "http://localhost:8080": "localhost (http://localhost:8080, not encrypted)",
    "http://app.localhost": "app.localhost (http://app.localhost, not encrypted)",
    "http://127.0.0.1:80": "127.0.0.1 (http://127.0.0.1, not encrypted)",
    "http://127.9.9.9": "127.9.9.9 (http://127.9.9.9, not encrypted)",
    "http://[::1]:3000": "[::1] (http://[::1]:3000, not encrypted)",
    "https://[2001:db8:0:0::1]": "[2001:db8::1]",
    "https://192.0.2.7": "192.0.2.7",
}

REFUSED = [
    "", "null", "https://", "https:///", "file://", "about:blank", "data:text/html,x", "javascript:alert(1)",
    "chrome-extension://jbplfndohnifiagikigniiokadlmhibk", "moz-extension://1", "ftp://example.org",
    "wss://example.org", "https://example.org/", "https://example.org/login", "https://example.org?x",
    "https://example.org#x", "https://user@example.org", "https://user:pw@example.org", " https://example.org",
    "https://example.org ", "https://example.org\n", "https://exa mple.org", "https://example..org",
    "https://.example.org", "https://-example.org", "https://example-.org", "https://example.org:",
    "https://example.org:0", "https://example.org:65536", "https://example.org:0443", "https://example.org:99999",
    "https://b\u00fccher.example", "https://ex\u0430mple.org", "https://example\u3002org", "https://\u2488com",
    "https://example.org:\u0664\u0664\u0663", "https://[::1", "https://[::1]x", "https://[:::1]", "https://[fe80::1%25eth0]",
    "https://1.2.3", "https://1.2.3.4.5", "https://256.1.1.1", "https://0x7f000001", "https://0x7f.1", "https://2130706433",
    "https://" + "a" * 64 + ".org", "https://" + ".".join(["abcdefg"] * 40), "https://a" * 100,
    "http://example.org", "http://10.0.0.1", "http://128.0.0.1", "http://localhost.example.org",
    "http://notlocalhost", "http://[::2]", "http://127.0.0.1.example.org",
]  # fmt: skip


@pytest.mark.parametrize(("origin", "shown"), SHOWN.items(), ids=SHOWN)
def test_a_site_is_shown_by_its_registrable_domain_first(origin: str, shown: str) -> None:
    assert str(parse(origin)) == shown


@pytest.mark.parametrize("origin", REFUSED, ids=ascii)
def test_what_is_no_encrypted_web_origin_is_refused(origin: str) -> None:
    with pytest.raises(SiteError):
        parse(origin)


def test_a_host_without_encryption_is_taken_where_the_owner_lists_exactly_it() -> None:
    listed = ("printer.example.org",)
    assert parse("http://printer.example.org", listed).domain == "example.org"
    for origin in ("http://example.org", "http://x.printer.example.org", "http://printer.example.com"):
        with pytest.raises(SiteError, match="not encrypted"):
            parse(origin, listed)


def test_an_origin_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(SiteError):
        parse("https://" + "a." * MAX_ORIGIN + "org")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a.example.org", "https://b.example.org", True),
        ("https://a.example.org:1", "https://example.org", True),
        ("https://one.github.io", "https://two.github.io", False),
        ("https://example.org", "https://example.com", False),
        ("http://127.0.0.1:1", "http://127.0.0.1:2", False),
        ("https://10.0.0.1", "https://10.0.0.2", False),
        ("https://localhost", "http://localhost", False),
        ("https://intranet", "https://internet", False),
    ],
)
def test_hosts_of_one_registrable_domain_are_one_site(one: str, other: str, same: bool) -> None:
    assert (parse(one).key == parse(other).key) is same
