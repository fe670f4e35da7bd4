"""What a delivery that was killed leaves behind, and how it is put right.

While a delivery runs, a property of the root window says what it has changed. The
property outlives this process, though not the server. Whoever finds it later puts
it right: the next delivery, or the daemon when it starts.
"""

from __future__ import annotations

from collections.abc import Iterable

from novakey.desktop.x11.connection import Connection
from novakey.desktop.x11.held_keys import HeldKeys
from novakey.desktop.x11.keymap import NOTHING
from novakey.desktop.x11.snapshot import Glance

MARK = "_NOVAKEY_DELIVERY"


def put(connection: Connection, locked: int, codes: Iterable[int]) -> None:
    """These modifiers are unlocked meanwhile, and these keys borrowed. To be sent before it is done."""
    connection.remember(MARK, [locked, *sorted(codes)])


def take_off(connection: Connection) -> None:
    """All is as it was."""
    connection.remember(MARK, [])


def put_right(connection: Connection) -> None:
    """Undo what the mark says; nothing when there is none. To be called under a server grab.

    Keys that were held for the delivery's time come up, since it is not known whether they
    still should be down.
    """
    found = connection.property(connection.root.id, MARK)
    if not isinstance(found, list) or not found:
        return
    locked, *codes = found
    HeldKeys(connection, Glance(connection)).release_ours()
    keys = connection.keymap().keys
    connection.put_on_keys({code: NOTHING for code in codes if code in keys})
    if not connection.keyboard_state().locked & locked:
        connection.set_locks(locked, locked, 0)
    take_off(connection)
    connection.sync()
