"""The X11 backend on a real server, into real windows. No failure shows a secret."""

from __future__ import annotations

import os
import random
import signal
import struct
from collections.abc import Iterator

import gevent
import gevent.event
import pytest
from support.delivery import Checks, anywhere
from support.random_text import EMOJI, random_secret
from support.x11 import (
    Recorder,
    RecordingGtkEntry,
    RecordingXterm,
    XServer,
    at_most,
    differs,
    display_of,
    others_run,
    wait_until,
)
from support.xkb import lock_group
from Xlib import X
from Xlib.protocol import rq

from novakey.desktop.base import DesktopError, Focus
from novakey.desktop.x11 import wire
from novakey.desktop.x11.backend import X11Backend
from novakey.desktop.x11.connection import Connection, ServerError
from novakey.desktop.x11.display import GuardedDisplay
from novakey.desktop.x11.recovery import Notes
from novakey.secret import Secret
from novakey.wire.refused import Refused, target_refused

DEADLINE_S = 20.0  # long enough for a busy machine


def deliver(backend: X11Backend, window: Recorder, text: str) -> str | None:
    """Type a text; how what came differs from it."""
    window.clear()
    backend.type_text(Secret(text.encode()), DEADLINE_S, anywhere)
    return differs(window.wait_for(text), text)


@pytest.fixture
def connection(server: XServer) -> Iterator[Connection]:
    made = Connection()
    yield made
    made.close()


def test_random_secrets_arrive_whole_and_the_keyboard_is_as_it_was(
    backend: X11Backend, server: XServer, window: Recorder
) -> None:
    rng = random.Random()
    for layout in ("us", "de", "fr", "ru"):
        server.layout(layout)
        before = server.keymap()
        problems = [deliver(backend, window, random_secret(rng)) for _ in range(3)]
        assert [problem for problem in problems if problem] == [], layout
        assert server.keymap() == before, f"the keyboard differs under {layout}"


def test_a_text_with_more_different_characters_than_free_keys(
    backend: X11Backend, server: XServer, window: Recorder
) -> None:
    before = server.keymap()
    text = "".join(chr(0x4E00 + index) for index in range(120)) + "aa" + "".join(map(chr, EMOJI))
    assert deliver(backend, window, text) is None
    assert server.keymap() == before


@pytest.mark.parametrize("layout", ["be -variant oss_latin9", "fr -variant bepo_latin9"])
def test_a_layout_with_keys_that_the_server_does_not_take_back(
    backend: X11Backend, server: XServer, terminal: Recorder, layout: str
) -> None:
    server.run("setxkbmap", *layout.split())
    before = server.keymap()
    assert deliver(backend, terminal, "abC字漢語字") is None
    assert server.keymap() == before


def test_every_refusal_of_the_server_is_an_error_of_the_server(connection: Connection) -> None:
    for request in (
        struct.pack("=BBHI", 12, 0, 2, 0),
        struct.pack("=BBHHHB7xI", connection.xkb, 9, 5, 0x100, 2, 1, 0),
    ):
        connection.tell(request)
        with pytest.raises(ServerError, match="refused a request"):
            connection.sync()


def test_repeated_characters_arrive_as_often_as_they_were_sent(backend: X11Backend, window: Recorder) -> None:
    assert deliver(backend, window, "aaAAaa  字字字..!!" * 8) is None


@pytest.mark.parametrize("key", ["Caps_Lock", "Num_Lock"])
def test_a_lock_does_not_alter_the_text_and_stays_on(
    backend: X11Backend, server: XServer, window: Recorder, key: str
) -> None:
    server.run("xdotool", "key", key)
    try:
        locks = server.locks()
        assert " on " in locks, "the lock is not on"
        assert deliver(backend, window, "abC dÉé 12.,字 ß") is None
        assert server.locks() == locks
    finally:
        server.run("xdotool", "key", key)


STICKY_KEYS, LATCH_TO_LOCK = 8, 1 << 7


