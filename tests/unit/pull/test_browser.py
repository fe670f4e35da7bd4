"""A browser asks for a secret: the real daemon, the real host, and a phone that is told what became of it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator

import pytest
from support.browser import CHROMIUM, FIREFOX, Host, framed
from support.daemon import run
from support.pull import Scene, random_secret
from support.x11 import wait_until

from novakey.control import client
from novakey.messages import pages
from novakey.system.paths import Paths
from novakey.wire.reply import Outcome, Reply

SITE = "example.org (login.example.org)"


@pytest.fixture
def scene(one: Scene) -> Iterator[Scene]:
    """For the tests that share a daemon. One that is late for a request is restarted, for that takes less."""
    yield one
    wait_until(lambda: not one.asks(), "the end of the request")
    if Paths.under(one.daemon.folder).request_marker.exists():
        one.restart()


def host(scene: Scene, arguments: tuple[str, ...] = CHROMIUM) -> Host:
    return Host(scene.folder / "bin" / "novakey-browser", scene.env, arguments)


class Tap:
    """A phone's arm, approve and send in a thread of its own: the reply comes only after the page's word."""

    def __init__(self, scene: Scene, secret: str) -> None:
        self._reply: list[Reply] = []
        self._thread = threading.Thread(target=lambda: self._reply.append(scene.tap(secret)))
        self._thread.start()

    def reply(self) -> Reply:
        self._thread.join(30)
        return self._reply[0]

    @property
    def is_waiting(self) -> bool:
        return self._thread.is_alive()


@pytest.mark.parametrize("arguments", [CHROMIUM, FIREFOX], ids=["chromium", "firefox"])
def test_the_phone_is_told_filled_only_after_the_page_has_said_so(
    scene: Scene, arguments: tuple[str, ...]
) -> None:
    secret = 'p\u00e4ss "w\\rd" \U0001f511 \\u0041' + random_secret()
    with host(scene, arguments) as browser:
        browser.ask()
        (row,) = scene.asks()
        assert (row["site"], row["prompt"]) == (SITE, f"a field of {SITE}")
        tap = Tap(scene, secret)
        assert browser.next() == {"type": "fill", "id": "1", "secret": secret}
        tap._thread.join(0.5)
        assert tap.is_waiting
        browser.say("outcome", outcome="filled")
        reply = tap.reply()
        assert (reply.outcome, reply.msg) == (Outcome.OK, f"filled on {SITE}")
        said = browser.next()
        assert (said["type"], said["reason"], said["message"]) == ("ended", "done", f"filled on {SITE}")
        assert browser.hang_up() == 0 and browser.rest() == b""
    assert secret not in scene.daemon.log()
    record = [json.loads(line) for line in (scene.daemon.folder / "logs" / "audit.jsonl").open()]
    assert [row["outcome"] for row in record if row.get("site") == SITE][-2:] == ["waiting", "filled"]
    table = run("--data-dir", scene.daemon.folder, "audit").stdout
    assert any("filled" in line and line.endswith(f"for {SITE}") for line in table.splitlines()), table


@pytest.mark.parametrize("outcome", sorted(pages.OUTCOMES - {pages.FILLED}))
def test_the_phone_is_told_what_became_of_a_field_that_was_not_filled(scene: Scene, outcome: str) -> None:
    with host(scene) as browser:
        browser.ask()
        tap = Tap(scene, random_secret())
        assert browser.next()["type"] == "fill"
        browser.say("outcome", outcome=outcome)
        reply = tap.reply()
        assert reply.outcome is Outcome.BAD_REQUEST
        assert reply.msg == f"target refused: {SITE}: {pages.sentence(outcome)}"
        said = browser.next()
        assert (said["reason"], said["message"]) == ("done", reply.msg)
    assert scene.tap(random_secret()).outcome is Outcome.RATE_LIMIT  # nothing is typed just after


@pytest.mark.parametrize("outcome", sorted(pages.OUTCOMES - pages.AFTER_SECRET))
def test_a_field_that_is_gone_before_the_secret_comes_takes_the_request_back(
    scene: Scene, outcome: str
) -> None:
    with host(scene) as browser:
        browser.ask()
        browser.say("outcome", outcome=outcome)
        said = browser.next()
        assert (said["type"], said["reason"]) == ("ended", "cancelled")
        assert said["message"] == pages.sentence(outcome)
        assert scene.asks() == []
        assert scene.tap(random_secret()).outcome is Outcome.RATE_LIMIT


@pytest.mark.parametrize("outcome", [*sorted(pages.AFTER_SECRET), "nonsense"])
def test_an_outcome_of_a_secret_that_was_not_given_ends_the_request(scene: Scene, outcome: str) -> None:
    with host(scene) as browser:
        browser.ask()
        browser.say("outcome", outcome=outcome)
        assert browser.next()["reason"] == "bad_request"


def test_escape_takes_the_request_back(scene: Scene) -> None:
    with host(scene) as browser:
        browser.ask()
        browser.say("cancel")
        assert browser.next()["reason"] == "cancelled"
        wait_until(lambda: not scene.asks(), "the end of the request")
        assert scene.tap(random_secret()).outcome is Outcome.RATE_LIMIT


def test_a_browser_that_dies_with_the_secret_is_told_as_not_known(scene: Scene) -> None:
    with host(scene) as browser:
        browser.ask()
        tap = Tap(scene, random_secret())
        assert browser.next()["type"] == "fill"
        browser.process.kill()
        reply = tap.reply()
        assert reply.outcome is Outcome.INTERNAL_ERROR
        assert reply.msg == f"the browser did not say whether it filled {SITE}: look at the page"
    assert scene.asks() == []


def test_a_page_that_never_answers_is_told_as_not_known_and_the_arming_is_used_up(scene: Scene) -> None:
    with host(scene) as browser:
        browser.ask()
        tap = Tap(scene, random_secret())
        assert browser.next()["type"] == "fill"
        assert tap.reply().outcome is Outcome.INTERNAL_ERROR
        assert "did not say" in browser.next()["message"]
        browser.say("outcome", outcome="filled")  # too late: the phone has its answer
    status = client.ask(Paths.under(scene.daemon.folder), "status")
    assert status["armed"] == status["approved"] == []


def test_a_closed_pipe_ends_the_host_and_the_request(scene: Scene) -> None:
    with host(scene) as browser:
        browser.ask()
        assert browser.hang_up() == 0
        wait_until(lambda: not scene.asks(), "the end of the request")


def test_a_restart_of_the_daemon_is_told_and_the_next_request_finds_the_new_one(scene: Scene) -> None:
    with host(scene) as browser:
        browser.ask()
        scene.daemon.kill()
        assert browser.next()["reason"] == "daemon_gone"
        browser.say("request", "2", origin="https://example.org")
        said = browser.next()
        assert (said["id"], said["reason"]) == ("2", "daemon_gone")
        scene.daemon.__enter__()
        browser.ask(message_id="3")
        assert [row["site"] for row in scene.asks()] == [SITE]


def test_two_pages_and_an_askpass_at_once_each_get_their_own_secret(scene: Scene) -> None:
    secrets = [random_secret() for _ in range(3)]
    with host(scene) as browser, host(scene, FIREFOX) as other:
        browser.ask("https://one.example.org")
        askpass = scene.novakey("askpass", "Passphrase:")
        wait_until(lambda: len(scene.asks()) == 2, "the askpass")
        other.ask("https://two.different.test")
        tap = Tap(scene, secrets[0])
        assert browser.next()["secret"] == secrets[0]
        browser.say("outcome", outcome="filled")
        assert tap.reply().msg == "filled on example.org (one.example.org)"
        number = scene.asks()[0]["number"]
        assert scene.tap(secrets[1]).msg == f"given to request {number}"
        assert askpass.wait() == 0 and askpass.output().decode() == secrets[1] + "\n"
        tap = Tap(scene, secrets[2])
        assert other.next()["secret"] == secrets[2]
        other.say("outcome", outcome="filled")
        assert tap.reply().msg == "filled on different.test (two.different.test)"


def test_two_requests_of_one_connection_are_told_apart(scene: Scene) -> None:
    with host(scene) as browser:
        browser.ask("https://one.example.org", "a")
        browser.ask("https://two.example.org", "b")
        for name, place in (("a", "one"), ("b", "two")):
            secret = random_secret()
            tap = Tap(scene, secret)
            assert browser.next() == {"type": "fill", "id": name, "secret": secret}
            browser.say("outcome", name, outcome="filled")
            assert tap.reply().msg == f"filled on example.org ({place}.example.org)"
            assert browser.next()["id"] == name


@pytest.mark.parametrize(
    "origin", ["http://example.org", "null", "https://example.org/path", "https://b\u00fccher.example", ""]
)
def test_a_page_that_may_have_no_secret_is_refused_before_the_phone_hears_of_it(
    scene: Scene, origin: str
) -> None:
    with host(scene) as browser:
        browser.say("request", origin=origin)
        said = browser.next()
        assert (said["type"], said["reason"]) == ("ended", "refused_site") and said["message"]
        assert scene.asks() == []


def test_a_message_that_is_wrong_is_answered_and_the_next_one_is_served(scene: Scene) -> None:
    with host(scene) as browser:
        for data in (
            b'{"type":"ask","id":"1"}',
            b'{"type":"request","id":"1","origin":["https://example.org"]}',
        ):
            browser.write(framed(data))
            said = browser.next()
            assert (said["type"], said["id"], said["reason"]) == ("ended", "1", "bad_request")
        browser.ask()


@pytest.mark.parametrize("data", [framed(b"hello"), framed(b'{"type":"cancel"}'), b"\x01\0\x10\0", b"\x05\0"])
def test_a_frame_that_cannot_be_read_ends_the_host_with_an_open_request(scene: Scene, data: bytes) -> None:
    with host(scene) as browser:
        browser.ask()
        browser.write(data)
        assert browser.hang_up() == 1 and browser.rest() == b""
        assert "broke the protocol" in browser.error()
        wait_until(lambda: not scene.asks(), "the end of the request")


def test_a_frame_may_come_in_any_pieces(scene: Scene) -> None:
    with host(scene) as browser:
        data = framed(b'{"type":"request","id":"1","origin":"null"}')
        for octet in data:
            browser.write(bytes((octet,)))
        assert browser.next()["reason"] == "refused_site"


def test_an_id_that_is_in_use_ends_both_requests(scene: Scene) -> None:
    with host(scene) as browser:
        browser.ask()
        browser.say("request", origin="https://example.org")
        assert {browser.next()["reason"] for _ in range(2)} == {"bad_request", "cancelled"}
        wait_until(lambda: not scene.asks(), "the end of the request")


@pytest.mark.parametrize(
    "arguments", [(), ("chrome-extension://" + "a" * 32 + "/",), ("/x.json", "other@novakey.invalid")]
)
def test_another_extension_starts_no_host(scene: Scene, arguments: tuple[str, ...]) -> None:
    with host(scene, arguments) as browser:
        with contextlib.suppress(BrokenPipeError):
            browser.say("request", origin="https://example.org")
        assert browser.process.wait(30) == 1 and browser.rest() == b""
        assert "only the NovaKey extension" in browser.error()
        assert scene.asks() == []
