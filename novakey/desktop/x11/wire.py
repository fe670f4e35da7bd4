"""Requests to the X server as bytes, and what their replies say. Pure: no socket.

python-xlib lacks XKB, and builds its own requests piece by piece, which is most of the time
of a short delivery. These are the few that a delivery needs. Numbers are in the byte
order of the machine, as the connection's setup says. X11 protocol, appendix B; The X Keyboard
Extension: Protocol Specification, 16.3; XTEST; X Input 1 and 2; X-Resource 1.2.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CORE_KEYBOARD = 0x100
KEY_PRESS, KEY_RELEASE = 2, 3
VIEWABLE = 2
POINTER_ROOT = 1

TWO_KEYS = 1 << 6  # an option of Sticky Keys: two keys at once switch them off

_SYMBOLS = 2
_TYPES_SYMBOLS_AND_MODIFIERS = 1 | _SYMBOLS | 4
_SLOW_OR_BOUNCE_KEYS = 2 | 4
_STICKY_KEYS = 8
_SLAVE_KEYBOARD = 4
_LOCAL_CLIENT_PID = 2
_KEY_CLASS = 0
_INPUT_OUTPUT = 1
_ASYNC = 1
_ALREADY_GRABBED, _FROZEN = 1, 4
_FAKE_KEY = struct.Struct("=BBHBB2xI24x")


def request(opcode: int, minor: int, body: bytes = b"") -> bytes:
    return struct.pack("=BBH", opcode, minor, 1 + len(body) // 4) + body


@dataclass(frozen=True)
class KeyboardState:
    """The state of the core keyboard: modifier bits by how they came to be, and the group in effect."""

    modifiers: int
    latched: int
    locked: int
    group: int

    @property
    def only_locked(self) -> bool:
        """Whether no modifier counts that is not locked."""
        return not self.latched and self.modifiers == self.locked


def xkb_use_extension(opcode: int) -> bytes:
    return request(opcode, 0, struct.pack("=HH", 1, 0))


def xkb_get_state(opcode: int) -> bytes:
    return request(opcode, 4, struct.pack("=HH", CORE_KEYBOARD, 0))


def keyboard_state(reply: bytes) -> KeyboardState:
    return KeyboardState(modifiers=reply[8], latched=reply[10], locked=reply[11], group=reply[12])


def xkb_latch_lock_state(opcode: int, affected: int, locked: int, latched: int) -> bytes:
    """Which of the affected modifiers are locked, and which modifiers are latched; the group stays."""
    body = struct.pack("=HBBBBBBHH", CORE_KEYBOARD, affected, locked, 0, 0, 0xFF, latched, 0, 0)
    return request(opcode, 5, body)


def xkb_get_controls(opcode: int) -> bytes:
    return request(opcode, 6, struct.pack("=HH", CORE_KEYBOARD, 0))


def rejects_quick_keys(reply: bytes) -> bool:
    """Whether an accessibility setting swallows keys that are short or soon repeated."""
    (enabled,) = struct.unpack_from("=I", reply, 56)
    return bool(enabled & _SLOW_OR_BOUNCE_KEYS)


def sticky_options(reply: bytes) -> int | None:
    """Return the options of Sticky Keys where they are on, else None."""
    (options,), (enabled,) = struct.unpack_from("=H", reply, 38), struct.unpack_from("=I", reply, 56)
    return options if enabled & _STICKY_KEYS else None


def xkb_set_sticky_options(opcode: int, options: int) -> bytes:
    """Set the options of Sticky Keys, and nothing else; what is on stays on."""
    body = struct.pack("=HBBBBHHHHBBH2xIII", CORE_KEYBOARD, *[0] * 10, options, 0, 0, _STICKY_KEYS)
    return request(opcode, 7, body + bytes(64))


def xkb_get_map(opcode: int, device: int = CORE_KEYBOARD) -> bytes:
    """Of all types, symbols and modifiers; `x11_keymap.parse` reads the reply."""
    return request(opcode, 8, struct.pack("=HHHHHHHHHHHH", device, _TYPES_SYMBOLS_AND_MODIFIERS, *[0] * 10))


def xkb_set_map(
    opcode: int, keycodes: tuple[int, int], first: int, count: int, symbols: int, wire: bytes
) -> bytes:
    """Set the symbols of a run of keys, and nothing else."""
    head = struct.pack("=HHH", CORE_KEYBOARD, _SYMBOLS, 0)
    body = struct.pack("=BBBBBBH18x", *keycodes, 0, 0, first, count, symbols)
    return request(opcode, 9, head + body + wire)


def fake_key(opcode: int, kind: int, keycode: int) -> bytes:
    """XTestFakeInput: a key of the XTEST keyboard, now."""
    return request(opcode, 2, struct.pack("=BB2xI24x", kind, keycode, 0))


def fake_keys(opcode: int, keys: Iterable[tuple[int, bool]], count: int) -> bytearray:
    """Return the same for many keys, down (true) or up. The text can be read from it, so wipe it."""
    run = bytearray(_FAKE_KEY.size * count)
    for at, (keycode, down) in enumerate(keys):
        kind = KEY_PRESS if down else KEY_RELEASE
        _FAKE_KEY.pack_into(run, at * _FAKE_KEY.size, opcode, 2, _FAKE_KEY.size // 4, kind, keycode, 0)
    return run


def fake_device_key(opcode: int, kind: int, keycode: int, device: int) -> bytes:
    """Return the same for an extension device; its number is the event's last byte."""
    return request(opcode, 2, struct.pack("=BB2xI23xB", kind, keycode, 0, device))


