"""From keysyms to keys: how a text is typed on the keyboard map that is there now.

Pure: the map comes as the bytes of an XkbGetMap reply (The X Keyboard
Extension: Protocol Specification, 16.3.6 and appendix D), the answer is keys
to press and keys to borrow.

XKB in one paragraph: a key has up to four groups (layouts) and in each a row
of symbols (levels). The type of the group says which modifiers choose which
level. The group in effect is brought into the key's range by wrapping,
clamping or redirecting. A core map shows only a flattened part of that, too
little to be sure which character a key will give.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import takewhile

from novakey.desktop import keysyms

SHIFT, LOCK, CONTROL, MOD1 = 1, 2, 4, 8

# The keys that keyboards have. Other keys have symbols too, as 187 has a parenthesis, but a program that
# looks at the position of a key does not know them.
_REAL = frozenset({*range(10, 22), *range(23, 62), 65, 94, 97, 108})

Pair = tuple[int, int]
"""What a borrowed key gives, without Shift and with it. The same, where there are keys enough."""

NOTHING: Pair = (0, 0)


class UnreachableError(Exception):
    """The layout lacks a character and no key is free to be borrowed."""


@dataclass(frozen=True)
class KeyType:
    """Which modifiers choose which level; modifiers outside the mask do not matter."""

    mask: int
    entries: tuple[tuple[int, int], ...]  # (modifiers, level)

    def level(self, modifiers: int) -> int:
        """Return the level under these modifiers."""
        wanted = modifiers & self.mask
        return next((level for mods, level in self.entries if mods == wanted), 0)


@dataclass(frozen=True)
class Key:
    """The groups of a key, each a type and its symbols; without groups the key is free."""

    groups: tuple[tuple[KeyType, tuple[int, ...]], ...]
    info: int  # its top two bits: what to do with a group out of range
    wire: bytes = b""  # its description in the reply, to be sent back as it came

    def row(self, group: int) -> tuple[KeyType, tuple[int, ...]] | None:
        """Type and symbols in a group (XKB specification, 7.2.2)."""
        count = len(self.groups)
        if not count:
            return None
        if group >= count:
            if self.info & 0x40:  # clamp
                group = count - 1
            elif self.info & 0x80:  # redirect
                group = (self.info >> 4) & 3
                group = group if group < count else 0
            else:
                group %= count
        return self.groups[group]

    def symbol(self, group: int, modifiers: int) -> int:
        """Return the keysym that a press gives; 0 for none."""
        row = self.row(group)
        if row is None:
            return 0
        kind, symbols = row
        level = kind.level(modifiers)
        return symbols[level] if level < len(symbols) else 0

    @cached_property
    def symbols(self) -> frozenset[int]:
        """Every keysym on it."""
        return frozenset(symbol for _, row in self.groups for symbol in row if symbol)

    @property
    def pair(self) -> Pair:
        """What it gives without Shift and with it, in the first group."""
        return self.symbol(0, 0), self.symbol(0, SHIFT)

    def gives(self, pair: Pair) -> bool:
        """Whether it is borrowed for these and gives nothing else."""
        return self.pair == pair and self.symbols == set(pair)


@dataclass(frozen=True)
class Keymap:
    """The keyboard map of the server: keys by keycode, and the modifiers that keys set."""

    keys: dict[int, Key]
    modifiers: dict[int, int]
    # What `Layout.strokes` has found out about it.
    tables: dict[object, dict[int, Stroke]] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def free(self) -> tuple[int, ...]:
        """Keycodes without any symbol and modifier: these can be borrowed."""
        return tuple(
            code for code, key in self.keys.items() if not key.symbols and not self.modifiers.get(code)
        )

    def bits_of(self, keysym: int) -> int:
        """Return the modifiers that keys with this keysym set."""
        bits = 0
        for code, modifiers in self.modifiers.items():
            if code in self.keys and keysym in self.keys[code].symbols:
                bits |= modifiers
        return bits

    def unused_modifier(self) -> int:
        """Return a modifier bit that no key sets, or 0. It is never Shift, Lock or Control."""
        taken = 0
        for bits in self.modifiers.values():
            taken |= bits
        return next((bit for bit in (0x20, 0x80, 0x40, 0x10, MOD1) if not bit & taken), 0)


@dataclass(frozen=True)
class Stroke:
    """A key pressed while these modifier keys are held."""

    keycode: int
    holding: tuple[int, ...] = ()

    @property
    def is_real(self) -> bool:
        """Whether a keyboard has all of these keys."""
        return _REAL.issuperset((self.keycode, *self.holding))


@dataclass(frozen=True)
class Batch:
    """The strokes for the first keysyms of a text, and the keysyms that borrowed keys need for them."""

    strokes: tuple[Stroke, ...]
    borrowed: dict[int, Pair]


class Layout:
    """What can be typed on a map in one group, while `residual` modifiers are locked."""

    def __init__(self, keymap: Keymap, group: int, residual: int, without: Iterable[int] = ()) -> None:
        self._keymap = keymap
        self._group = group
        self._residual = residual
        self._without = frozenset(without)

    @property
    def real(self) -> dict[int, Stroke]:
        """The strokes of keys that keyboards have."""
        return {symbol: stroke for symbol, stroke in self.strokes.items() if stroke.is_real}

    @property
    def strokes(self) -> dict[int, Stroke]:
        """The easiest stroke for each canonical keysym."""
        key = (self._group, self._residual, self._without)
        if key not in self._keymap.tables:
            self._keymap.tables[key] = self._find_strokes()
        return self._keymap.tables[key]

    def _find_strokes(self) -> dict[int, Stroke]:
        found: dict[int, Stroke] = {}
        keys = self._keymap.keys
        # Every way on real keys before any other, also where another key gives a sign without Shift.
        for codes in (keys.keys() & _REAL, keys.keys() - _REAL):
            for holding, bits in self._chords():
                for code in sorted(codes):
                    self._find_stroke(found, Stroke(code, holding), self._residual | bits)
        return found

    def _find_stroke(self, found: dict[int, Stroke], stroke: Stroke, modifiers: int) -> None:
        key = self._keymap.keys[stroke.keycode]
        row = key.row(self._group)
        if row is None or stroke.keycode in self._without or any(map(keysyms.is_keypad, row[1])):
            return
        symbol = key.symbol(self._group, modifiers)
        if symbol:
            found.setdefault(keysyms.canonical(symbol), stroke)

    def symbol(self, code: int) -> int:
        """Return the keysym that a key gives by itself; 0 for none."""
        key = self._keymap.keys.get(code)
        return key.symbol(self._group, 0) if key else 0

    @property
    def shift(self) -> int | None:
        """The key to hold for the second of a pair."""
        key = self.key_of(keysyms.SHIFTS, SHIFT)
        return key[0] if key else None

    def key_of(self, wanted: Iterable[int], allowed: int = 0xFF) -> tuple[int, int] | None:
        """Return the first key that gives one of these keysyms by itself, and the modifiers it sets.

        The modifier map names one key of a modifier, as 92 for AltGr. Another key with the same keysym sets
        the same modifier, and it may be the one that a keyboard has.
        """
        wanted = frozenset(wanted)
        for code in sorted(self._keymap.keys, key=lambda code: (code not in _REAL, code)):
            symbol = self.symbol(code)
            if symbol in wanted:
                bits = self._keymap.modifiers.get(code) or self._keymap.bits_of(symbol)
                if bits and not bits & ~allowed:
                    return code, bits
        return None

    def _chords(self) -> list[tuple[tuple[int, ...], int]]:
        """Yield the modifier keys to hold, easiest first. Level 5 and beyond is left to borrowing."""
        chords: list[tuple[tuple[int, ...], int]] = [((), 0)]
        shift = self.key_of(keysyms.SHIFTS, SHIFT)
        # A third-level key that also sets Control or Alt would make shortcuts of the text.
        third = self.key_of({keysyms.LEVEL3_SHIFT}, 0xFF & ~(SHIFT | LOCK | CONTROL | MOD1))
        if shift:
            chords.append(((shift[0],), shift[1]))
        if third:
            chords.append(((third[0],), third[1]))
        if shift and third:
            # AltGr first: with Shift held it may be another key, the other way round it is not.
            chords.append(((third[0], shift[0]), third[1] | shift[1]))
        return chords


def next_batch(wanted: Sequence[int], layout: Layout, free: Sequence[int]) -> Batch:
    """As much of the text as the free keys allow: all of it, or up to where they run out.

    `UnreachableError` when some of it can never be typed: then nothing is.
    """
    table = layout.strokes
    missing = list(dict.fromkeys(symbol for symbol in wanted if symbol not in table))
    if missing and not free:
        raise UnreachableError
    first, shift = missing[: len(free)], layout.shift
    # A key that gives the same with Shift can go wrong in fewer ways: so pairs only where keys lack.
    second = missing[len(free) : 2 * len(free)] if shift else []
    remapped = {symbol: Stroke(code) for symbol, code in zip(first, free)}  # noqa: B905  # free ones are left
    remapped |= {symbol: Stroke(code, (shift,)) for symbol, code in zip(second, free) if shift}  # noqa: B905
    reach = table | remapped
    strokes = tuple(reach[symbol] for symbol in takewhile(reach.__contains__, wanted))
    pairs = zip(first, [*second, *first[len(second) :]], strict=True)
    return Batch(strokes, dict(zip(free, pairs)))  # noqa: B905


@dataclass(frozen=True)
class Change:
    """A run of keys as XkbSetMap takes them (16.3.7): some changed, those between as they were."""

    first: int
    count: int
    symbols: int
    wire: bytes


def change(keymap: Keymap, pairs: dict[int, Pair]) -> Change:
    """Put a pair of keysyms on each of these keys, for every group of the keyboard; `NOTHING` frees a key.

    A key gets one group with both levels of the type that XKB reserves as the second,
    TWO_LEVEL, so a client without XKB, which would make up a capital letter for a missing
    second level, sees one.
    """
    first, last = min(pairs), max(pairs)
    wires = []
    for code in range(first, last + 1):
        wire = keymap.keys[code].wire
        if code in pairs:
            pair = pairs[code]
            wire = bytes(8) if pair == NOTHING else struct.pack("=4sBBHII", b"\1\1\1\1", 1, 2, 2, *pair)
        wires.append(wire)
    data = b"".join(wires)
    return Change(first, len(wires), (len(data) - 8 * len(wires)) // 4, data)


def parse_again(reply: bytes) -> Keymap:
    """Parse as `parse` does, and keep the last result.

    It is for a map without borrowed keys only, because those hold characters of a text.
    """
    return _kept(reply[8:])  # before that it counts the connection's requests


@lru_cache(maxsize=1)
def _kept(rest: bytes) -> Keymap:
    return parse(bytes(8) + rest)


def parse(reply: bytes) -> Keymap:
    """Return the map in an XkbGetMap reply that holds types, symbols and the modifier map, all of them."""
    n_types, first_key = reply[15], reply[17]
    n_keys, n_modifiers = reply[20], reply[33]
    types, offset = _parse_types(reply, 40, n_types)
    keys: dict[int, Key] = {}
    for code in range(first_key, first_key + n_keys):
        kinds, info = reply[offset : offset + 4], reply[offset + 4]
        width, count = struct.unpack_from("=BH", reply, offset + 5)
        symbols = struct.unpack_from(f"={count}I", reply, offset + 8)
        wire = reply[offset : offset + 8 + 4 * count]
        offset += len(wire)
        groups = [(types[kinds[g]], symbols[g * width : (g + 1) * width]) for g in range(info & 0x0F)]
        keys[code] = Key(tuple(groups), info, wire)
    modifiers = dict(struct.unpack_from("BB", reply, offset + 2 * index) for index in range(n_modifiers))
    return Keymap(keys, modifiers)


def _parse_types(reply: bytes, offset: int, count: int) -> tuple[list[KeyType], int]:
    types = []
    for _ in range(count):
        mask, n_entries, preserves = reply[offset], reply[offset + 5], reply[offset + 6]
        offset += 8
        rows = [struct.unpack_from("BBBB", reply, offset + 8 * index) for index in range(n_entries)]
        # An inactive entry names a virtual modifier that no key sets: it never matches.
        types.append(KeyType(mask, tuple((mods, level) for active, mods, level, _ in rows if active)))
        offset += 8 * n_entries + (4 * n_entries if preserves else 0)
    return types, offset
