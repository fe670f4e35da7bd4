"""When two ids or names count as one: a person must not take one phone for another.

Ids and names are one space. They are compared by a skeleton (UTS 39, section 4):
NFKC, no case, and one letter for those that look alike. The table holds ASCII's
own look-alikes, and the Cyrillic and Greek letters that pass for Latin ones in
either case. It is a subset: a letter that is missing here is told apart.
"""

from __future__ import annotations

import unicodedata

# Both cases count, because case is dropped: the capital of U+0432 looks like B, so U+0432 becomes b too.
_CYRILLIC = {
    "\u0430": "a", "\u0432": "b", "\u0435": "e", "\u043a": "k", "\u043c": "m", "\u043d": "h", "\u043e": "o",
    "\u0440": "p", "\u0441": "c", "\u0442": "t", "\u0443": "y", "\u0445": "x", "\u0456": "l", "\u0458": "j",
    "\u0455": "s", "\u0501": "d", "\u04bb": "h", "\u04cf": "l", "\u051b": "q", "\u051d": "w", "\u0433": "r",
    "\u043f": "n",
}  # fmt: skip
_GREEK = {
    "\u03b1": "a", "\u03b2": "b", "\u03b5": "e", "\u03b6": "z", "\u03b7": "h", "\u03b9": "l", "\u03ba": "k",
    "\u03bc": "m", "\u03bd": "n", "\u03bf": "o", "\u03c1": "p", "\u03c4": "t", "\u03c5": "y", "\u03c7": "x",
}  # fmt: skip
_LATIN = {"0": "o", "1": "l", "i": "l", "|": "l", "\u0131": "l", "\u0269": "l", "\u0261": "g", "\u0251": "a"}
_MARKS = {
    **dict.fromkeys("\u2018\u2019\u02bc\u00b4`", "'"),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
}
_LOOKS_LIKE = str.maketrans({**_CYRILLIC, **_GREEK, **_LATIN, **_MARKS})
# Characters that print and show nothing: joiners, Hangul fillers, variation selectors.
_BLANK = dict.fromkeys(
    [0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10)]
)


def skeleton(text: str) -> str:
    """Return what two texts share that a person could take for each other."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    same = folded.translate(_BLANK).translate(_LOOKS_LIKE)
    return " ".join(same.split(" ")).strip()
