"""What is to be known at the beginning of each step of a delivery, asked in one round trip."""

from __future__ import annotations

from novakey.desktop import x11_keymap, x11_wire
from novakey.desktop.x11_connection import Connection
from novakey.desktop.x11_wire import KeyboardState


class Glance:
    """Asked for when it is made; to be made under a server grab, where it stays true."""

    def __init__(self, connection: Connection) -> None:
        ask, root = connection.ask, connection.root.id
        # A release of a key that is not down does nothing but make the server use the keyboard
        # map of the device that we press keys on, in case another keyboard has a different one.
        connection.release(connection.display.display.info.max_keycode)
        # Whether another client holds the keyboard is asked by grabbing it for a window that is not mapped.
        # That fails either way, so no window gets the focus events that a grab and its end would cause.
        self._grab = ask(x11_wire.grab_keyboard(connection.hidden.id))
        connection.tell(x11_wire.ungrab_keyboard())
        self._controls = ask(x11_wire.xkb_get_controls(connection.xkb))
        self._focus = ask(x11_wire.get_input_focus())
        self._manager = ask(x11_wire.get_property(root, connection.atom("_NET_SUPPORTING_WM_CHECK")))
        self._mark = ask(x11_wire.get_property(root, connection.atom("_NOVAKEY_DELIVERY")))
        self._map = ask(x11_wire.xkb_get_map(connection.xkb))
        self._state = ask(x11_wire.xkb_get_state(connection.xkb))
        self._down = ask(x11_wire.query_keymap())
        self._devices = ask(x11_wire.xi_query_devices(connection.xinput))

    @property
    def keyboard_is_held(self) -> bool:
        """Whether another client holds the keyboard: then keys do not go where the focus is."""
        return x11_wire.is_grabbed_by_another(self._grab.raw)

    @property
    def quick_keys_are_rejected(self) -> bool:
        """Whether an accessibility setting swallows keys that are short or soon repeated."""
        return x11_wire.rejects_quick_keys(self._controls.raw)

    @property
    def focus(self) -> int:
        """The window with the focus, or a number that is none."""
        return x11_wire.focus_window(self._focus.raw)

    @property
    def is_managed(self) -> bool:
        """Whether there is a window manager."""
        return x11_wire.property_value(self._manager.raw) is not None

    @property
    def is_marked(self) -> bool:
        """Whether a delivery that was killed has left something changed."""
        return bool(x11_wire.property_value(self._mark.raw))

    def keymap(self, none_is_lent: bool) -> x11_keymap.Keymap:
        """The keyboard map; read quickly where it is the last one again and no key is borrowed."""
        return (x11_keymap.parse_again if none_is_lent else x11_keymap.parse)(self._map.raw)

    @property
    def state(self) -> KeyboardState:
        """Modifiers and group."""
        return x11_wire.keyboard_state(self._state.raw)

    @property
    def keys_down(self) -> set[int]:
        """The keycodes that are down on the core keyboard."""
        return x11_wire.keys_down(self._down.raw)

    @property
    def keyboards(self) -> list[tuple[int, str]]:
        """Number and name of every keyboard that the core keyboard sums up."""
        return x11_wire.keyboards(self._devices.raw)
