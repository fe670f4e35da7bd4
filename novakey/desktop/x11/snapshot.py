"""What is to be known at the beginning of each step of a delivery, asked in one round trip.

Where the focus and the keyboards are as expected, that is all of it.
"""

from __future__ import annotations

from functools import cached_property

from novakey.desktop.x11 import keymap as x11_keymap
from novakey.desktop.x11 import wire
from novakey.desktop.x11.connection import Connection
from novakey.desktop.x11.transport import PendingReply
from novakey.desktop.x11.window import Window
from novakey.desktop.x11.wire import KeyboardState

MAX_DEPTH = 64  # of windows in windows; a tree is never that deep


class Snapshot:
    """Asked for when it is made; to be made under a server grab, where it stays true."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        ask, root = connection.ask, connection.root.id
        # A release of a key that is not down does nothing but make the server use the keyboard
        # map of the device that we press keys on, in case another keyboard has a different one.
        connection.release(connection.display.display.info.max_keycode)
        # Whether another client holds the keyboard is asked by grabbing it for a window that is not mapped.
        # That fails either way, so no window gets the focus events that a grab and its end would cause.
        self._grab = ask(wire.grab_keyboard(connection.hidden.id))
        connection.tell(wire.ungrab_keyboard())
        self._controls = ask(wire.xkb_get_controls(connection.xkb))
        self._focus = ask(wire.get_input_focus())
        self._manager = ask(wire.get_property(root, connection.atom("_NET_SUPPORTING_WM_CHECK")))
        self._mark = ask(wire.get_property(root, connection.atom("_NOVAKEY_DELIVERY")))
        self._map = ask(wire.xkb_get_map(connection.xkb))
        self._state = ask(wire.xkb_get_state(connection.xkb))
        self._down = ask(wire.query_keymap())
        self._devices = ask(wire.xi_query_devices(connection.xinput))
        expected = connection.expected
        self._windows = {window: Window(connection, window) for window in expected.windows}
        self._owners = {window: self._ask_owner(window) for window in expected.windows[:1]}
        self._keys = {number: self._ask_keys(number) for number in expected.keyboards}

    @property
    def keyboard_is_held(self) -> bool:
        """Whether another client holds the keyboard: then keys do not go where the focus is."""
        return wire.is_grabbed_by_another(self._grab.raw)

    @property
    def quick_keys_are_rejected(self) -> bool:
        """Whether an accessibility setting swallows keys that are short or soon repeated."""
        return wire.rejects_quick_keys(self._controls.raw)

    @property
    def sticky_options(self) -> int | None:
        """The options of Sticky Keys where they are on."""
        return wire.sticky_options(self._controls.raw)

    @cached_property
    def focus(self) -> int:
        """The window with the focus, or a number that is none.

        Where no window manager has set it, keys go to the innermost window under the pointer.
        """
        window = wire.focus_window(self._focus.raw)
        return self._under_pointer() if window == wire.POINTER_ROOT else window

    def _under_pointer(self) -> int:
        window = self._connection.root.id
        for _ in range(MAX_DEPTH):
            inner = wire.child_under_pointer(self._connection.ask(wire.query_pointer(window)).raw)
            if not inner:
                break
            window = inner
        return int(window)

    @cached_property
    def is_managed(self) -> bool:
        """Whether there is a window manager."""
        return wire.property_value(self._manager.raw) is not None

    @property
    def is_marked(self) -> bool:
        """Whether a delivery that was killed has left something changed."""
        return bool(wire.property_value(self._mark.raw))

    def keymap(self, none_is_remapped: bool) -> x11_keymap.Keymap:
        """Return the keyboard map; read quickly where it is the last one again and no key is borrowed."""
        return (x11_keymap.parse_again if none_is_remapped else x11_keymap.parse)(self._map.raw)

    @cached_property
    def state(self) -> KeyboardState:
        """Modifiers and group."""
        return wire.keyboard_state(self._state.raw)

    @cached_property
    def keys_down(self) -> set[int]:
        """The keycodes that are down on the core keyboard."""
        return wire.keys_down(self._down.raw)

    @cached_property
    def keyboards(self) -> list[tuple[int, str]]:
        """Number and name of every keyboard that the core keyboard sums up."""
        return wire.keyboards(self._devices.raw)

    def keys_down_on(self, keyboard: int) -> set[int]:
        """Return the keycodes that are down on one of them."""
        if keyboard not in self._keys:
            self._keys |= {number: self._ask_keys(number) for number, _ in self.keyboards}
        return wire.device_keys_down(self._keys[keyboard].raw)

    def window(self, window: int) -> Window:
        """Return what there is to know about a window."""
        return self._windows.get(window) or Window(self._connection, window)

    def owner_of(self, window: int) -> PendingReply | None:
        """Return the server's word on whose a window is; None where it cannot be asked."""
        return self._owners[window] if window in self._owners else self._ask_owner(window)

    def _ask_owner(self, window: int) -> PendingReply | None:
        resource = self._connection.resource
        return None if resource is None else self._connection.ask(wire.query_client_ids(resource, window))

    def _ask_keys(self, keyboard: int) -> PendingReply:
        return self._connection.ask(wire.query_device_state(self._connection.xinput, keyboard))
