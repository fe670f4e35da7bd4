"""What the owner is told on the screen, and what is recorded: a daemon, dunst, and `novakey.py audit`."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gevent
import pytest
from support.daemon import Daemon, arm_and_approve, run, say
from support.dbus import MessageBus, message_bus
from support.dunst import Dunst
from support.x11 import RecordingXterm, XServer, wait_until

from novakey.config.settings import Settings
from novakey.control import client
from novakey.daemon import audit
from novakey.daemon.notifications import (
    QUIET_S,
    REPEATED,
    RETRY_S,
    STRANGERS,
    STRANGERS_QUIET_S,
    Notifications,
)
from novakey.devices.store import Device, DeviceStore
from novakey.messages.handler import MessageResult
from novakey.pairing import refusal
from novakey.secret import Secret
from novakey.session.dbus import BusError
from novakey.system.clock import Clock
from novakey.system.paths import Paths
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

ARM, INJECT = MessageType.ARM, MessageType.INJECT
SECRETS = ("first secret 1", "second secret 2", "third secret 3")
TITLE = "a title that is not to be read"


class Titled(RecordingXterm):
    title = TITLE


def everything(folder: Path, screen: XServer, bus: MessageBus, **settings: Any) -> Path:
    """Do one of each that the owner may be told of; the daemon's folder."""
    env = {"DISPLAY": screen.display, "DBUS_SESSION_BUS_ADDRESS": bus.address}
    base = {"desktop_backend": "x11", "max_requests_per_min": 1000, **settings}
    policy = {"target_policy_enabled": True, "denied_process_names": ["xterm"]}
    with Titled(screen) as window:
        with Daemon(folder, env=env, **base) as daemon:
            phone = daemon.pair("pocket")
            for _ in range(REPEATED):
                assert say(phone, INJECT, SECRETS[0].encode()).outcome is Outcome.NOT_ARMED
            arm_and_approve(phone)
            assert say(phone, INJECT, SECRETS[0].encode()).outcome is Outcome.TYPED
            window.wait_for(SECRETS[0])
        with Daemon(folder, env=env, **base, **policy) as daemon:
            phone = daemon.at(phone)
            arm_and_approve(phone)
            assert say(phone, INJECT, SECRETS[1].encode()).outcome is Outcome.BAD_REQUEST
        with Daemon(folder, env=env, **base, allow_clipboard_when_disarmed=True) as daemon:
            phone = daemon.at(phone)
            for op in ("arm", "disarm"):
                client.ask(Paths.under(folder), op)
            assert say(phone, MessageType.APPROVE).outcome.success
            assert say(phone, INJECT, SECRETS[2].encode()).outcome is Outcome.COPIED
            client.ask(Paths.under(folder), "revoke", device="pocket")
    return folder


@pytest.fixture(scope="module")
def screen() -> Iterator[XServer]:
    with XServer() as running:
        yield running


@pytest.fixture(scope="module")
def told(
    screen: XServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[list[tuple[str, str]], Path]]:
    made = tmp_path_factory.mktemp("told")
    with message_bus() as bus, ExitStack() as stack:
        bus.env["DISPLAY"] = screen.display
        dunst = Dunst(bus, made)
        stack.callback(dunst.kill)
        folder = everything(made / "d", screen, bus)
        seen: list[tuple[str, str]] = []

        def all_there() -> bool:
            seen[:] = dunst.told()
            return any(summary.startswith("revoked") for summary, _ in seen)

        wait_until(all_there, "the last notification")
        yield seen, folder


