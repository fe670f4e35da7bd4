"""One window, and all that is asked about it."""

from __future__ import annotations

from novakey.desktop.x11 import wire
from novakey.desktop.x11.connection import Connection


class Window:
    """Asked for when it is made; an answer is waited for when it is read."""

    def __init__(self, connection: Connection, window: int) -> None:
        self.id = window
        self._tree = connection.ask(wire.query_tree(window))
        self._attributes = connection.ask(wire.get_window_attributes(window))
        names = ("WM_STATE", "WM_PROTOCOLS", "WM_CLASS", "_NET_WM_NAME", "WM_NAME")
        self._properties = {
            name: connection.ask(wire.get_property(window, connection.atom(name))) for name in names
        }

    @property
    def parent(self) -> int:
        """The window that it is in."""
        return wire.parent(self._tree.raw)

    @property
    def is_viewable(self) -> bool:
        """Whether it is on the screen, as far as it and the windows around it are mapped."""
        return wire.map_state(self._attributes.raw) == wire.VIEWABLE

    def property(self, name: str) -> list[int] | bytes | None:
        """Return the value of one of the properties above."""
        return wire.property_value(self._properties[name].raw)

    def numbers(self, name: str) -> list[int]:
        """Return the same as numbers, possibly none."""
        return wire.property_numbers(self._properties[name].raw)

    def text(self, name: str) -> str:
        """Return the same as text, possibly empty."""
        value = self.property(name)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