def set_sticky_keys(connection: Connection, on: bool, options: int) -> None:
    """As a settings daemon does it."""
    enabled = STICKY_KEYS if on else 0
    body = struct.pack(
        "=HBBBBHHHHBBH2xIII", wire.CORE_KEYBOARD, *[0] * 10, options, STICKY_KEYS, enabled, STICKY_KEYS
    )
    connection.tell(struct.pack("=BBH", connection.xkb, 7, 25) + body + bytes(64))
    connection.sync()


def sticky_options(connection: Connection) -> int | None:
    found = wire.sticky_options(connection.ask(wire.xkb_get_controls(connection.xkb)).raw)
    return None if found is None else found & (wire.TWO_KEYS | LATCH_TO_LOCK)


@pytest.mark.parametrize("options", [LATCH_TO_LOCK, wire.TWO_KEYS | LATCH_TO_LOCK])
@pytest.mark.parametrize("lock", ["", "Caps_Lock"])
def test_sticky_keys_stay_on_with_their_options_and_alter_no_text(
    backend: X11Backend, server: XServer, window: Recorder, connection: Connection, options: int, lock: str
) -> None:
    set_sticky_keys(connection, True, options)
    try:
        if lock:
            server.run("xdotool", "key", lock)
        locks = server.locks()
        assert deliver(backend, window, "abC DEf 字 (x) ßÉ") is None
        assert sticky_options(connection) == options
        assert server.locks() == locks
        state = connection.keyboard_state()
        assert (state.latched, state.modifiers) == (0, state.locked)
    finally:
        set_sticky_keys(connection, False, wire.TWO_KEYS | LATCH_TO_LOCK)
        if lock and "on" in server.locks().split("Num")[0]:
            server.run("xdotool", "key", lock)


@pytest.mark.parametrize("key", ["Shift_L", "Control_L", "ISO_Level3_Shift", "Super_L"])
def test_a_modifier_that_is_held_does_not_alter_the_text_and_stays_held(
    backend: X11Backend, server: XServer, window: Recorder, connection: Connection, key: str
) -> None:
    server.layout("de")
    server.run("xdotool", "keydown", key)
    try:
        held = connection.keys_down()
        assert held, "the modifier is not held"
        assert deliver(backend, window, "abC @€ 12 字 ^") is None
        assert connection.keys_down() == held
    finally:
        server.run("xdotool", "keyup", key)
    assert connection.keys_down() == []


class _FakeDeviceKey(rq.Request):
    """A key event of a person's keyboard: XTestFakeInput for an extension device."""

    _request = rq.Struct(
        *(rq.Card8("opcode"), rq.Opcode(2), rq.RequestLength(), rq.Card8("kind"), rq.Card8("detail")),
        *(rq.Pad(2), rq.Card32("time"), rq.Pad(23), rq.Card8("device")),
    )


def hardware(connection: Connection, code: int, down: bool) -> None:
    """Press or release a key as a person."""
    device = next(number for number, name in connection.keyboards() if "XTEST" not in name)
    first = connection.display.query_extension("XInputExtension").first_event
    opcode = connection.display.query_extension("XTEST").major_opcode
    kind = first + (1 if down else 2)
    on = connection.display.display
    _FakeDeviceKey(display=on, opcode=opcode, kind=kind, detail=code, time=0, device=device)
    connection.sync()


@pytest.mark.parametrize("code", [50, 37, 64, 133], ids=["shift", "control", "alt", "super"])
def test_a_modifier_that_a_person_holds_stays_held_until_they_let_go(
    backend: X11Backend, server: XServer, entry: Recorder, connection: Connection, code: int
) -> None:
    hardware(connection, code, down=True)
    try:
        assert deliver(backend, entry, "abC 12 字") is None
        assert connection.keys_down() == [code]
    finally:
        hardware(connection, code, down=False)
    assert connection.keys_down() == []
    assert connection.keyboard_state().modifiers == 0
    entry.clear()
    server.run("xdotool", "type", "AbC")  # other programs' keys work as before, too
    assert entry.wait_for("AbC") == "AbC"


