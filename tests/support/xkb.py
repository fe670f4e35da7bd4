"""Requests of the X keyboard extension that only tests make."""

from __future__ import annotations

from Xlib.protocol import rq

from novakey.desktop.x11.connection import Connection


class _LockGroup(rq.Request):
    """XkbLatchLockState, of which python-xlib knows nothing and the backend needs another part."""

    _request = rq.Struct(
        *(rq.Card8("opcode"), rq.Opcode(5), rq.RequestLength(), rq.Card16("device"), rq.Pad(2)),
        *(rq.Bool("lock"), rq.Card8("group"), rq.Pad(6)),
    )


def lock_group(connection: Connection, group: int) -> None:
    opcode = connection.display.query_extension("XKEYBOARD").major_opcode
    _LockGroup(display=connection.display.display, opcode=opcode, device=0x100, lock=True, group=group)
    connection.sync()