def query_device_state(opcode: int, device: int) -> bytes:
    return request(opcode, 30, struct.pack("=B3x", device))


def device_keys_down(reply: bytes) -> set[int]:
    offset = 32
    for _ in range(reply[8]):
        kind, length = reply[offset], reply[offset + 1]
        if kind == _KEY_CLASS:
            return _codes(reply[offset + 4 : offset + 36])
        offset += length
    return set()


def xi_query_devices(opcode: int) -> bytes:
    """All devices; XIQueryVersion must have been asked before."""
    return request(opcode, 48, struct.pack("=HH", 0, 0))


def keyboards(reply: bytes) -> list[tuple[int, str]]:
    """Return number and name of every keyboard behind the core keyboard."""
    found = []
    (count,) = struct.unpack_from("=H", reply, 8)
    offset = 32
    for _ in range(count):
        number, use, _, classes, length = struct.unpack_from("=HHHHH", reply, offset)
        name = reply[offset + 12 : offset + 12 + length]
        if use == _SLAVE_KEYBOARD:
            found.append((number, name.decode("utf-8", "replace")))
        offset += 12 + length + -length % 4
        for _ in range(classes):
            (size,) = struct.unpack_from("=H", reply, offset + 2)
            offset += 4 * size
    return found


def query_keymap() -> bytes:
    return request(44, 0)


def keys_down(reply: bytes) -> set[int]:
    return _codes(reply[8:40])


def _codes(bits: bytes) -> set[int]:
    if not any(bits):
        return set()
    return {code for code in range(8, 256) if bits[code >> 3] & 1 << (code & 7)}


def grab_server() -> bytes:
    return request(36, 0)


def ungrab_server() -> bytes:
    return request(37, 0)


def grab_keyboard(window: int) -> bytes:
    return request(31, 0, struct.pack("=IIBB2x", window, 0, _ASYNC, _ASYNC))


def is_grabbed_by_another(reply: bytes) -> bool:
    return reply[1] in (_ALREADY_GRABBED, _FROZEN)


def ungrab_keyboard() -> bytes:
    return request(32, 0, struct.pack("=I", 0))


def get_input_focus() -> bytes:
    return request(43, 0)


