"""Random secrets of many scripts, for tests that say how they differ and never what they are."""

from __future__ import annotations

import random
from collections.abc import Sequence

ASCII = range(0x20, 0x7F)
LATIN_1 = [code for code in range(0xA1, 0x100) if code != 0xAD]  # a soft hyphen is not shown by everybody
LATIN_2 = [ord(letter) for letter in bytes(range(0xA1, 0x100)).decode("iso8859-2") if ord(letter) != 0xAD]
GREEK: Sequence[int] = [*range(0x391, 0x3A2), *range(0x3A3, 0x3CA)]
CYRILLIC = range(0x410, 0x450)
HEBREW = range(0x5D0, 0x5EB)
ARABIC = [*range(0x621, 0x63B), *range(0x641, 0x64B)]
CJK = range(0x4E00, 0x9FA6)
EMOJI = range(0x1F600, 0x1F640)
COMBINING = [*range(0x300, 0x315), *range(0x323, 0x329)]

COMMON = (ASCII, LATIN_1, GREEK, CYRILLIC, CJK, EMOJI)
ALL = (*COMMON, LATIN_2, HEBREW, ARABIC, COMBINING)


def random_secret(rng: random.Random, scripts: Sequence[Sequence[int]] = COMMON, different: int = 30) -> str:
    """1 to 256 characters, of up to so many different ones from some of the scripts."""
    some = rng.sample(scripts, rng.randint(1, len(scripts)))
    letters = [chr(rng.choice(rng.choice(some))) for _ in range(rng.randint(1, different))]
    return "".join(rng.choices(letters, k=rng.randint(1, 256)))
