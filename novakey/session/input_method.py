"""Whether the input method that is active turns keys into other characters (IBus, fcitx5).

A Chinese engine takes letters for pinyin, so a text typed through it does not arrive. Both services tell
which engine the focused window has. Engines that give the characters of a keyboard are named for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from jeepney import DBusAddress

from novakey.session.dbus import Bus, BusError

CALL_S = 0.5  # a service that hangs holds up a delivery for so long

_IBUS = DBusAddress("/org/freedesktop/IBus", "org.freedesktop.IBus", "org.freedesktop.DBus.Properties")
_FCITX = DBusAddress("/controller", "org.fcitx.Fcitx5", "org.fcitx.Fcitx.Controller1")
_PLAIN = ("xkb:", "keyboard-")  # of IBus, of fcitx5
_NAME = re.compile(r"[A-Za-z0-9:._+-]{1,60}", re.ASCII)
_MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_MAX_FILE = 4096


def composes(engine: str) -> bool:
    """Return whether an engine gives other characters than the keyboard; without an engine none does."""
    return bool(engine) and not engine.startswith(_PLAIN)


class InputMethods:
    """Asks the input methods of this session, over one connection to the session bus that it keeps."""

    def __init__(self) -> None:
        self._bus: Bus | None = None

    def composing(self) -> str | None:
        """Return the name of the active engine if it composes; None where none does or none tells."""
        engine = next(filter(composes, self._engines()), None)
        return engine if engine is None or _NAME.fullmatch(engine) else "of an unknown name"

    def is_active(self) -> bool:
        """Return whether keys go through an input method, also one that changes nothing."""
        return any(self._engines())

    def _engines(self) -> Iterator[str]:
        for ask in (self._fcitx, _ibus):
            with suppress(BusError, ValueError, TypeError, LookupError):
                yield ask()

    def obstacle(self) -> str | None:
        """Return why a text that is typed now would not arrive as it is; None where nothing tells so."""
        engine = self.composing()
        # Input methods pass on what is typed into a password's field as it is.
        if engine is None or focus_is_password():
            return None
        return (
            f"the input method {engine} is active, which makes other characters of the keys:"
            " switch to a plain keyboard, then send again"
        )

    def close(self) -> None:
        """Close the connection."""
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.close()

    def _fcitx(self) -> str:
        if self._bus is None or not self._bus.serves:
            self.close()
            self._bus = Bus()
        (engine,) = self._bus.call(_FCITX, "CurrentInputMethod", timeout=CALL_S, start=False, returns="s")
        return str(engine)


def focus_is_password() -> bool:
    """Return whether the field with the focus is a password's, as far as programs tell."""
    from novakey.session.atspi import focused_objects

    try:
        focused = focused_objects()
    except BusError:
        return False
    return bool(focused) and all(field.is_password for field in focused)


def _ibus() -> str:
    address = ibus_address(os.environ)
    if address is None:
        return ""
    with Bus(address=address) as bus:
        asked = ("org.freedesktop.IBus", "GlobalEngine")
        ((_, described),) = bus.call(_IBUS, "Get", "ss", asked, CALL_S, returns="v")
        return _engine_name(described)


def _engine_name(described: Any) -> str:
    """Return the name in an IBusEngineDesc; `ValueError` where it is none."""
    if described[0] == "v":  # IBus puts what it serializes into a variant of its own
        described = described[1]
    kind, _, name, *_ = described[1] if isinstance(described[1], tuple) else described
    if kind != "IBusEngineDesc" or not isinstance(name, str):
        raise ValueError("no description of an engine")
    return name


def ibus_address(env: Mapping[str, str]) -> str | None:
    """Return where this session's IBus listens, as it writes down for its clients; None where it does not."""
    if env.get("IBUS_ADDRESS"):
        return env["IBUS_ADDRESS"]
    home = env.get("XDG_CONFIG_HOME") or f"{env.get('HOME', '')}/.config"
    display = env.get("WAYLAND_DISPLAY") or env.get("DISPLAY", "").partition(":")[2].partition(".")[0]
    with suppress(OSError, StopIteration):
        machine = next(path.read_text().strip() for path in _MACHINE_IDS if path.exists())
        with (Path(home) / "ibus" / "bus" / f"{machine}-unix-{Path(display).name}").open() as file:
            for line in file.read(_MAX_FILE).splitlines():
                name, _, value = line.partition("=")
                if name == "IBUS_ADDRESS" and value:
                    return value
    return None
