"""What a delivery that was killed leaves behind, and how it is restored.

While a delivery runs, a note in a property of the root window says what it has changed. The
note outlives this process, though not the server. The next delivery undoes what it says, or
the daemon does when it starts.

Threat: every client of the display can write that property, or write an old note again. So a
note is signed, and of each borrowed key it holds a tag of the symbols that were put there. Only a
key that still gives those symbols is freed. Neither signature nor tag tells the symbols.
"""

from __future__ import annotations

import hmac
import secrets
import struct
from collections.abc import Mapping
from typing import NamedTuple

from novakey.desktop.x11.connection import Connection
from novakey.desktop.x11.held_keys import HeldKeys
from novakey.desktop.x11.keymap import NOTHING, Key, Pair
from novakey.desktop.x11.snapshot import Snapshot

MARK = "_NOVAKEY_DELIVERY"

_SIGNATURE = struct.Struct("=4I")
_MAX_NUMBERS = 4 + 1 + 4 * 248  # signature, modifiers, and two codes and tags for each key that there can be


class Note(NamedTuple):
    """The modifiers that were unlocked, and what was put on borrowed keys."""

    locked: int
    tags: frozenset[tuple[int, int]]  # (keycode, tag); two of a key that was about to change


class Notes:
    """Writes and reads notes signed with one key; without a key, with one of this process."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)

    def put(
        self,
        connection: Connection,
        locked: int,
        remapped: Mapping[int, Pair],
        new: Mapping[int, Pair] | None = None,
    ) -> None:
        """Note these unlocked modifiers and borrowed keys, and the `new` symbols that they are about to get.

        To be sent before anything is changed: a kill may come between.
        """
        numbers = [locked]
        for code, pair in sorted({*remapped.items(), *(new or {}).items()}):
            numbers += [code, self._tag(code, pair)]
        connection.remember(MARK, [*self._signature(numbers), *numbers])

    def take_off(self, connection: Connection) -> None:
        """Remove the note: all is as it was."""
        connection.remember(MARK, [])

    def read(self, value: list[int] | bytes | None) -> Note | None:
        """Return the note in a property's value; None where there is none of ours."""
        if not isinstance(value, list) or not 5 <= len(value) <= _MAX_NUMBERS:
            return None
        signature, numbers = value[:4], value[4:]
        if not hmac.compare_digest(_SIGNATURE.pack(*signature), _SIGNATURE.pack(*self._signature(numbers))):
            return None
        return Note(numbers[0], frozenset(zip(numbers[1::2], numbers[2::2], strict=True)))

    def recover(self, connection: Connection) -> None:
        """Undo what the note says; nothing where there is none of ours. To be called under a server grab.

        Keys that were held for the delivery's time come up, since it is not known whether they
        still should be down.
        """
        note = self.read(connection.property(connection.root.id, MARK))
        if note is None:
            return
        HeldKeys(connection, Snapshot(connection)).release_ours()
        keys = connection.keymap().keys
        ours = [code for code, tag in note.tags if code in keys and self._is_ours(code, keys[code], tag)]
        connection.put_on_keys(dict.fromkeys(ours, NOTHING))
        if not connection.keyboard_state().locked & note.locked:
            connection.set_locks(note.locked, note.locked, 0)
        self.take_off(connection)
        connection.sync()

    def _is_ours(self, code: int, key: Key, tag: int) -> bool:
        pair = key.pair
        return key.gives(pair) and self._tag(code, pair) == tag

    def _tag(self, code: int, pair: Pair) -> int:
        return self._digest(b"key", [code, *pair])[0]

    def _signature(self, numbers: list[int]) -> list[int]:
        return self._digest(b"note", numbers)

    def _digest(self, label: bytes, numbers: list[int]) -> list[int]:
        content = label + struct.pack(f"={len(numbers)}I", *numbers)
        return list(_SIGNATURE.unpack_from(hmac.digest(self._key, content, "sha256")))
