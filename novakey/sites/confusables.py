"""Letters that look alike, and the scripts that a name is written in (UTS 39, sections 4 and 5).

The table holds what passes for Latin in an address bar: Cyrillic, Greek and Armenian letters, digits, and
pairs of letters. A Latin letter with anything added to it counts as the letter, by its Unicode name. It is
a subset: a letter that is missing here is told apart, and a name that mixes scripts is noticed without it.
"""

from __future__ import annotations

import re
import unicodedata

_CYRILLIC = {
    "\u0430": "a", "\u0431": "6", "\u0432": "b", "\u0433": "r", "\u0435": "e", "\u0437": "3", "\u043a": "k",
    "\u043c": "m", "\u043d": "h", "\u043e": "o", "\u043f": "n", "\u0440": "p", "\u0441": "c", "\u0442": "t",
    "\u0443": "y", "\u0445": "x", "\u0448": "w", "\u0449": "w", "\u044c": "b", "\u0451": "e", "\u0455": "s",
    "\u0456": "i", "\u0457": "i", "\u0458": "j", "\u0461": "w", "\u0475": "v", "\u0491": "r", "\u049b": "k",
    "\u04a3": "h", "\u04af": "y", "\u04bb": "h", "\u04bd": "e", "\u04cf": "l", "\u0501": "d", "\u050d": "g",
    "\u051b": "q", "\u051d": "w",
}  # fmt: skip
_GREEK = {
    "\u03b1": "a", "\u03b2": "b", "\u03b3": "y", "\u03b5": "e", "\u03b7": "n", "\u03b9": "i", "\u03ba": "k",
    "\u03bc": "u", "\u03bd": "v", "\u03bf": "o", "\u03c1": "p", "\u03c3": "o", "\u03c4": "t", "\u03c5": "u",
    "\u03c7": "x", "\u03c9": "w", "\u03f2": "c", "\u03f3": "j", "\u03b6": "z",
}  # fmt: skip
_ARMENIAN = {
    "\u0561": "w", "\u0563": "q", "\u0566": "q", "\u0570": "h", "\u0578": "n", "\u057d": "u", "\u0581": "g",
    "\u0584": "f", "\u0585": "o", "\u0575": "j", "\u0582": "i", "\u056c": "l",
}  # fmt: skip
_OTHER = {
    "\u0131": "i", "\u0269": "i", "\u0261": "g", "\u0251": "a", "\u00df": "b", "\u028b": "v", "\u1d04": "c",
    "\u1d0f": "o", "\u1d1c": "u", "\u1d20": "v", "\u1d21": "w", "\u1d22": "z", "\u01c0": "l", "\u04c0": "l",
    "\u00e6": "ae", "\u0153": "oe", "\u00f0": "o", "\u00fe": "p", "\u03f8": "p", "\u0268": "i", "\u30fc": "-",
    "\u4e00": "-", "\u30ce": "/", "\u4e36": ".", "\u0f0b": ".", "\u05d5": "l", "\u05df": "l", "\u05e1": "o",
    "\u0665": "o", "\u0647": "o", "\u0d20": "o", "\u101d": "o", "\u0966": "o", "\u0ed0": "o", "\u0c66": "o",
}  # fmt: skip
_LETTERS = str.maketrans({**_CYRILLIC, **_GREEK, **_ARMENIAN, **_OTHER})
# What one eye takes for another in ASCII. Digits first: 1 and i become the letter l.
_ASCII = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s", "3": "e", "6": "b", "8": "b", "9": "g"})
_PAIRS = (("rn", "m"), ("vv", "w"), ("cl", "d"), ("nn", "m"), ("cj", "g"))
_LATIN = re.compile(r"LATIN (?:SMALL |CAPITAL )?LETTER (?:DOTLESS |OPEN )?([A-Z])\b")

# Japanese and Korean are written in several scripts, and with Latin among them ("Highly Restrictive").
_TOGETHER = (
    frozenset({"LATIN", "CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}),
    frozenset({"LATIN", "CJK", "BOPOMOFO"}),
    frozenset({"LATIN", "CJK", "HANGUL"}),
)
_OWN = frozenset({"CYRILLIC", "GREEK", "ARMENIAN"})  # whole words of these can pass for Latin ones


def skeleton(text: str) -> str:
    """Return what two names share that a person could take for each other."""
    plain = latin(text).translate(_ASCII)
    for pair, letter in _PAIRS:
        plain = plain.replace(pair, letter)
    return plain


def latin(text: str) -> str:
    """Return the name in the ASCII letters that it looks like, as far as it does."""
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_LETTERS)
    parts = unicodedata.normalize("NFKD", folded)
    return "".join(_base(char) for char in parts if not unicodedata.combining(char)).translate(_LETTERS)


def scripts(label: str) -> set[str]:
    """Return the scripts of the letters of one label, as Unicode names them."""
    found = set()
    for char in label:
        if unicodedata.category(char).startswith(("L", "M")):
            found.add(unicodedata.name(char, "UNKNOWN").split(" ")[0])
    return found - {"COMBINING"}


def mixes_scripts(label: str) -> bool:
    """Whether one label has letters of scripts that no language writes together."""
    found = scripts(label)
    return len(found) > 1 and not any(found <= together for together in _TOGETHER)


def passes_for_latin(label: str) -> bool:
    """Whether a label of another script reads as a Latin one as a whole."""
    found = scripts(label)
    return len(found) == 1 and found <= _OWN and len(label) > 1 and latin(label).isascii()


def _base(char: str) -> str:
    """Return the letter below what was added to it, as a stroke or a hook, that is no mark of its own."""
    if char.isascii():
        return char
    found = _LATIN.match(unicodedata.name(char, ""))
    return found[1].lower() if found else char