def test_each_kind_is_told_and_never_a_secret_or_a_title(told: tuple[list[tuple[str, str]], Path]) -> None:
    seen, _ = told
    # The offer to show the QR is withdrawn when the phone pairs, which may be before it was shown.
    assert [summary for summary, _ in seen if summary != "a phone can be paired"] == [
        'paired: "pocket"',
        '"pocket" is refused again and again',
        "a secret was refused",
        "a secret went through the clipboard",
        'revoked: "pocket"',
    ]
    bodies = dict(seen)
    assert bodies['paired: "pocket"'].startswith("from 127.0.0.1. If that was not you")
    assert "not_armed" in bodies['"pocket" is refused again and again']
    refused = 'from "pocket" into xterm: target refused: "xterm" is a denied program'
    assert bodies["a secret was refused"].startswith(refused)
    all_of_it = repr(seen)
    assert not any(word in all_of_it for word in (*SECRETS, TITLE))


def test_notify_false_tells_nothing(screen: XServer, tmp_path: Path) -> None:
    with message_bus() as bus:
        bus.env["DISPLAY"] = screen.display
        dunst = Dunst(bus, tmp_path)
        env = {"DISPLAY": screen.display, "DBUS_SESSION_BUS_ADDRESS": bus.address}
        with Daemon(tmp_path / "d", env=env, notify=False) as daemon:
            phone = daemon.pair("pocket")
            for _ in range(REPEATED):
                assert say(phone, INJECT, SECRETS[0].encode()).outcome is Outcome.NOT_ARMED
            client.ask(Paths.under(daemon.folder), "revoke", device="pocket")
        assert dunst.told() == []


