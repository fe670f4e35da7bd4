"""What a secret may consist of before a single key is typed."""

from __future__ import annotations

from novakey.secret import Secret

# C0, DEL and C1, which are all of Unicode's category Cc for ever, and the separators of lines and paragraphs.
_CONTROLS = frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)))


class UnsafeTextError(Exception):
    """The text must not be typed. Says why without quoting it."""


def check(secret: Secret, max_characters: int, allow_newlines: bool, allow_tabs: bool) -> None:
    """Raise `UnsafeTextError` unless the secret is safe text of at most `max_characters`.

    A control character is a command to the focused program: a line end submits
    a form or runs a shell line, an escape starts a terminal sequence.
    """
    count = 0
    try:
        for character in secret.characters():
            count += 1
            _check_character(character, allow_newlines, allow_tabs)
    except UnicodeDecodeError:
        raise UnsafeTextError("the text is not UTF-8") from None  # the error would quote it
    if not count:
        raise UnsafeTextError("the text is empty")
    if count > max_characters:
        raise UnsafeTextError(f"the text has {count} characters, and max_inject_len is {max_characters}")


def _check_character(character: str, allow_newlines: bool, allow_tabs: bool) -> None:
    if character in "\r\n":
        if not allow_newlines:
            raise UnsafeTextError("the text holds a line end, and allow_newlines is off")
    elif character == "\t":
        if not allow_tabs:
            raise UnsafeTextError("the text holds a tab, and allow_tabs is off")
    elif character in _CONTROLS:
        raise UnsafeTextError("the text holds a control character")