def test_when_another_window_takes_the_focus_typing_stops_and_says_how_far_it_came(
    backend: X11Backend, server: XServer, terminal: Recorder
) -> None:
    before = server.keymap()
    text = "".join(chr(0x4E00 + index) for index in range(1000))  # of many steps
    mover = GuardedDisplay()
    with RecordingGtkEntry(server) as second:
        terminal.clear()
        server.focus(terminal.window)

        def move() -> None:
            wait_until(terminal.text, "the first characters")
            target = mover.create_resource_object("window", int(second.window))
            target.set_input_focus(X.RevertToParent, X.CurrentTime)
            mover.sync()

        moving = gevent.spawn(move)
        with pytest.raises(DesktopError, match="another window took the focus") as caught:
            backend.type_text(Secret(text.encode()), DEADLINE_S, anywhere)
        moving.get()
        assert 0 < caught.value.typed < len(text)
        assert differs(terminal.wait_for(caught.value.typed), text[: caught.value.typed]) is None
        server.run("xdotool", "type", "z")
        assert second.only("z")
    mover.close()
    assert server.keymap() == before


def test_a_letter_that_is_held_does_not_swallow_its_own(
    backend: X11Backend, server: XServer, terminal: Recorder
) -> None:
    server.run("xset", "r", "off")
    server.run("xdotool", "keydown", "a")
    assert terminal.wait_for("a") == "a"
    try:
        assert deliver(backend, terminal, "aAbBaa") is None
    finally:
        server.run("xdotool", "keyup", "a")
        server.run("xset", "r", "on")


def test_the_second_layout_in_effect_is_typed_on_and_stays(
    backend: X11Backend, server: XServer, window: Recorder, connection: Connection
) -> None:
    server.layout("us,ru")
    lock_group(connection, 1)
    assert connection.keyboard_state().group == 1
    before = server.keymap()
    try:
        assert deliver(backend, window, "Пароль: password Ёё ёж & 字") is None
        assert connection.keyboard_state().group == 1
        assert server.keymap() == before
    finally:
        lock_group(connection, 0)


def test_another_keyboard_with_another_layout_keeps_it(
    backend: X11Backend, server: XServer, entry: Recorder, connection: Connection
) -> None:
    device = next(number for number, name in connection.keyboards() if "XTEST" not in name)
    server.run("setxkbmap", "-device", str(device), "fr")
    own = ("xkbcomp", "-w0", "-i", str(device), server.display, "-")
    before = server.run(*own)
    hardware(connection, 65, down=True)  # a space on it: the core keyboard now has its map
    hardware(connection, 65, down=False)
    assert entry.wait_for(" ") == " "
    assert deliver(backend, entry, "qwerty azerty 字é^ 123") is None
    assert server.run(*own) == before


def test_what_a_killed_delivery_left_on_keys_is_taken_off(
    backend: X11Backend, server: XServer, window: Recorder
) -> None:
    before, key = server.keymap(), b"of the daemon's state"
    dying = Connection()
    remapped = {dying.keymap().free[0]: (0x01005B57, 0x01005B57)}
    Notes(key).put(dying, 0, remapped)
    dying.put_on_keys(remapped)
    dying.sync()
    dying.close()
    assert server.keymap() != before
    backend.sign_with(key)
    assert deliver(backend, window, "abc") is None
    assert server.keymap() == before


@pytest.mark.parametrize("reached", [False, True], ids=["the note only", "the keys too"])
def test_a_kill_between_the_note_and_the_keys_leaves_nothing(
    backend: X11Backend, server: XServer, reached: bool
) -> None:
    before, notes = server.keymap(), Notes(b"of the daemon's state")
    dying = Connection()
    code = dying.keymap().free[0]
    old, new = {code: (0x01005B57, 0x01005B57)}, {code: (0x61, 0x62)}
    dying.put_on_keys(old)
    notes.put(dying, 0, old, new)
    if reached:
        dying.put_on_keys(new)
    dying.sync()
    with dying.grabbed():
        notes.recover(dying)
    dying.close()
    assert server.keymap() == before


