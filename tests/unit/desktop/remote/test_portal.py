"""The portal backend against a double made from the portal's description; its keys reach a real mutter."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.dbus import message_bus
from support.delivery import anywhere
from support.mutter import Mutter, MutterFoot
from support.portal import INTERFACES, REMOTE, Behind, Portal
from support.wayland import session_of
from support.x11 import differs

from novakey.config.settings import Settings
from novakey.desktop.base import CannotType, DesktopError
from novakey.desktop.remote.portal import ASKS, PortalBackend
from novakey.desktop.select import Chooser
from novakey.devices.portal_token import SealedRestoreToken
from novakey.messages.output import Output
from novakey.secret import Secret
from novakey.wire.reply import Outcome

DEADLINE_S = 20.0  # long enough for a busy machine
PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))

pytestmark = pytest.mark.skipif(
    not (INTERFACES / f"{REMOTE}.xml").exists(), reason="xdg-desktop-portal-dev is missing"
)


@pytest.fixture(scope="module")
def mutter() -> Iterator[Mutter]:
    with Mutter() as running, session_of(running.session):
        yield running


@pytest.fixture(scope="module")
def foot(mutter: Mutter) -> Iterator[MutterFoot]:
    with MutterFoot(mutter) as recorder:
        yield recorder


@pytest.fixture
def portal(mutter: Mutter) -> Iterator[Portal]:
    made = Portal(mutter.session["DBUS_SESSION_BUS_ADDRESS"], mutter.person.press)
    yield made
    made.close()


@pytest.fixture
def permission(tmp_path: Path) -> SealedRestoreToken:
    tmp_path.chmod(0o700)
    return SealedRestoreToken(tmp_path / "permission.json", Secret(secrets.token_bytes(32)))


@pytest.fixture
def backend(permission: SealedRestoreToken) -> Iterator[PortalBackend]:
    made = PortalBackend()
    made.keep_restore_token_in(permission)
    yield made
    made.close()


def typed(backend: PortalBackend, foot: MutterFoot, text: str) -> str | None:
    foot.clear()
    backend.type_text(Secret(text.encode()), DEADLINE_S, anywhere)
    return differs(foot.wait_for(text), text)


def test_a_text_is_typed_and_the_session_is_asked_for_once(
    backend: PortalBackend, portal: Portal, foot: MutterFoot
) -> None:
    assert PortalBackend.unavailable() is None
    for text in (PRINTABLE, "again"):
        assert typed(backend, foot, text) is None
    steps = [call for call in portal.calls if call != "NotifyKeyboardKeycode"]
    assert steps == ["CreateSession", "SelectDevices", "Start"]
    assert portal.options["types"][1] == 1, "a keyboard and nothing else"
    assert portal.options["persist_mode"][1] == 2


def test_what_it_gave_for_not_asking_again_is_used_once_and_replaced(
    portal: Portal, foot: MutterFoot, permission: SealedRestoreToken, tmp_path: Path
) -> None:
    for _ in range(3):  # as after three restarts
        backend = PortalBackend()
        backend.keep_restore_token_in(permission)
        assert typed(backend, foot, "abc") is None
        assert permission.load() == portal.given[-1]
        portal.answer = 1  # a person who was asked again would decline
        backend.close()
    assert portal.tokens == [None, *portal.given[:2]]
    kept = (tmp_path / "permission.json").read_bytes()
    assert all(token.encode() not in kept for token in portal.given), "it is sealed"
    assert (tmp_path / "permission.json").stat().st_mode & 0o777 == 0o600


def test_what_was_kept_and_cannot_be_read_means_being_asked_again(
    backend: PortalBackend, portal: Portal, foot: MutterFoot, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "permission.json"
    path.write_bytes(b"{}")
    path.chmod(0o600)
    with caplog.at_level(logging.WARNING):
        assert typed(backend, foot, "abc") is None
    assert portal.tokens == [None]
    assert "the desktop will ask for permission again" in caplog.text


def test_while_the_person_is_asked_nothing_is_typed_and_afterwards_it_is(
    backend: PortalBackend, portal: Portal, foot: MutterFoot
) -> None:
    portal.answer = None
    foot.clear()
    with pytest.raises(CannotType) as caught:
        backend.type_text(Secret(b"secret"), 1.0, anywhere)
    assert (str(caught.value), caught.value.typed) == (ASKS, 0)
    assert portal.calls.count("Start") == 1
    with pytest.raises(CannotType):
        backend.type_text(Secret(b"secret"), 0.5, anywhere)
    assert portal.calls.count("Start") == 1, "one question at a time"
    backend.close()
    portal.answer = 0
    assert typed(backend, foot, "abc") is None


@pytest.mark.parametrize(
    ("answer", "devices", "says"),
    [(1, 1, "the person declined"), (2, 1, "the portal ended the request"), (0, 2, "allowed no keyboard")],
)
def test_without_permission_nothing_is_typed(
    backend: PortalBackend, portal: Portal, foot: MutterFoot, answer: int, devices: int, says: str
) -> None:
    portal.answer, portal.devices = answer, devices
    foot.clear()
    with pytest.raises(CannotType, match=says) as caught:
        backend.type_text(Secret(b"secret"), DEADLINE_S, anywhere)
    assert caught.value.typed == 0
    assert "NotifyKeyboardKeycode" not in portal.calls
    assert foot.text() == ""


def test_a_session_that_the_person_ends_is_asked_for_again_in_the_same_delivery(
    backend: PortalBackend, portal: Portal, foot: MutterFoot
) -> None:
    assert typed(backend, foot, "abc") is None
    portal.end_sessions()
    assert typed(backend, foot, "abc") is None
    assert portal.calls.count("Start") == 2


def behind(mutter: Mutter) -> Behind:
    return Behind(mutter.session["DBUS_SESSION_BUS_ADDRESS"], mutter.person.press)


def test_what_is_behind_the_portal_is_met_with_a_new_session_when_it_was_replaced(
    backend: PortalBackend, portal: Portal, foot: MutterFoot, mutter: Mutter
) -> None:
    portal.behind = behind(mutter)
    assert typed(backend, foot, "abc") is None
    portal.behind.close()
    portal.behind = behind(mutter)
    assert typed(backend, foot, "def") is None
    assert portal.calls.count("Start") == 2
    portal.behind.close()


@pytest.mark.parametrize("ends", [Behind.close, Behind.pause])
def test_with_nothing_behind_the_portal_no_text_counts_as_typed(
    backend: PortalBackend, portal: Portal, foot: MutterFoot, mutter: Mutter, ends: Callable[[Behind], None]
) -> None:
    portal.behind = behind(mutter)
    assert typed(backend, foot, "abc") is None
    foot.clear()
    ends(portal.behind)
    portal.answer = None if portal.behind.alive else 0  # no question is shown
    with pytest.raises(DesktopError) as caught:
        backend.type_text(Secret(b"secret"), 2.0, anywhere)
    assert caught.value.typed == 0
    assert foot.text() == ""
    portal.behind.close()


def test_when_what_is_behind_stops_in_the_middle_that_is_no_success(
    backend: PortalBackend, portal: Portal, foot: MutterFoot, mutter: Mutter
) -> None:
    pressed: list[int] = []

    def press(code: int, down: bool) -> None:
        pressed.append(code)
        if len(pressed) == 8:
            standing.pause()

    standing = portal.behind = Behind(mutter.session["DBUS_SESSION_BUS_ADDRESS"], press)
    with pytest.raises(DesktopError, match="session is gone") as caught:
        backend.type_text(Secret(b"a secret"), DEADLINE_S, anywhere)
    assert (caught.value.typed, caught.value.whole) == (8, False), "what was lost is not delivered"
    standing.close()


def test_the_reply_says_that_nothing_shows_whether_it_arrived(
    backend: PortalBackend, portal: Portal, foot: MutterFoot
) -> None:
    output = Output(Settings(), lambda: backend)
    foot.clear()
    delivered = output.deliver(Secret(b"abc"), anywhere)
    assert delivered.outcome is Outcome.TYPED
    assert delivered.msg.startswith("sent to the desktop")
    assert foot.wait_for("abc") == "abc", "the next test begins with an empty window"


def test_a_session_on_the_bus_of_before_is_left_when_the_environment_names_another(
    backend: PortalBackend, portal: Portal, foot: MutterFoot
) -> None:
    assert typed(backend, foot, "abc") is None
    foot.clear()
    with message_bus(), pytest.raises(CannotType, match=r"ServiceUnknown|NameHasNoOwner"):
        backend.type_text(Secret(b"secret"), DEADLINE_S, anywhere)
    backend.type_text(Secret(b"z"), DEADLINE_S, anywhere)
    assert foot.only("z")
    assert portal.calls.count("Start") == 2


def test_an_old_portal_is_asked_for_nothing_that_it_does_not_know(
    backend: PortalBackend, portal: Portal, foot: MutterFoot, permission: SealedRestoreToken
) -> None:
    portal.version = 1
    assert typed(backend, foot, "abc") is None
    assert set(portal.options) == {"types", "handle_token"}
    assert permission.load() is None


def test_a_character_that_the_keyboard_lacks_stops_the_whole_text(
    backend: PortalBackend, portal: Portal, foot: MutterFoot
) -> None:
    foot.clear()
    with pytest.raises(DesktopError, match="the keyboard layout lacks a character") as caught:
        backend.type_text(Secret("abc字".encode()), DEADLINE_S, anywhere)
    assert caught.value.typed == 0
    assert foot.text() == ""


def test_where_there_is_no_portal_it_says_so(mutter: Mutter) -> None:
    why_not = PortalBackend.unavailable()
    assert why_not is not None
    assert "the desktop's portal for typing is not there" in why_not.reason


def test_a_portal_without_a_keyboard_cannot_be_used(portal: Portal) -> None:
    portal.devices = 2
    why_not = PortalBackend.unavailable()
    assert why_not is not None
    assert why_not.reason == "the desktop's portal lets no program type"


def test_the_chooser_gives_it_the_place_for_its_permission(
    portal: Portal, foot: MutterFoot, permission: SealedRestoreToken
) -> None:
    choose = Chooser("portal", permission)
    backend = choose()
    assert isinstance(backend, PortalBackend)
    assert typed(backend, foot, "abc") is None
    assert permission.load() == portal.given[-1]
    choose.close()
