"""What the keys of a session type, asked of libxkbcommon, which comes with every Wayland compositor.

Where somebody else's map must be typed on, a text goes out only if every
character of it has been found under a key beforehand, by pressing the keys in a
model of the keyboard: a character that the map lacks would be dropped in silence.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from novakey.desktop import keysyms
from novakey.desktop.base import DesktopError

MAX_KEYMAP = 1024 * 1024  # GNOME's are about 60 KiB
LACKS = "the keyboard layout lacks a character of the text"

_TEXT_V1 = 1
_EVDEV = 8  # XKB numbers the keys of evdev from here
_FIRST, _LAST = 9, 255
# The main block of a keyboard, by evdev codes: maps have characters on multimedia keys too.
_BLOCK = (*range(2, 58), 86, 89, 124)
_DOWN, _UP = 1, 0
# Where modifiers usually are; maps have others on keys that no keyboard has.
_MODIFIER_KEYS = (50, 37, 108)
_SHIFT_KEY, _CONTROL_KEY = 0xFFE1, 0xFFE3


# Dead keys that give an ASCII character with the space bar in every table of compositions.
_DEAD = {0xFE50: "`", 0xFE52: "^", 0xFE53: "~"}
_SPACE = 57


@dataclass(frozen=True)
class Press:
    """One key by its evdev code, and the keys that are held down with it."""

    code: int
    holding: tuple[int, ...] = ()
    ends: bool = False
    """Whether it completes the character of the dead key before it."""


Way = tuple[Press, ...]
"""The keys that type one character."""


def available() -> bool:
    """Whether libxkbcommon can be loaded."""
    return _library() is not None


class Layout:
    """A compiled map. Raises `DesktopError` when it cannot be had."""

    def __init__(self, text: bytes) -> None:
        library = _library()
        if library is None:
            raise DesktopError("libxkbcommon is missing")
        self._lib = library
        self._context = library.xkb_context_new(0)
        self._keymap = library.xkb_keymap_new_from_buffer(self._context, text, len(text), _TEXT_V1, 0)
        if not self._keymap:
            library.xkb_context_unref(self._context)
            raise DesktopError("the compositor's keyboard map cannot be read")
        self._found: dict[bool, dict[int, Way]] = {}  # by whether Caps Lock is on
        self._groups: Sequence[int] = range(library.xkb_keymap_num_layouts(self._keymap))

    def close(self) -> None:
        """Free the map."""
        self._lib.xkb_keymap_unref(self._keymap)
        self._lib.xkb_context_unref(self._context)

    @property
    def has_several(self) -> bool:
        """Whether there is more than one layout that may be in effect."""
        return len(self._groups) > 1

    def use(self, group: int) -> None:
        """Let one of the layouts be in effect, by its number; one that is not there changes nothing."""
        if group in range(self._lib.xkb_keymap_num_layouts(self._keymap)):
            self._groups, self._found = (group,), {}

    def use_named(self, source: str) -> None:
        """Let the layout `de` or `de+nodeadkeys` be in effect, if exactly one in the map has its name."""
        layout, _, variant = source.partition("+")
        if not layout:
            return
        names = _Names(b"evdev", b"pc105", layout.encode(), variant.encode(), b"")
        alone = self._lib.xkb_keymap_new_from_names(self._context, ctypes.byref(names), 0)
        if not alone:
            return
        wanted = self._lib.xkb_keymap_layout_get_name(alone, 0)
        self._lib.xkb_keymap_unref(alone)
        count = self._lib.xkb_keymap_num_layouts(self._keymap)
        named = [
            group
            for group in range(count)
            if self._lib.xkb_keymap_layout_get_name(self._keymap, group) == wanted
        ]
        if len(named) == 1:
            self.use(named[0])

    def plan(self, text: Iterable[str], caps_lock: bool) -> list[Press]:
        """Return the keys that type a text in the layout in effect.

        While that is not known, each character must be under the same keys in all layouts.
        `DesktopError` when one is not.
        """
        found = self._found.get(caps_lock)
        if found is None:
            tables = [self._table(group, caps_lock) for group in self._groups]
            found = self._found[caps_lock] = _in_all(tables)
        try:
            return [press for character in text for press in found[keysyms.of_character(character)]]
        except KeyError:
            raise DesktopError(LACKS) from None

    def shortcut(self, letter: str) -> Press:
        """Control and the key of a letter, in the layout in effect or else the first; or `DesktopError`."""
        group = self._groups[0]
        ways = self._table(group, caps_lock=False).get(keysyms.of_character(letter), [])
        control = self._key_of(_CONTROL_KEY, group)
        if control is None or not ways or len(ways[0]) > 1 or ways[0][0].holding:
            raise DesktopError("the keyboard lacks a key of the paste shortcut")
        return Press(ways[0][0].code, (control,))

    def _table(self, group: int, caps_lock: bool) -> dict[int, list[Way]]:
        """Every way to each keysym: fewest modifiers first, and dead keys last."""
        table: dict[int, list[Way]] = {}
        dead: dict[int, list[Way]] = {}
        held = [self._key_of(symbol, group) for symbol in (_SHIFT_KEY, keysyms.LEVEL3_SHIFT)]
        shift, level3 = (() if code is None else (code,) for code in held)
        for holding in dict.fromkeys(((), shift, level3, (*shift, *level3))):
            with self._state(group, caps_lock) as state:
                for code in holding:
                    self._lib.xkb_state_update_key(state, code + _EVDEV, _DOWN)
                for key in (code + _EVDEV for code in _BLOCK):
                    press = Press(key - _EVDEV, holding)
                    symbol = self._symbol(state, key)
                    if symbol is not None:
                        table.setdefault(symbol, []).append((press,))
                    composed = _DEAD.get(self._lib.xkb_state_key_get_one_sym(state, key))
                    if composed is not None:
                        way = (press, Press(_SPACE, ends=True))
                        dead.setdefault(keysyms.of_character(composed), []).append(way)
        for symbol, ways in dead.items():
            table.setdefault(symbol, []).extend(ways)
        return table

    def _symbol(self, state: int, key: int) -> int | None:
        """Return the canonical keysym that a key types now; None if it has none or depends on Num Lock."""
        symbol = self._lib.xkb_state_key_get_one_sym(state, key)
        if not symbol or keysyms.is_keypad(symbol):
            return None
        if symbol in (keysyms.RETURN, keysyms.TAB):
            return int(symbol)
        code = self._lib.xkb_state_key_get_utf32(state, key)
        return keysyms.of_character(chr(code)) if code >= 0x20 and code != 0x7F else None

    def _key_of(self, wanted: int, group: int) -> int | None:
        with self._state(group, caps_lock=False) as state:
            for key in (*_MODIFIER_KEYS, *range(_FIRST, _LAST + 1)):
                if self._lib.xkb_state_key_get_one_sym(state, key) == wanted:
                    return int(key) - _EVDEV
        return None

    @contextmanager
    def _state(self, group: int, caps_lock: bool) -> Iterator[int]:
        state = self._lib.xkb_state_new(self._keymap)
        try:
            lock = self._lib.xkb_keymap_mod_get_index(self._keymap, b"Lock")
            self._lib.xkb_state_update_mask(state, 0, 0, 1 << lock if caps_lock else 0, 0, 0, group)
            yield state
        finally:
            self._lib.xkb_state_unref(state)


def _in_all(tables: Sequence[dict[int, list[Way]]]) -> dict[int, Way]:
    """Return the keys that type the same in every table."""
    first, *others = tables
    found = {}
    for symbol, ways in first.items():
        for way in ways:
            if all(way in other.get(symbol, ()) for other in others):
                found[symbol] = way
                break
    return found


class _Names(ctypes.Structure):
    """xkb_rule_names."""

    _fields_ = [(name, ctypes.c_char_p) for name in ("rules", "model", "layout", "variant", "options")]


@cache
def _library() -> Any:
    try:
        library = ctypes.CDLL("libxkbcommon.so.0")
    except OSError:
        return None
    _declare(library)
    return library


def _declare(library: Any) -> None:
    pointer, u32, size = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_size_t
    functions: dict[str, tuple[Any, list[Any]]] = {
        "context_new": (pointer, [ctypes.c_int]),
        "context_unref": (None, [pointer]),
        "keymap_new_from_buffer": (pointer, [pointer, ctypes.c_char_p, size, ctypes.c_int, ctypes.c_int]),
        "keymap_unref": (None, [pointer]),
        "keymap_new_from_names": (pointer, [pointer, ctypes.POINTER(_Names), ctypes.c_int]),
        "keymap_num_layouts": (u32, [pointer]),
        "keymap_layout_get_name": (ctypes.c_char_p, [pointer, u32]),
        "keymap_mod_get_index": (u32, [pointer, ctypes.c_char_p]),
        "state_new": (pointer, [pointer]),
        "state_unref": (None, [pointer]),
        "state_update_mask": (ctypes.c_int, [pointer, *[u32] * 6]),
        "state_update_key": (ctypes.c_int, [pointer, u32, ctypes.c_int]),
        "state_key_get_one_sym": (u32, [pointer, u32]),
        "state_key_get_utf32": (u32, [pointer, u32]),
    }
    for name, (result, arguments) in functions.items():
        function = getattr(library, f"xkb_{name}")
        function.restype, function.argtypes = result, arguments
