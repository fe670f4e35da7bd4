"""The small deciders: rate, replay and text, with the clock passed in."""

from __future__ import annotations

import pytest

from novakey.messages.policy import text
from novakey.messages.replay import ReplayGuard, Verdict, clock_difference, fresh, key_of
from novakey.net.rate_limit import RateLimiter, address_key
from novakey.secret import Secret

NOW = 1_800_000_000


def test_the_event_over_the_limit_is_refused_until_the_window_slides() -> None:
    limiter = RateLimiter(3)
    assert [limiter.allow("a", t) for t in (0.0, 1.0, 2.0, 3.0)] == [True, True, True, False]
    assert limiter.allow("b", 3.0)
    assert not limiter.allow("a", 59.9)
    assert limiter.allow("a", 60.0)


def test_refused_events_do_not_prolong_the_refusal() -> None:
    limiter = RateLimiter(1)
    assert limiter.allow("a", 0)
    assert not any(limiter.allow("a", t) for t in range(1, 60))
    assert limiter.allow("a", 60)


def test_the_table_of_keys_is_bounded_and_forgets_the_least_recently_used() -> None:
    limiter = RateLimiter(1, max_keys=2)
    assert all(limiter.allow(key, 0) for key in "abc")
    assert len(limiter._events) == 2
    assert limiter.allow("a", 1), "forgotten"
    assert not limiter.allow("c", 1), "kept"


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_addresses_of_one_host_count_as_one(host: str, key: str) -> None:
    assert address_key(host) == key


@pytest.mark.parametrize(
    ("timestamp", "taken"),
    [
        (NOW - 301, False),
        (NOW - 300, True),
        (NOW - 299, True),
        (NOW + 119, True),
        (NOW + 120, True),
        (NOW + 121, False),
        (0, False),
        (2**63, False),
        (2**63 + 10**6, False),
        (2**64 - 1, False),
    ],
)
def test_freshness_is_300_seconds_back_and_120_ahead(timestamp: int, taken: bool) -> None:
    assert fresh(timestamp, NOW) is taken


def test_a_nonce_counts_once_for_each_device() -> None:
    guard = ReplayGuard()
    guard.accept(key_of("a", b"n"), NOW, NOW)
    assert guard.verdict(key_of("a", b"n"), NOW, NOW) is Verdict.SEEN
    assert guard.verdict(key_of("b", b"n"), NOW, NOW) is Verdict.NEW
    assert guard.verdict(key_of("a", b"m"), NOW, NOW) is Verdict.NEW


def test_stale_nonces_are_forgotten_and_a_clock_set_back_reopens_nothing() -> None:
    guard = ReplayGuard()
    guard.accept(b"old", NOW, NOW)
    guard.accept(b"new", NOW + 301, NOW + 301)
    assert len(guard) == 1
    assert guard.verdict(b"old", NOW, NOW) is Verdict.FORGOTTEN, "at or below the newest forgotten one"
    assert guard.verdict(b"other", NOW - 5, NOW) is Verdict.FORGOTTEN


@pytest.mark.parametrize(
    ("data", "newlines", "tabs"),
    [
        ("plain", False, False),
        ("ünï €uro 密码 😀 e\u0301", False, False),
        ("a" * 256, False, False),
        ("a\nb\r\n", True, False),
        ("a\tb", False, True),
        ("\u00a0\u2003\u200d", False, False),
    ],
)
def test_safe_text_passes(data: str, newlines: bool, tabs: bool) -> None:
    text.check(Secret(data.encode()), 256, newlines, tabs)


@pytest.mark.parametrize(
    ("data", "newlines", "tabs"),
    [
        (b"", True, True),
        (b"\xff\xfe", True, True),
        (b"\xed\xa0\x80", True, True),
        (b"a" * 257, True, True),
        ("ü".encode() * 257, True, True),
        (b"a\nb", False, True),
        (b"a\r", False, True),
        (b"a\tb", True, False),
        *[(bytes([c]), True, True) for c in range(32) if c not in b"\t\r\n"],
        (b"\x7f", True, True),
        *[(chr(c).encode(), True, True) for c in range(0x80, 0xA0)],
        ("\u2028".encode(), True, True),
        ("\u2029".encode(), True, True),
    ],
)
def test_unsafe_text_is_refused_without_being_quoted(data: bytes, newlines: bool, tabs: bool) -> None:
    with pytest.raises(text.UnsafeTextError) as caught:
        text.check(Secret(data), 256, newlines, tabs)
    assert caught.value.__cause__ is None
    if len(data) > 3:
        assert data.decode() not in str(caught.value)


@pytest.mark.parametrize(
    ("offset", "ahead", "amount"),
    [
        (121, "the phone's", "2 min"),
        (600, "the phone's", "10 min"),
        (7200, "the phone's", "2 h"),
        (2 * 86400, "the phone's", "2 days"),
        (2**63, "the phone's", "years"),
        (-301, "this computer's", "5 min"),
        (-NOW, "this computer's", "years"),
    ],
)
def test_a_person_reads_whose_clock_is_ahead_and_by_how_much(offset: int, ahead: str, amount: str) -> None:
    assert clock_difference(NOW + offset, NOW).startswith(f"{ahead} clock is {amount} ahead of ")
