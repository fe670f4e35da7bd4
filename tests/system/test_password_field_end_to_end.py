"""`require_password_field`, with real programs on a real accessibility bus."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.daemon import Daemon, arm_and_approve, say
from support.dbus import MessageBus, message_bus
from support.x11 import Recorder, RecordingGtkEntry, RecordingXterm, XServer, wait_until

from novakey.config.settings import Settings
from novakey.desktop.base import Focus
from novakey.messages.policy.password_field import PasswordField
from novakey.phone import Profile
from novakey.session.atspi import FocusedObject, focused_objects
from novakey.session.dbus import BusError
from novakey.wire.message import MessageType
from novakey.wire.refused import Refused
from novakey.wire.reply import Outcome, Reply

LAUNCHER = "/usr/libexec/at-spi-bus-launcher"

_FORM = """
import os, sys, gi
gi.require_version("Gtk", "3.0")
from gi.repository import Gtk
path, title = sys.argv[1:3]
window, box = Gtk.Window(title=title), Gtk.Box()
secret, plain = Gtk.Entry(), Gtk.Entry()
secret.set_visibility(False)
secret.set_input_purpose(Gtk.InputPurpose.PASSWORD)

def write(*_):
    with open(path + ".new", "w") as file:
        file.write(secret.get_text() + "|" + plain.get_text())
    os.replace(path + ".new", path)

for entry in (secret, plain):
    entry.connect("changed", write)
    box.add(entry)
window.add(box)
window.show_all()
write()
open(path + ".ready", "w").close()
Gtk.main()
"""


class RecordingForm(RecordingGtkEntry):
    """A password entry, and a plain one after it; the text is of both, with a bar between."""

    title = "recording-form"
    script = _FORM


@pytest.fixture(scope="module")
def server() -> Iterator[XServer]:
    with XServer() as running:
        yield running


@pytest.fixture(scope="module")
def bus(server: XServer) -> Iterator[MessageBus]:
    with message_bus() as running:
        server.env = {**server.env, "DBUS_SESSION_BUS_ADDRESS": running.address}
        del server.env["NO_AT_BRIDGE"]
        running.start([LAUNCHER, "--launch-immediately"], env=server.env)
        wait_until(answers, "the accessibility bus")
        yield running


def answers() -> bool:
    try:
        focused_objects()
    except BusError:
        return False
    return True


@pytest.fixture(scope="module")
def daemon(server: XServer, bus: MessageBus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    env = {"DISPLAY": server.display, "DBUS_SESSION_BUS_ADDRESS": bus.address}
    settings = {"desktop_backend": "x11", "require_password_field": True, "two_man_enabled": False}
    with Daemon(tmp_path_factory.mktemp("field") / "d", env=env, **settings) as running:
        yield running


@pytest.fixture(scope="module")
def phone(daemon: Daemon) -> Profile:
    return daemon.pair()


@pytest.fixture
def form(server: XServer, bus: MessageBus) -> Iterator[Recorder]:
    with RecordingForm(server) as recorder:
        wait_until(lambda: [field.pid for field in focused_objects()] == [recorder.process.pid], "a field")
        yield recorder


def send(phone: Profile, text: bytes = b"typed") -> Reply:
    say(phone, MessageType.ARM)
    return say(phone, MessageType.INJECT, text)


def test_a_password_field_is_typed_into_and_the_plain_one_beside_it_is_not(
    server: XServer, phone: Profile, form: Recorder
) -> None:
    assert send(phone, b"secret").outcome is Outcome.TYPED
    assert form.wait_for("secret|") == "secret|"
    server.run("xdotool", "key", "Tab")
    wait_until(lambda: not focused_objects()[0].is_password, "the other field")
    reply = send(phone)
    assert (reply.outcome, reply.msg) == (
        Outcome.BAD_REQUEST,
        "target refused: the focused field is no password field",
    )
    server.run("xdotool", "key", "Tab")
    wait_until(lambda: focused_objects()[0].is_password, "the first field")
    assert send(phone, b"2").outcome is Outcome.TYPED, "still armed"
    assert form.text().endswith("|"), "nothing came into the plain field"


def test_a_program_that_tells_nothing_is_refused(server: XServer, phone: Profile, form: Recorder) -> None:
    with RecordingXterm(server) as terminal:  # the form tells that it has the focus no more
        wait_until(lambda: not focused_objects(), "leaving the field")
        reply = send(phone)
        assert reply.outcome is Outcome.BAD_REQUEST
        assert "no program tells" in reply.msg
        assert terminal.text() == ""


def test_a_program_that_hangs_is_refused_in_time(phone: Profile, form: Recorder) -> None:
    os.kill(form.process.pid, signal.SIGSTOP)
    try:
        start = time.monotonic()
        reply = send(phone)
        assert time.monotonic() - start < 5
        assert reply.outcome is Outcome.BAD_REQUEST
    finally:
        os.kill(form.process.pid, signal.SIGCONT)
    assert form.text() == "|"


def test_without_an_accessibility_bus_it_is_refused(server: XServer, bus: MessageBus, tmp_path: Path) -> None:
    settings = {"desktop_backend": "x11", "require_password_field": True}
    with Daemon(tmp_path / "d", env={"DISPLAY": server.display}, **settings) as alone:
        phone = alone.pair()
        with RecordingForm(server) as form:
            arm_and_approve(phone)
            reply = say(phone, MessageType.INJECT, b"typed")
            assert reply.outcome is Outcome.BAD_REQUEST
            assert "password fields cannot be told from others" in reply.msg
            assert form.text() == "|"


PASSWORD, PLAIN = FocusedObject(10, True), FocusedObject(11, False)


@pytest.mark.parametrize(
    ("focused", "focus", "why"),
    [
        ([PASSWORD], Focus(1, 10), None),
        ([PASSWORD, PLAIN], Focus(1, 10), None),
        ([PASSWORD], None, None),
        ([PASSWORD], Focus(1, 11), "does not tell"),
        ([PASSWORD, PLAIN], Focus(1, 11), "no password field"),
        ([PASSWORD, PLAIN], None, "no password field"),
        ([PASSWORD, PLAIN], Focus(1), "no password field"),
        ([PASSWORD, FocusedObject(10, False)], Focus(1, 10), "no password field"),
        ([], None, "no program tells"),
    ],
)
def test_the_field_must_be_of_the_focused_program(
    focused: list[FocusedObject], focus: Focus | None, why: str | None
) -> None:
    policy = PasswordField(Settings(require_password_field=True), look=lambda: focused)
    if why is None:
        policy.check(policy.find(), focus)
    else:
        with pytest.raises(Refused, match=why):
            policy.check(policy.find(), focus)


def test_while_it_is_off_no_question_is_asked() -> None:
    policy = PasswordField(Settings(), look=lambda: 1 // 0)  # type: ignore[arg-type,return-value]
    policy.check(policy.find(), None)