def test_a_window_that_hangs_ends_at_the_deadline_and_the_keys_are_given_back(
    backend: X11Backend, server: XServer, entry: Recorder
) -> None:
    before = server.keymap()
    os.kill(entry.process.pid, signal.SIGSTOP)
    try:
        with at_most(1.6), pytest.raises(DesktopError) as caught:
            backend.type_text(Secret("字é".encode()), 1.5, anywhere)
        assert caught.value.typed == 0
        assert server.keymap() == before
    finally:
        os.kill(entry.process.pid, signal.SIGCONT)
    server.run("xdotool", "type", "z")
    assert entry.only("z"), "nothing waited in its queue"


def test_what_is_taken_back_while_the_window_has_yet_to_learn_the_keys_is_not_typed(
    backend: X11Backend, server: XServer, entry: Recorder
) -> None:
    before, asked = server.keymap(), gevent.event.Event()

    def check(focus: Focus | None) -> None:
        if asked.is_set():
            raise target_refused("denied since")
        asked.set()

    def go_on() -> None:
        assert asked.wait(DEADLINE_S)
        os.kill(entry.process.pid, signal.SIGCONT)

    os.kill(entry.process.pid, signal.SIGSTOP)
    going_on = gevent.spawn(go_on)
    try:
        with pytest.raises(Refused, match="denied since"):
            backend.type_text(Secret("字é".encode()), DEADLINE_S, Checks(check))
    finally:
        os.kill(entry.process.pid, signal.SIGCONT)
    going_on.get()
    assert server.keymap() == before
    server.run("xdotool", "type", "z")
    assert entry.only("z")