def test_a_service_offers_the_qr_of_its_window_and_shows_it_in_the_persons_viewer(
    screen: XServer, tmp_path: Path
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    opener = tools / "xdg-open"
    opener.write_text(
        f'#!/bin/sh\nprintf "%s|%s" "$1" "$DISPLAY" >{tmp_path}/opened.part\n'
        f"mv {tmp_path}/opened.part {tmp_path}/opened\n"
    )
    opener.chmod(0o755)
    with message_bus() as bus:
        bus.env["DISPLAY"] = screen.display
        dunst = Dunst(bus, tmp_path)
        env = {
            "DISPLAY": screen.display,
            "DBUS_SESSION_BUS_ADDRESS": bus.address,
            "PATH": f"{tools}:{os.environ['PATH']}",
        }
        with Daemon(tmp_path / "d", env=env) as daemon:
            dunst.press("Show QR")
            wait_until((tmp_path / "opened").exists, "the viewer")
            shown = (tmp_path / "opened").read_text()
            assert shown == f"{daemon.folder}/novakey-pair.png|{screen.display}"
            daemon.pair("pocket")
            client.ask(Paths.under(daemon.folder), "revoke", device="pocket")
            with client.request(Paths.under(daemon.folder), "pair") as asked:
                asked.next(20)
                wait_until(lambda: "can be paired" in dunst.ctl("count") or dunst.shown() >= 1, "the offer")
                port = daemon.port
                daemon.pair("pocket")
        found = [body for summary, body in dunst.told() if summary == "a phone can be paired"]
        assert found == [f"In the app add a listener first: Host 127.0.0.1, Port {port}, exactly so."] * 2


def test_the_button_of_a_pairing_revokes_that_phone(screen: XServer, tmp_path: Path) -> None:
    with message_bus() as bus:
        bus.env["DISPLAY"] = screen.display
        dunst = Dunst(bus, tmp_path)
        env = {"DISPLAY": screen.display, "DBUS_SESSION_BUS_ADDRESS": bus.address}
        with Daemon(tmp_path / "d", env=env) as daemon:
            phone = daemon.pair("pocket")
            dunst.press("Revoke")
            paths = Paths.under(daemon.folder)
            wait_until(lambda: not client.ask(paths, "devices")["devices"], "the revocation")
            assert say(phone, ARM).outcome is Outcome.NOT_PAIRED
            # The store is without it a moment before the record has it.
            wait_until(lambda: rows(daemon.folder)[-1]["event"] == "revoked", "the row of the record")


@pytest.mark.parametrize("since", ["nothing", "renamed", "paired again"])
def test_the_button_revokes_only_the_registration_it_stands_for(tmp_path: Path, since: str) -> None:
    shown = Device("a", Secret(bytes(32)))
    now = {
        "nothing": shown,
        "renamed": shown._replace(name="pocket"),
        "paired again": Device("a", Secret(bytes(31) + b"1")),
    }[since]
    store = DeviceStore(tmp_path / "devices.json", Secret(bytes(32)), {"a": now}, None)
    revoked: list[Device] = []

    class Pressed:
        def ask(self, *shown: Any) -> str:
            return "revoke"

    notices = Notifications(Settings(), store, Pressed(), revoke=revoked.append)  # type: ignore[arg-type]
    notices.paired(shown)
    gevent.sleep(0.05)
    assert revoked == ([] if since == "paired again" else [shown])


def test_a_pairing_is_told_where_the_service_has_no_buttons(tmp_path: Path) -> None:
    told: list[str] = []

    class WithoutButtons:
        def ask(self, *shown: Any) -> str:
            raise BusError("it shows no buttons")

        def tell(self, summary: str, body: str) -> None:
            told.append(f"{summary}: {body}")

    store = DeviceStore(tmp_path / "devices.json", Secret(bytes(32)), {}, None)
    notices = Notifications(Settings(), store, WithoutButtons(), revoke=lambda device: None)  # type: ignore[arg-type]
    notices.paired(Device("a", Secret(bytes(32)), paired_from="192.0.2.1"))
    gevent.sleep(0.05)
    assert told == ['paired: "a": from 192.0.2.1. If that was not you: novakey.py devices revoke -- a']


# ---- the record ----


def rows(folder: Path, *words: str) -> list[dict[str, Any]]:
    done = run("--data-dir", folder, "audit", "--json", *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_record_has_every_decision_without_content_or_title(
    told: tuple[list[tuple[str, str]], Path],
) -> None:
    _, folder = told
    found = rows(folder)
    short = [
        (row.get("event") or row["stage"], row.get("outcome", ""), row.get("program", "")) for row in found
    ]
    assert short == [
        ("paired", "", ""),
        *[("inject", "not_armed", "")] * REPEATED,
        ("arm", "ok", ""),
        ("approve", "ok", ""),
        ("inject", "typing_fallback", "xterm"),
        ("arm", "ok", ""),
        ("approve", "ok", ""),
        ("inject", "bad_request", "xterm"),
        ("armed", "", ""),
        ("disarmed", "", ""),
        ("approve", "ok", ""),
        ("inject", "clipboard_fallback", "xterm"),
        ("revoked", "", ""),
    ]
    assert {row["device"] for row in found} == {"pocket"}
    assert all(row["at"] > 1_600_000_000 for row in found)
    path = folder / "logs" / audit.FILE
    text = path.read_text()
    assert not any(word in text for word in (*SECRETS, TITLE))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_is_a_table_and_takes_lines_where_a_terminal_is_narrow(
    told: tuple[list[tuple[str, str]], Path],
) -> None:
    _, folder = told
    wide = run("--data-dir", folder, "audit", "--lines", "2").stdout.splitlines()
    assert wide[0].split() == ["time", "device", "what", "outcome", "program"]
    assert wide[1].split()[2:] == ["pocket", "inject", "clipboard_fallback", "xterm"]
    assert wide[2].split()[2:] == ["pocket", "revoked"]
    assert len(wide) == 3
    narrow = on_terminal("--data-dir", str(folder), "audit", "--lines", "9", columns=30)
    assert narrow[1:4] == ["  pocket", "  inject typing_fallback", "  into xterm"]
    assert max(map(len, narrow)) <= 30


def on_terminal(*words: str, columns: int) -> list[str]:
    """Return what a command shows on a terminal of this width."""
    ours, theirs = os.openpty()
    try:
        env = {"TERM": "xterm", "COLUMNS": str(columns), "LINES": "20"}
        assert run(*words, env=env, capture_output=False, stdout=theirs).returncode == 0
        return os.read(ours, 1 << 16).decode().splitlines()
    finally:
        os.close(ours)
        os.close(theirs)


def entry(at: int) -> str:
    return json.dumps({"at": at, "device": "d", "stage": "arm", "outcome": "ok", "req": at, "program": ""})


def test_what_was_put_aside_is_read_in_order_and_foreign_lines_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / audit.FILE
    for name, numbers in (("", (6, 7)), (".1", (4, 5)), (".2", (2, 3)), (".10", (0, 1))):
        file = path.with_name(path.name + name)
        lines = [entry(number) for number in numbers]
        file.write_text("\n".join([*lines, "{", '{"at": 1}', '{"at": -1, "device": ""}', "x" * 20_000]))
        file.chmod(0o600)
    path.with_name(path.name + ".old").write_text(entry(9))
    assert [row["at"] for row in audit.read(tmp_path, 100)] == list(range(8))
    for count in (1, 2, 3, 8):
        assert [row["at"] for row in audit.read(tmp_path, count)] == list(range(8))[-count:]
    assert audit.read(tmp_path / "nothing", 5) == []


@pytest.mark.parametrize("spoil", ["wider rights", "link", "fifo"])
def test_a_record_that_others_could_have_made_is_refused(tmp_path: Path, spoil: str) -> None:
    folder = tmp_path / "d"
    (folder / "logs").mkdir(mode=0o700, parents=True)
    folder.chmod(0o700)
    path = folder / "logs" / audit.FILE
    match spoil:
        case "wider rights":
            path.write_text(entry(1))
            path.chmod(0o644)
        case "link":
            (tmp_path / "elsewhere").write_text(entry(1))
            (tmp_path / "elsewhere").chmod(0o600)
            path.symlink_to(tmp_path / "elsewhere")
        case "fifo":
            os.mkfifo(path, 0o600)
    done = run("--data-dir", folder, "audit")
    assert (done.returncode, done.stdout) == (3, "")
    assert str(path) in done.stderr and "Traceback" not in done.stderr


def test_without_a_record_it_says_so(tmp_path: Path) -> None:
    done = run("--data-dir", tmp_path / "d", "audit")
    assert (done.returncode, done.stdout) == (0, "nothing is recorded yet\n")
    assert run("--data-dir", tmp_path / "d", "audit", "--lines", "0").returncode == 2
    assert not (tmp_path / "d").exists()


# ---- what is told how often, with a clock that the test moves ----


class Heard:
    """Stands for the screen: what a notice says, not how it is shown."""

    def __init__(self, tmp_path: Path, **settings: Any) -> None:
        self.now = 0.0
        self.summaries: list[str] = []
        self.bodies: list[str] = []
        device = Device("a", Secret(bytes(32)))
        store = DeviceStore(tmp_path / "devices.json", Secret(bytes(32)), {device.id: device}, None)
        self.notices = Notifications(Settings(**settings), store, self, Clock(monotonic=lambda: self.now))  # type: ignore[arg-type]

    def tell(self, summary: str, body: str) -> None:
        self.summaries.append(summary)
        self.bodies.append(body)

    def answer(
        self,
        outcome: Outcome,
        device: str | None = "a",
        stage: str = "inject",
        msg: str = "",
        program: str = "",
    ) -> None:
        self.notices.answered(MessageResult(0, 1, "192.0.2.1", device, stage, outcome, program, msg=msg))


def test_arming_between_refusals_does_not_hide_them(tmp_path: Path) -> None:
    heard = Heard(tmp_path)
    for _ in range(REPEATED):
        assert heard.summaries == []
        heard.answer(Outcome.OK, stage="arm")
        heard.answer(Outcome.INTERNAL_ERROR)
    assert heard.summaries == ['"a" is refused again and again']
    heard.answer(Outcome.INTERNAL_ERROR)
    assert len(heard.summaries) == 1, "not again at once"
    heard.now += QUIET_S
    heard.answer(Outcome.INTERNAL_ERROR)
    assert len(heard.summaries) == 2
    heard.answer(Outcome.TYPED)
    heard.now += QUIET_S
    heard.answer(Outcome.INTERNAL_ERROR)
    assert len(heard.summaries) == 2, "a delivery ends the row"


def test_strangers_are_told_of_once_in_a_long_while(tmp_path: Path) -> None:
    heard = Heard(tmp_path)
    for _ in range(10 * STRANGERS):
        heard.answer(Outcome.CRYPTO_FAIL, device=None)
    assert heard.summaries == ["somebody tries to send"]
    heard.now += STRANGERS_QUIET_S
    heard.answer(Outcome.CRYPTO_FAIL, device=None)
    assert len(heard.summaries) == 2


def test_a_phone_that_pairs_again_at_once_is_told_of_again(tmp_path: Path) -> None:
    heard = Heard(tmp_path)
    for _ in range(2):
        heard.notices.paired(Device("a", Secret(bytes(32))))
    assert len(heard.summaries) == 2


def test_a_phone_that_pairs_again_or_may_not_pair_is_told_of_as_that(tmp_path: Path) -> None:
    heard = Heard(tmp_path)
    heard.notices.paired(Device("a", Secret(bytes(32))), again=True)
    for _ in range(3):
        heard.notices.refused(refusal.elsewhere("203.0.113.9"))
    assert heard.summaries == ['paired again: "a"', "a phone at 203.0.113.9 cannot pair"]


def test_a_refused_text_is_told_with_its_reason_at_the_first_tap(tmp_path: Path) -> None:
    heard = Heard(tmp_path)
    for _ in range(2):
        heard.answer(Outcome.OK, stage="approve")
        heard.answer(Outcome.BAD_REQUEST, msg="the text has a line end")
    assert (heard.summaries, heard.bodies) == (
        ["a secret was refused"],
        ['from "a": the text has a line end'],
    )


def tap(heard: Heard) -> None:
    """Send as the app does where every inject fails."""
    for _ in range(2):
        heard.answer(Outcome.OK, stage="approve")
        heard.now += 0.25
        heard.answer(Outcome.INTERNAL_ERROR)


def test_a_tap_with_its_retry_is_one_refusal_in_the_count(tmp_path: Path) -> None:
    heard = Heard(tmp_path)
    for _ in range(REPEATED):
        assert heard.summaries == []
        heard.now += RETRY_S + 1
        tap(heard)
    assert heard.summaries == ['"a" is refused again and again']
    assert heard.bodies == [f"{REPEATED} taps in a row, the last time: internal_error"]


def test_a_phone_that_goes_on_without_a_pause_is_counted_all_the_same(tmp_path: Path) -> None:
    heard = Heard(tmp_path)
    for _ in range(REPEATED):
        tap(heard)
    assert heard.summaries == ['"a" is refused again and again']


def test_a_retry_that_is_not_approved_is_no_further_refusal(tmp_path: Path) -> None:
    heard = Heard(tmp_path)
    for _ in range(REPEATED - 1):
        heard.now += RETRY_S + 1
        heard.answer(Outcome.OK, stage="approve")
        heard.answer(Outcome.NEEDS_APPROVE)
        heard.answer(Outcome.NEEDS_APPROVE, stage="approve")
    assert heard.summaries == []


def test_a_clock_that_is_off_is_told_at_the_first_message_and_then_rests(
    tmp_path: Path,
) -> None:
    heard = Heard(tmp_path)
    for stage in ("arm", "approve", "arm"):
        heard.answer(Outcome.BAD_TIMESTAMP, stage=stage, msg="the phone's clock is 10 min ahead")
    assert heard.summaries == ['the clock of "a" differs from this computer\'s']
    assert heard.bodies == ["the phone's clock is 10 min ahead. Set both clocks automatically."]
