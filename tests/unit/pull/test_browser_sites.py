"""What the owner is told of a page that asks: its site, whether it is new, and what it looks like."""

from __future__ import annotations

import json
from collections.abc import Iterator

import gevent
import pytest
from support.browser import Host
from support.dbus import message_bus
from support.dunst import Dunst
from support.pull import Scene, random_secret
from support.x11 import XServer, wait_until

from novakey.control import client
from novakey.system.paths import Paths
from novakey.wire.reply import Outcome


def host(scene: Scene) -> Host:
    return Host(scene.folder / "bin" / "novakey-browser", scene.env)


@pytest.fixture(scope="module")
def with_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scene, Dunst]]:
    with XServer() as screen, message_bus() as bus:
        bus.env["DISPLAY"] = screen.display
        dunst = Dunst(bus, tmp_path_factory.mktemp("dunst"))
        with Scene(env={"DBUS_SESSION_BUS_ADDRESS": bus.address}, ask_confirm=True) as scene:
            yield scene, dunst


def fill(scene: Scene, dunst: Dunst, origin: str) -> dict[str, str]:
    """Fill a field of a page, allowed by the owner; summary and body of the question."""
    secret = random_secret()
    with host(scene) as browser:
        browser.ask(origin)
        dunst.press("Allow")
        dunst.wait_until_shown(0)
        sending = gevent.spawn(scene.tap, secret)
        assert browser.next()["secret"] == secret
        browser.say("outcome", outcome="filled")
        assert sending.get(timeout=20).outcome is Outcome.OK
        assert browser.next()["reason"] == "done"
    shown = dunst.history()[0]
    return {name: shown[name]["data"] for name in ("summary", "body")}


def test_the_question_names_the_site_and_says_what_is_new_or_false_about_it(
    with_service: tuple[Scene, Dunst],
) -> None:
    scene, dunst = with_service
    asked = fill(scene, dunst, "https://login.example.org")
    assert asked["summary"] == "example.org (login.example.org) asks for a secret"
    assert asked["body"].startswith("First time on this site. ")
    assert "a field of example.org (login.example.org)" in asked["body"]

    scene.restart()  # it is remembered over one
    asked = fill(scene, dunst, "https://www.example.org")
    assert "First time" not in asked["body"] and "CAREFUL" not in asked["body"]

    asked = fill(scene, dunst, "https://exarnple.org")
    assert asked["body"].startswith("CAREFUL: it looks like example.org, which had a secret before")

    asked = fill(scene, dunst, "https://xn--bcher-kva.test")
    assert asked["summary"].startswith("b\u00fccher.test [xn--bcher-kva.test] asks")
    folder = scene.daemon.folder
    record = [json.loads(line) for line in (folder / "logs" / "audit.jsonl").open()]
    assert {row["site"] for row in record if row.get("event") == "ask"} >= {"exarnple.org"}
    assert b"exarnple" not in (folder / "sites.json").read_bytes()


def test_an_owner_who_denies_or_does_not_answer_is_told_to_the_page(
    with_service: tuple[Scene, Dunst],
) -> None:
    scene, dunst = with_service
    with host(scene) as browser:
        browser.ask("https://denied.test")
        row = client.ask(Paths.under(scene.daemon.folder), "status")["asks"][0]
        assert (row["site"], row["caution"]) == ("denied.test", "First time on this site.")
        dunst.press("Deny")
        said = browser.next()
        assert (said["reason"], said["message"]) == ("denied", "refused on the screen")


def test_new_sites_may_be_refused_and_hosts_without_encryption_listed() -> None:
    settings = {"browser_new_sites": "refuse", "browser_allow_http": ["printer.test"]}
    with Scene() as scene, host(scene) as browser:
        browser.ask("https://known.test")
        sending = gevent.spawn(scene.tap, random_secret())
        assert browser.next()["type"] == "fill"
        browser.say("outcome", outcome="filled")
        assert sending.get(timeout=20).outcome is Outcome.OK and browser.next()["reason"] == "done"
        scene.daemon.stop()
        configuration = scene.daemon.folder / "novakey.json"
        configuration.write_text(json.dumps({**json.loads(configuration.read_text()), **settings}))
        scene.restart()
        for origin in ("https://new.test", "http://printer.test"):
            browser.say("request", origin=origin)
            said = browser.next()
            assert said["reason"] == "refused_site" and "browser_new_sites is refuse" in said["message"]
        browser.ask("https://login.known.test")
        browser.say("cancel")
        assert browser.next()["reason"] == "cancelled"


def test_where_no_person_is_asked_a_false_name_is_refused() -> None:
    with Scene() as scene, host(scene) as browser:
        secret = random_secret()
        browser.ask("https://example.org")
        sending = gevent.spawn(scene.tap, secret)
        assert browser.next()["type"] == "fill"
        browser.say("outcome", outcome="filled")
        assert sending.get(timeout=20).outcome is Outcome.OK and browser.next()["reason"] == "done"
        browser.say("request", origin="https://exarnple.org")
        said = browser.next()
        assert said["reason"] == "refused_site" and "looks like example.org" in said["message"]
        wait_until(lambda: not scene.asks(), "nothing that waits")
