"""Words that no page, comment or name of ours uses: a sentence with one of them hides who does what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Each with what to write in its place.
WORDS = {
    "nobody": "no phone, no program, no other user: say who",
    "whoever": "a person who, a program that",
    "whatever": "all that, any",
    "whichever": "the one that",
    "wherever": "where",
    "meanwhile": "while …, since, in between",
    "anew": "again",
    "mend": "correct, repair, replace",
}
FOUND = re.compile(rf"(?:\b|_)({'|'.join(WORDS)})(?:s|ed|ing|\b|_)", re.IGNORECASE)
# What people wrote elsewhere or earlier stays as it is.
NOT_OURS = ("CHANGELOG.md", "tests/vectors", "tests/fuzz/corpus", "tests/pages/test_words.py", "LICENSE")
PLACES = (
    "novakey",
    "tests",
    "docs",
    "conf",
    "packaging",
    "novakey.py",
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
)
TEXT = {".py", ".md", ".yaml", ".service", ".socket", ".plist", ".1", ".sh", ".toml", ""}


def files() -> list[Path]:
    """Return the text files of the tree, without those that tools keep in it."""
    every = [path for place in PLACES for path in [ROOT / place, *sorted((ROOT / place).rglob("*"))]]
    return [
        path
        for path in every
        if path.is_file()
        and path.suffix in TEXT
        and "__pycache__" not in path.parts
        and not str(path.relative_to(ROOT)).startswith(NOT_OURS)
    ]


@pytest.mark.parametrize("place", PLACES)
def test_no_sentence_has_a_word_that_we_do_not_use(place: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[1]} ({WORDS[match[1].lower()]})"
        for path in files()
        if path.relative_to(ROOT).parts[0] == place
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for match in FOUND.finditer(line)
    ]
    assert found == []


def test_the_search_finds_each_of_them_in_a_sentence_and_in_a_name() -> None:
    for word in WORDS:
        for text in (f"It is {word}.", f"test_{word}_x", word.title()):
            assert FOUND.search(text), text
    assert not FOUND.search("a command is recommended and amended")
