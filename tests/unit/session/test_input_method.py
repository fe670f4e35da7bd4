"""Which engine of an input method is active, by doubles of the services on a real bus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.dbus import Answer, MessageBus, double, message_bus
from support.delivery import anywhere

from novakey.config.settings import Settings
from novakey.desktop.base import Backend
from novakey.messages.output import Output
from novakey.secret import Secret
from novakey.session.input_method import InputMethods, composes, ibus_address
from novakey.wire.reply import Outcome

FCITX, IBUS = "org.fcitx.Fcitx5", "org.freedesktop.IBus"


@pytest.fixture(scope="module")
def bus() -> Iterator[MessageBus]:
    with message_bus() as running:
        yield running


@pytest.fixture
def methods(monkeypatch: pytest.MonkeyPatch) -> Iterator[InputMethods]:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")
    monkeypatch.delenv("IBUS_ADDRESS", raising=False)
    made = InputMethods()
    yield made
    made.close()


@pytest.mark.parametrize(
    "engine", ["", "xkb:us::eng", "xkb:de:nodeadkeys:ger", "keyboard-us", "keyboard-de-neo"]
)
def test_a_keyboard_and_no_engine_compose_nothing(engine: str) -> None:
    assert not composes(engine)


@pytest.mark.parametrize(
    "engine", ["libpinyin", "pinyin", "anthy", "hangul", "m17n:vi:telex", "table:cangjie5"]
)
def test_every_other_engine_composes(engine: str) -> None:
    assert composes(engine)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (("s", ("pinyin",)), "pinyin"),
        (("s", ("keyboard-us",)), None),
        (("s", ("",)), None),
        (("s", ("pinyin\nforged",)), "of an unknown name"),
        (("i", (7,)), None),
        (None, None),
    ],
)
def test_fcitx_tells_the_engine_of_the_focused_window(
    bus: MessageBus, methods: InputMethods, answer: Answer, name: str | None
) -> None:
    with double(bus.address, FCITX, lambda method, call: answer):
        assert methods.composing() == name
        assert methods.is_active() is (answer is not None and answer[0] == "s" and answer[1] != ("",))


def described(name: str) -> Answer:
    """Return IBus's answer for an engine, as IBus 1.5 gives it."""
    engine = ("IBusEngineDesc", {}, name, "long name", "", "zh_CN")
    return "v", (("v", ("(sa{sv}ssss)", engine)),)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (described("libpinyin"), "libpinyin"),
        (described("xkb:us::eng"), None),
        (("v", (("s", "libpinyin"),)), None),
        (("v", (("(s)", ("IBusEngineDesc",)),)), None),
        (None, None),
    ],
)
def test_ibus_tells_the_engine_in_effect(
    bus: MessageBus,
    methods: InputMethods,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    name: str | None,
) -> None:
    monkeypatch.setenv("IBUS_ADDRESS", bus.address)
    with double(bus.address, IBUS, lambda method, call: answer):
        assert methods.composing() == name


def test_without_a_bus_no_engine_is_known(methods: InputMethods, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "disabled:")
    assert methods.composing() is None


@pytest.mark.parametrize(
    ("env", "file"),
    [
        ({"WAYLAND_DISPLAY": "wayland-0", "DISPLAY": ":1"}, "unix-wayland-0"),
        ({"WAYLAND_DISPLAY": "/run/user/1000/wayland-1"}, "unix-wayland-1"),
        ({"DISPLAY": ":3.0"}, "unix-3"),
    ],
)
def test_ibus_writes_its_address_down_for_each_display(
    tmp_path: Path, env: dict[str, str], file: str
) -> None:
    machine = Path("/etc/machine-id")
    if not machine.exists():
        pytest.skip("the machine has no id")
    folder = tmp_path / "ibus" / "bus"
    folder.mkdir(parents=True)
    env = {**env, "XDG_CONFIG_HOME": str(tmp_path)}
    assert ibus_address(env) is None
    path = folder / f"{machine.read_text().strip()}-{file}"
    path.write_text("# a remark\nIBUS_ADDRESS=unix:path=/x,guid=1\nIBUS_DAEMON_PID=7\n")
    assert ibus_address(env) == "unix:path=/x,guid=1"


class Screen(Backend):
    """A window that takes everything."""

    name = "x11"
    typed = 0

    @classmethod
    def unavailable(cls) -> None:
        return None

    def focus(self, deadline_s: float) -> None:
        return None

    def type_text(self, text: Secret, deadline_s: float, delivery: object) -> None:
        self.typed += 1

    def paste(self, text: Secret, deadline_s: float, delivery: object) -> bool:
        return True

    def copy(self, text: Secret, deadline_s: float) -> None:
        return


def test_while_an_engine_composes_nothing_is_typed_and_the_reply_names_it(
    bus: MessageBus, methods: InputMethods
) -> None:
    screen = Screen()
    output = Output(Settings(), lambda: screen, lambda: methods)
    engine = "pinyin"
    with double(bus.address, FCITX, lambda method, call: ("s", (engine,))):
        refused = output.deliver(Secret(b"secret"), anywhere)
        assert (refused.outcome, refused.may_be_out, screen.typed) == (Outcome.INTERNAL_ERROR, False, 0)
        assert refused.msg.startswith("nothing was typed: the input method pinyin is active")
        engine = "keyboard-us"
        assert output.deliver(Secret(b"secret"), anywhere).outcome is Outcome.TYPED
    assert screen.typed == 1
