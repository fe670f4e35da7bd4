"""Keysyms and the characters they stand for (X Window System Protocol, appendix A).

A character can have several keysyms: U+0436 is both `Cyrillic_zhe` and
0x01000436. One of them is called canonical here, so that keysyms can be
compared: Latin-1 as it is, everything else as 0x01000000 plus the code point.

The tables cover the keysyms that letters of common layouts carry. One that is
missing costs speed and never correctness: its character is then borrowed.
"""

from __future__ import annotations

from collections.abc import Iterator

from novakey.secret import Secret

TAB = 0xFF09
RETURN = 0xFF0D
INSERT = 0xFF63
NUM_LOCK = 0xFF7F
LEVEL3_SHIFT = 0xFE03
LEVEL5_SHIFT = 0xFE11
SHIFTS = frozenset({0xFFE1, 0xFFE2})
CONTROLS = frozenset({0xFFE3, 0xFFE4})

# Modifiers that act while they are held. Caps_Lock, Shift_Lock and Num_Lock are not
# among them: pressing one of these again does not restore what was before, it toggles.
HELD_MODIFIERS = frozenset({*SHIFTS, *CONTROLS, *range(0xFFE7, 0xFFEF), LEVEL3_SHIFT, LEVEL5_SHIFT, 0xFF7E})
_KEYPAD = range(0xFF80, 0xFFBE)
_UNICODE = 0x01000000


def of_character(character: str) -> int:
    """Return the canonical keysym of one character; a tab and line ends are keys of their own."""
    if character in "\r\n":
        return RETURN
    if character == "\t":
        return TAB
    code = ord(character)
    return code if code < 0x100 else _UNICODE | code


def typed_characters(text: Secret) -> Iterator[str]:
    """Each character of a text that is a key of its own: a line end of two characters is one key.

    One by one, as a copy of the whole would stay in memory.
    """
    before = ""
    for character in text.characters():
        if (before, character) != ("\r", "\n"):
            yield character
        before = character


def is_keypad(keysym: int) -> bool:
    """Whether it is on the keypad, whose keys depend on Num Lock and on the toolkit's mood."""
    return keysym in _KEYPAD


def canonical(keysym: int) -> int:
    """Return one keysym for all keysyms of the same character, and any other as it is."""
    if _UNICODE < keysym < _UNICODE + 0x100:
        return keysym - _UNICODE
    return _LEGACY.get(keysym, keysym)


def _table() -> dict[int, int]:
    table = {
        0x13BC: "\u0152",  # OE, oe and Ydiaeresis of Latin-9
        0x13BD: "\u0153",
        0x13BE: "\u0178",
        0x20AC: "\u20ac",
        0x7D2: "\u03a3",  # the sigmas stand elsewhere than in ISO 8859-7
        0x7F2: "\u03c3",
        0x7F3: "\u03c2",
        0x6B0: "\u2116",
    }
    ranges = [
        (0x100, range(0xA1, 0x100), "iso8859-2"),
        (0x600, range(0xC0, 0x100), "koi8-r"),
        (0x700, [*range(0xC1, 0xD2), *range(0xD4, 0xDA)], "iso8859-7"),
        (0x700, [*range(0xE1, 0xF2), *range(0xF4, 0xFA)], "iso8859-7"),
        (0xC00, range(0xE0, 0xFB), "iso8859-8"),
    ]
    for base, octets, codec in ranges:
        for octet in octets:
            table.setdefault(base | octet, bytes([octet]).decode(codec, "replace"))
    for offset, letter in enumerate("ђѓёєѕіїјљњћќґўџ"):
        table[0x6A1 + offset] = letter
        table[0x6B1 + offset] = letter.upper()
    return {keysym: of_character(letter) for keysym, letter in table.items() if letter != "\ufffd"}


_LEGACY = _table()
