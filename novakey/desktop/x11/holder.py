"""Who holds the keyboard: a password prompt or a remote desktop may hold it for its own window.

The server does not tell who holds it. So a key without a symbol is pressed, and the RECORD extension
says which program got it (RECORD Extension Protocol Specification, sections 2 and 3). That happens under
the grab of the server, so the same program gets the text. The record ends before the first key of the text.

A program also holds the keyboard for its menus, which would take a text for shortcuts. So nothing is typed
while it has another window on the screen that no window manager has placed.
"""

from __future__ import annotations

from novakey.desktop.x11 import record, wire
from novakey.desktop.x11.connection import RECORD, Connection, ServerError
from novakey.desktop.x11.display import GuardedDisplay
from novakey.desktop.x11.focus import Target

_MOST = 1 << 20  # bytes of one record; a keyboard's few events have some hundred


class Holder:
    """Finds out who holds the keyboard, over a connection of its own. A record is made for each step."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.listens = False
        self._display = GuardedDisplay(connection.place.display)
        try:
            found = self._display.query_extension(RECORD)
            if found is None or not found.present:
                raise ServerError(f"the x server has no {RECORD} extension")
            self._opcode = found.major_opcode
            self._context = self._display.display.allocate_resource_id()
            self._display.sync()
            self._came = bytearray()
            self._socket = self._display.display.socket
            self._socket.sendall(record.create_context(self._opcode, self._context))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the connection, and the record with it."""
        self._display.close()

    def listen(self) -> None:
        """Begin a record. Not to be called under a server grab, in which only we are served."""
        self._total = 0
        self._socket.sendall(record.enable_context(self._opcode, self._context))
        while self._next()[0] != record.BEGINS:
            pass
        self.listens = True

    def clients(self, keycode: int) -> set[int]:
        """Press a key, end the record, and return the clients that were given the key."""
        self._connection.press(keycode)
        self._connection.release(keycode)
        return {client for client, events in self.end() if keycode in record.keys(events)}

    def end(self) -> list[tuple[int, bytes]]:
        """End the record before keys are pressed that it should not hold; each client and its events."""
        self._connection.tell(record.disable_context(self._opcode, self._context))
        self._connection.sync()
        self.listens = False
        found = []
        while (packet := self._next())[0] != record.ENDS:
            found.append(packet[1:])
        return found

    def _next(self) -> tuple[int, int, bytes]:
        """Return category, client and events of the next part of the record."""
        while (size := record.size(self._came)) == 0:
            part = self._socket.recv(_MOST)
            self._came += part
            self._total += len(part)
            if not part or self._total > _MOST:  # a flood of keys must not hold the loop
                raise ServerError("the x server ended its record")
        packet = bytes(self._came[:size])
        self._came[:size] = b""
        return record.part(packet)


def has_menu(connection: Connection, target: Target) -> bool:
    """Return whether the target's program shows a further window that no window manager has placed."""
    client = connection.client_of(target.window)
    tree = connection.ask(wire.query_tree(connection.root.id))
    others = [child for child in wire.children(tree.raw) if connection.client_of(child) == client]
    asked = [connection.ask(wire.get_window_attributes(other)) for other in others if other != target.top]
    return any(wire.is_shown_unmanaged(reply.raw) for reply in asked)
