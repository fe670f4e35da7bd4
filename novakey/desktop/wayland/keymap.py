"""Our own keyboard maps, in the text format of libxkbcommon (XKB text format V1).

Threat: a compositor gives the map of the keyboard in use to every client that
listens to keys, whether it has the focus or not. A map made of a secret's
characters would tell them all, in the order of the secret. So ASCII, which is
most secrets, always has the same map, that of a US keyboard; any other character
comes with the whole block of `BLOCK` characters that it stands in, in the order of
their numbers. What a listener learns is which blocks a text draws from.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

BLOCK = 32
SHIFT, CONTROL = 1, 4  # the bits of the real modifiers

# Evdev codes (linux/input-event-codes.h) of the keys as they lie on a US keyboard: plain and with Shift.
_ROWS = (
    (2, "1234567890-=", "!@#$%^&*()_+"),
    (16, "qwertyuiop[]", "QWERTYUIOP{}"),
    (30, "asdfghjkl;'`", 'ASDFGHJKL:"~'),
    (43, "\\zxcvbnm,./", "|ZXCVBNM<>?"),
    (57, " ", " "),
)
_RETURN, _TAB = 28, 15
_SHIFT_KEY, _CONTROL_KEY = 42, 29
# Codes without a printed character. None is a key by whose code programs move, delete, lock or end something
# (Escape, function keys, the keypad, arrows, power), and X11 programs know no code above 247.
_SPARE = (84, 85, 86, *range(89, 96), *range(128, 142), *range(144, 248))
BLOCKS = len(_SPARE) // BLOCK


@dataclass(frozen=True)
class Stroke:
    """One key: its evdev code and the modifiers that are down."""

    code: int
    modifiers: int = 0


@dataclass(frozen=True)
class Keymap:
    """A US keyboard with some blocks of other characters on spare keys."""

    blocks: tuple[int, ...] = ()

    def stroke(self, character: str) -> Stroke | None:
        """How a character is typed; None when this map lacks it."""
        if character in _US:
            return _US[character]
        block, place = divmod(ord(character), BLOCK)
        if block not in self.blocks:
            return None
        return Stroke(_SPARE[self.blocks.index(block) * BLOCK + place])

    def text(self) -> str:
        """Return the map as every client of the compositor reads it."""
        keys = {_SHIFT_KEY: ["Shift_L"], _CONTROL_KEY: ["Control_L"], _RETURN: ["Return"], _TAB: ["Tab"]}
        for first, plain, shifted in _ROWS:
            for offset, pair in enumerate(zip(plain, shifted, strict=True)):
                keys[first + offset] = [_name(ord(character)) for character in pair]
        for place, code in enumerate(_SPARE[: len(self.blocks) * BLOCK]):
            block, offset = self.blocks[place // BLOCK], place % BLOCK
            keys[code] = [_name(block * BLOCK + offset)]
        names = "".join(f"<K{code}>={code + 8};" for code in keys)
        symbols = "".join(_key(code, levels) for code, levels in keys.items())
        return _FRAME % (names, symbols)


def next_keymap(text: Iterable[str]) -> Keymap:
    """Return the map for the beginning of `text`: as far as `BLOCKS` blocks go."""
    blocks: set[int] = set()
    for character in text:
        block = ord(character) // BLOCK
        if character in _US or block in blocks:
            continue
        if len(blocks) == BLOCKS:
            break
        blocks.add(block)
    return Keymap(tuple(sorted(blocks)))


def sealed_memory(data: bytes) -> int:
    """Return a descriptor of memory without a name in any folder, sealed against changes."""
    handle = os.memfd_create("keymap", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.truncate(handle, len(data))
        os.pwrite(handle, data, 0)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(handle, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _us() -> Iterator[tuple[str, Stroke]]:
    for first, plain, shifted in _ROWS:
        for offset, (lower, upper) in enumerate(zip(plain, shifted, strict=True)):
            yield upper, Stroke(first + offset, SHIFT)
            yield lower, Stroke(first + offset)
    yield "\t", Stroke(_TAB)
    yield from ((end, Stroke(_RETURN)) for end in "\r\n")


def _name(code: int) -> str:
    """Return a keysym by its character; control characters have none that a block should type."""
    return "NoSymbol" if code < 0x20 or 0x7F <= code < 0xA0 else f"U{code:04X}"


def _key(code: int, levels: list[str]) -> str:
    kind = "TWO_LEVEL" if len(levels) == 2 else "ONE_LEVEL"
    return f'key <K{code}> {{type="{kind}",[{",".join(levels)}]}};'


_US = dict(_us())

# Complete in itself: an include would be looked for on every client's disk, a sandbox's too. The virtual
# modifiers are those that toolkits ask for by name; nothing here makes one of them go down.
_FRAME = f"""xkb_keymap {{
xkb_keycodes "novakey" {{ minimum=8; maximum=255; %s }};
xkb_types "novakey" {{
virtual_modifiers NumLock,Alt,LevelThree,LevelFive,Meta,Super,Hyper;
type "ONE_LEVEL" {{ modifiers=none; level_name[Level1]="Any"; }};
type "TWO_LEVEL" {{
modifiers=Shift; map[Shift]=Level2; level_name[Level1]="Base"; level_name[Level2]="Shift";
}};
}};
xkb_compatibility "novakey" {{
virtual_modifiers NumLock,Alt,LevelThree,LevelFive,Meta,Super,Hyper;
interpret.useModMapMods=AnyLevel;
interpret.repeat=False;
}};
xkb_symbols "novakey" {{
name[group1]="NovaKey";
%s
modifier_map Shift {{ <K{_SHIFT_KEY}> }};
modifier_map Control {{ <K{_CONTROL_KEY}> }};
}};
}};
"""