def focus_window(reply: bytes) -> int:
    """0 for none and `POINTER_ROOT` for the window under the pointer."""
    (window,) = struct.unpack_from("=I", reply, 8)
    return int(window)


def query_pointer(window: int) -> bytes:
    return request(38, 0, struct.pack("=I", window))


def child_under_pointer(reply: bytes) -> int:
    """Return the child window under the pointer, or 0."""
    (window,) = struct.unpack_from("=I", reply, 12)
    return int(window)


def query_tree(window: int) -> bytes:
    return request(15, 0, struct.pack("=I", window))


def parent(reply: bytes) -> int:
    (window,) = struct.unpack_from("=I", reply, 12)
    return int(window)


def children(reply: bytes) -> list[int]:
    (count,) = struct.unpack_from("=H", reply, 16)
    return list(struct.unpack_from(f"={count}I", reply, 32))


def get_window_attributes(window: int) -> bytes:
    return request(3, 0, struct.pack("=I", window))


def map_state(reply: bytes) -> int:
    return reply[26]


def is_shown_unmanaged(reply: bytes) -> bool:
    """Whether these attributes are those of a window on the screen that asks no window manager."""
    (kind,) = struct.unpack_from("=H", reply, 12)
    return kind == _INPUT_OUTPUT and reply[26] == VIEWABLE and bool(reply[27])


def get_property(window: int, atom: int) -> bytes:
    """Up to 64 KiB of a property of any type."""
    return request(20, 0, struct.pack("=IIIII", window, atom, 0, 0, 16384))


def property_value(reply: bytes) -> list[int] | bytes | None:
    """Text for a width of 8, else numbers; None when the property is not there."""
    width, count = reply[1], struct.unpack_from("=I", reply, 16)[0]
    if width == 8:
        return reply[32 : 32 + count]
    if width in (16, 32):
        return list(struct.unpack_from(f"={count}{'H' if width == 16 else 'I'}", reply, 32))
    return None


def property_numbers(reply: bytes) -> list[int]:
    """Return the same as numbers; none if the window put another type there."""
    value = property_value(reply)
    return value if isinstance(value, list) else []


def change_property(window: int, atom: int, kind: int, numbers: Sequence[int]) -> bytes:
    """Put numbers of 32 bits in the place of what was there."""
    head = struct.pack("=IIIB3xI", window, atom, kind, 32, len(numbers))
    return request(18, 0, head + struct.pack(f"={len(numbers)}I", *numbers))


def change_text_property(window: int, atom: int, kind: int, text: bytearray) -> bytearray:
    """Put a text in the place of what was there; the text is wiped, and so should the request be."""
    size = 24 + len(text) + -len(text) % 4
    request = bytearray(size)
    struct.pack_into("=BBHIIIB3xI", request, 0, 18, 0, size // 4, window, atom, kind, 8, len(text))
    request[24 : 24 + len(text)] = text
    text[:] = bytes(len(text))
    return request


def delete_property(window: int, atom: int) -> bytes:
    return request(19, 0, struct.pack("=II", window, atom))


def query_client_ids(opcode: int, window: int) -> bytes:
    """Whose a window is; with 0 for the window, of every connection."""
    return request(opcode, 4, struct.pack("=III", 1, window, _LOCAL_CLIENT_PID))


def client_pids(reply: bytes) -> dict[int, int]:
    """Return the process of each local connection, which the first number of its windows stands for."""
    found = {}
    (count,) = struct.unpack_from("=I", reply, 8)
    offset = 32
    for _ in range(count):
        client, mask, length = struct.unpack_from("=III", reply, offset)
        if mask == _LOCAL_CLIENT_PID and length >= 4:
            (found[client],) = struct.unpack_from("=I", reply, offset + 12)
        offset += 12 + length
    return found


def client_pid(reply: bytes) -> int | None:
    (count,) = struct.unpack_from("=I", reply, 8)
    if not count:
        return None
    length, pid = struct.unpack_from("=II", reply, 40)
    return int(pid) if length >= 4 else None
