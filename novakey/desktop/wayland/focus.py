"""Which window has the focus under a wlroots compositor.

Wayland tells a client nothing about others. Two ways around: sway's own socket,
which knows the process, and wlr-foreign-toplevel-management-unstable-v1, which
knows only what a window says of itself.
"""

from __future__ import annotations

import os
import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from novakey.desktop.base import Focus
from novakey.desktop.wayland.sway import SwayError, SwaySocket
from novakey.desktop.wayland.wire import Connection
from novakey.system.procfs import executable

TOPLEVELS = "zwlr_foreign_toplevel_manager_v1"
MAX_WINDOWS = 10_000

_ACTIVATED = 2  # zwlr_foreign_toplevel_handle_v1.state
_MAX_DEPTH = 64


class FocusReader(ABC):
    """Reads the focus over and over during one delivery.

    `is_x11` says whether the window that was read last is one of Xwayland's, where that is told.
    """

    is_x11 = False

    @abstractmethod
    def read(self) -> Focus | None:
        """Return the window that has the keyboard focus now; None when none has it."""

    def close(self) -> None:
        """Give back what it holds."""
        return


def reader(connection: Connection) -> FocusReader | None:
    """Return the best way to read the focus under this connection's compositor, or None."""
    sway = SwaySocket.of(connection.peer_pid, os.environ)
    if sway is not None:
        return SwayFocus(sway)
    return ToplevelFocus(connection) if TOPLEVELS in connection.globals else None


class SwayFocus(FocusReader):
    """By sway's tree of windows, which names the process of each."""

    def __init__(self, sway: SwaySocket) -> None:
        self._sway = sway

    def read(self) -> Focus | None:
        """See `FocusReader.read`."""
        node = _focused(self._sway.tree())
        if node is None:
            return None
        self.is_x11 = node.get("shell") == "xwayland"
        own = node.get("window_properties")
        own = own if isinstance(own, dict) else {}
        classes = [node.get("app_id"), own.get("class"), own.get("instance")]
        pid, window = node.get("pid"), node.get("id")
        pid = pid if isinstance(pid, int) and pid > 0 else None
        if not isinstance(window, int):
            raise SwayError("sway tells a window without a number")
        return Focus(
            window=window,
            pid=pid,
            program=executable(pid),
            classes=_names(*classes),
            title=str(node.get("name") or ""),
        )

    def close(self) -> None:
        """See `FocusReader.close`."""
        self._sway.close()


def _focused(node: dict[str, Any], depth: int = 0) -> dict[str, Any] | None:
    """Return the window with the focus; an empty workspace can have it too, and is none."""
    if depth > _MAX_DEPTH:
        raise SwayError("sway's tree is too deep")
    if node.get("focused") and node.get("type") in ("con", "floating_con") and node.get("pid"):
        return node
    for child in (*_list(node, "nodes"), *_list(node, "floating_nodes")):
        found = _focused(child, depth + 1)
        if found is not None:
            return found
    return None


def _list(node: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = node.get(name)
    return [child for child in found if isinstance(child, dict)] if isinstance(found, list) else []


@dataclass
class _Window:
    """What a window has said, and what of it holds: changes count when `done` comes."""

    app_id: str = ""
    title: str = ""
    active: bool = False
    pending: dict[str, Any] = field(default_factory=dict)


class ToplevelFocus(FocusReader):
    """By the list that compositors give to docks: no process, only names that the windows chose."""

    _EVENTS = ("s", "s", "o", "o", "a", "", "", "o")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._windows: dict[int, _Window] = {}
        connection.bind(TOPLEVELS, 1, ("n", ""), self._on_manager)
        connection.roundtrip()

    def read(self) -> Focus | None:
        """See `FocusReader.read`."""
        self._connection.roundtrip()
        active = [(number, window) for number, window in self._windows.items() if window.active]
        if len(active) != 1:  # none, or a moment between two
            return None
        number, window = active[0]
        return Focus(window=number, classes=_names(window.app_id), title=window.title)

    def _on_manager(self, opcode: int, values: list[Any]) -> None:
        if opcode == 0 and len(self._windows) < MAX_WINDOWS:
            new = int(values[0])
            window = self._windows[new] = _Window()
            self._connection.adopt(
                new,
                "zwlr_foreign_toplevel_handle_v1",
                self._EVENTS,
                lambda event, got: self._on_window(new, window, event, got),
            )

    def _on_window(self, number: int, window: _Window, opcode: int, values: list[Any]) -> None:
        match opcode:
            case 0:
                window.pending["title"] = values[0]
            case 1:
                window.pending["app_id"] = values[0]
            case 4:
                states = struct.unpack(f"={len(values[0]) // 4}I", values[0])
                window.pending["active"] = _ACTIVATED in states
            case 5:
                for name, value in window.pending.items():
                    setattr(window, name, value)
                window.pending.clear()
            case 6:
                self._windows.pop(number, None)
            case _:
                pass  # which screen it is on, and whose child it is


def _names(*given: str | None) -> tuple[str, ...]:
    """Return what windows call themselves, and the last part of a name such as `org.example.Program`."""
    names = [name.lower() for name in given if isinstance(name, str) and name]
    return tuple(dict.fromkeys([*names, *(name.rpartition(".")[2] for name in names)]))