def test_a_terminal_that_hangs_is_said_to_have_read_nothing_for_sure(
    backend: X11Backend, server: XServer, terminal: Recorder
) -> None:
    before = server.keymap()
    os.kill(terminal.process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(DesktopError, match="some may be wrong") as caught:
            backend.type_text(Secret("字é".encode()), 1.5, anywhere)
        assert caught.value.typed == 2
        assert server.keymap() == before
    finally:
        os.kill(terminal.process.pid, signal.SIGCONT)


def test_borrowed_keys_that_another_program_takes_too_early_are_told(
    backend: X11Backend, server: XServer, terminal: Recorder
) -> None:
    before, changing = server.keymap(), []

    def change() -> None:
        server.run("setxkbmap", "us")
        os.kill(terminal.process.pid, signal.SIGCONT)

    def check(focus: Focus | None) -> None:  # the server serves no other client until the keys are pressed
        changing.append(gevent.spawn(change))

    os.kill(terminal.process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(DesktopError, match="the keyboard was changed in between") as caught:
            backend.type_text(Secret("字符".encode()), DEADLINE_S, Checks(check))
    finally:
        os.kill(terminal.process.pid, signal.SIGCONT)
    gevent.joinall(changing, raise_error=True)
    assert caught.value.typed == 2
    assert server.keymap() == before


def test_a_server_that_hangs_ends_at_the_deadline_while_others_run(
    backend: X11Backend, server: XServer, entry: Recorder
) -> None:
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        with at_most(1.7), others_run(), pytest.raises(DesktopError) as caught:
            backend.type_text(Secret(b"never"), 1.5, anywhere)
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    assert caught.value.typed == 0
    server.run("xdotool", "type", "z")
    assert entry.only("z")


def test_with_no_focused_window_nothing_is_typed(backend: X11Backend, server: XServer) -> None:
    with pytest.raises(DesktopError, match="no window has the keyboard focus") as caught:
        backend.type_text(Secret(b"secret"), DEADLINE_S, anywhere)
    assert caught.value.typed == 0
    assert backend.focus(DEADLINE_S) is None


def test_while_another_client_holds_the_keyboard_nothing_is_typed(
    backend: X11Backend, server: XServer, entry: Recorder
) -> None:
    locker = GuardedDisplay()
    root = locker.screen().root
    assert root.grab_keyboard(False, X.GrabModeAsync, X.GrabModeAsync, X.CurrentTime) == X.GrabSuccess
    try:
        with pytest.raises(DesktopError, match="holds the keyboard") as caught:
            backend.type_text(Secret(b"secret"), DEADLINE_S, anywhere)
        assert caught.value.typed == 0
    finally:
        locker.close()
    assert deliver(backend, entry, "abc") is None


def test_the_focus_is_told_with_its_program(backend: X11Backend, server: XServer, terminal: Recorder) -> None:
    focus = backend.focus(DEADLINE_S)
    assert focus is not None
    assert (focus.window, focus.pid, focus.program) == (
        int(terminal.window),
        terminal.process.pid,
        "xterm",
    )


def test_without_a_window_manager_the_focused_window_is_typed_into() -> None:
    with XServer(manager=False) as bare, display_of(bare), RecordingXterm(bare, manager=False) as terminal:
        assert deliver(X11Backend(), terminal, "abC字") is None


def test_it_says_why_it_cannot_run() -> None:
    with display_of(None):
        assert str(X11Backend.unavailable()) == "DISPLAY is not set"
        os.environ["DISPLAY"] = ":59535"
        try:
            why_not = X11Backend.unavailable()
            assert why_not is not None
            assert "cannot be reached" in why_not.reason
            with pytest.raises(DesktopError):
                X11Backend().type_text(Secret(b"secret"), DEADLINE_S, anywhere)
        finally:
            del os.environ["DISPLAY"]


def test_the_window_with_the_focus_now_counts_and_not_that_of_the_arming(
    backend: X11Backend, server: XServer, window: Recorder
) -> None:
    backend.prepare()
    asked: list[Focus | None] = []
    with RecordingGtkEntry(server) as other:
        backend.type_text(Secret("abé字".encode()), DEADLINE_S, Checks(asked.append))
        assert differs(other.wait_for("abé字"), "abé字") is None
        backend.prepare()
    server.focus(window.window)
    # The window that was there when the phone armed is gone.
    backend.type_text(Secret("ab字".encode()), DEADLINE_S, Checks(asked.append))
    assert differs(window.wait_for("ab字"), "ab字") is None
    # Once or, where a window has to learn what keys mean first, twice.
    pids = dict.fromkeys(focus and focus.pid for focus in asked)
    assert list(pids) == [other.process.pid, window.process.pid]


def test_answers_are_told_apart_after_more_requests_than_their_numbers_can_count(
    connection: Connection,
) -> None:
    unused = connection.display.display.info.max_keycode
    for _ in range(5):
        connection.tap(lambda: ((unused, False) for _ in range(20_011)))
        connection.remember("_NOVAKEY_TEST", [7, 8])
        assert connection.property(connection.root.id, "_NOVAKEY_TEST") == [7, 8]
    connection.remember("_NOVAKEY_TEST", [])
    assert connection.property(connection.root.id, "_NOVAKEY_TEST") is None


def test_without_a_manager_the_window_under_the_pointer_is_typed_into() -> None:
    class Unfocused(RecordingXterm):
        def _focus(self) -> None:
            """Nothing gives it the focus: the server has it follow the pointer."""

    backend = X11Backend()
    with XServer(manager=False) as bare, display_of(bare), Unfocused(bare, manager=False) as terminal:
        bare.run("xdotool", "mousemove", "--sync", "1000", "700")
        with pytest.raises(DesktopError, match="no window manager runs: put the pointer into the window"):
            backend.type_text(Secret(b"secret"), DEADLINE_S, anywhere)
        bare.run("xdotool", "mousemove", "--sync", "50", "50")
        seen: list[Focus | None] = []
        backend.type_text(Secret("abC 字".encode()), DEADLINE_S, Checks(seen.append))
        assert terminal.wait_for("abC 字") == "abC 字"
        assert [focus.program for focus in seen if focus is not None][:1] == ["xterm"]
        backend.close()
