"""The target policy over real windows on X11. Its rows are in tests/unit/messages/policy/test_target.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.daemon import Daemon, arm_and_approve, say
from support.x11 import Recorder, RecordingGtkEntry, RecordingXterm, XServer, display_of
from Xlib import X

from novakey.config.settings import Settings
from novakey.desktop.x11.backend import X11Backend
from novakey.desktop.x11.display import GuardedDisplay
from novakey.messages.policy.target import TargetPolicy
from novakey.secret import Secret
from novakey.wire.message import MessageType
from novakey.wire.refused import Refused
from novakey.wire.reply import Outcome

PYTHON = Path("/usr/bin/python3").resolve().name  # the program of the GTK entry
TITLE = "Zebra KeePassXC"


class LyingXterm(RecordingXterm):
    """A terminal that says it is something else, in its title and in its class."""

    title = TITLE
    options = ("-class", "KeePassXC", "-name", "keepassxc")


@pytest.fixture(scope="module")
def server() -> Iterator[XServer]:
    with XServer() as running, display_of(running):
        yield running


WINDOWS = {"xterm": RecordingXterm, "python": RecordingGtkEntry, "liar": LyingXterm}


@pytest.fixture(scope="module", params=WINDOWS)
def window(request: pytest.FixtureRequest, server: XServer) -> Iterator[tuple[str, Recorder]]:
    with WINDOWS[request.param](server) as recorder:
        yield request.param, recorder


# The windows that each policy permits.
ROWS: list[tuple[set[str], dict[str, Any]]] = [
    ({"xterm", "liar"}, {}),
    ({"xterm", "liar"}, {"allowed_process_names": ["XTerm"]}),
    ({"python"}, {"allowed_process_names": [PYTHON]}),
    (set(), {"allowed_process_names": ["keepassxc", "ter"]}),
    ({"python"}, {"denied_process_names": ["xterm"]}),
    ({"xterm", "python"}, {"denied_process_names": ["keepassxc"]}),
    ({"liar"}, {"allowed_window_titles": ["keepass"]}),
    (set(), {"allowed_window_titles": ["keepass"], "allowed_process_names": [PYTHON]}),
    ({"xterm"}, {"denied_window_titles": ["KEEPASS"], "use_built_in_allowlist": True}),
]


@pytest.mark.parametrize(("permitted", "lists"), ROWS)
def test_a_window_is_typed_into_only_when_the_policy_permits_it(
    window: tuple[str, Recorder], permitted: set[str], lists: dict[str, Any]
) -> None:
    name, recorder = window
    lists = {key: tuple(value) if isinstance(value, list) else value for key, value in lists.items()}
    policy = TargetPolicy(Settings(target_policy_enabled=True, **lists))
    backend = X11Backend()
    recorder.clear()
    try:
        backend.type_text(Secret(b"typed"), 20, policy)
    except Refused:
        assert name not in permitted
        with pytest.raises(Refused):
            backend.paste(Secret(b"pasted"), 5, policy)
        assert backend._owner is None, "nor is it on the clipboard"
        assert recorder.text() == ""
    else:
        assert name in permitted
        assert recorder.wait_for("typed") == "typed"


def test_a_refusal_costs_no_gate_and_names_the_program_to_the_owner_alone(
    server: XServer, tmp_path: Path
) -> None:
    settings = {
        "desktop_backend": "x11",
        "target_policy_enabled": True,
        "denied_process_names": ["keepassxc"],
    }
    with Daemon(tmp_path / "d", env={"DISPLAY": server.display}, **settings) as daemon:
        phone = daemon.pair()
        arm_and_approve(phone)
        with RecordingXterm(server) as terminal, LyingXterm(server) as liar:
            reply = say(phone, MessageType.INJECT, b"typed")
            assert reply.outcome is Outcome.BAD_REQUEST
            assert reply.msg == "target refused: this is a denied program"
            assert liar.text() == ""
            server.focus(terminal.window)
            retried = say(phone, MessageType.INJECT, b"typed")
            assert retried.outcome is Outcome.BAD_REQUEST, "a phone's own retry goes to no other window"
            assert say(phone, MessageType.INJECT, b"once").outcome is Outcome.TYPED, "still armed, approved"
            assert terminal.wait_for("once") == "once"
        daemon.wait_for_log('target refused: "keepassxc" is a denied program')
        for file in (daemon.output, *(path for path in daemon.folder.rglob("*") if path.is_file())):
            assert b"Zebra" not in file.read_bytes(), file.name


def test_a_denied_window_under_a_menu_that_holds_the_keyboard_gets_nothing(
    server: XServer, tmp_path: Path
) -> None:
    settings = {
        "desktop_backend": "x11",
        "two_man_enabled": False,
        "allow_clipboard_on_inject_failure": True,
        "allow_clipboard_when_disarmed": True,
        "arm_consume_on_inject": False,
        "target_policy_enabled": True,
        "denied_process_names": ["keepassxc"],
    }
    menu = GuardedDisplay(server.display)
    with Daemon(tmp_path / "d", env={"DISPLAY": server.display}, **settings) as daemon, LyingXterm(server):
        phone = daemon.pair()
        root = menu.screen().root
        assert root.grab_keyboard(False, X.GrabModeAsync, X.GrabModeAsync, X.CurrentTime) == X.GrabSuccess
        try:
            for armed in (False, True):
                if armed:
                    assert say(phone, MessageType.ARM).outcome is Outcome.OK
                reply = say(phone, MessageType.INJECT, b"for no window")
                assert reply.outcome is Outcome.BAD_REQUEST, armed
                assert "is a denied program" in reply.msg
            owner = menu.get_selection_owner(menu.get_atom("CLIPBOARD"))
            assert owner == X.NONE, "it is not on the clipboard"
        finally:
            menu.close()
