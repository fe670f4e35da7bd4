"""Our keyboard maps as libxkbcommon reads them: each stroke gives its character, no map tells the text."""

from __future__ import annotations

import ctypes
import ctypes.util
import fcntl
import os
import random

import pytest
from support.random_text import ALL, random_secret

from novakey.desktop.wayland.keymap import BLOCK, BLOCKS, SHIFT, Keymap, next_keymap, sealed_memory

PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))


class Compiled:
    """A map as every client compiles it."""

    def __init__(self, text: str) -> None:
        name = ctypes.util.find_library("xkbcommon")
        if name is None:
            pytest.skip("libxkbcommon is missing")
        self._lib = lib = ctypes.CDLL(name)
        pointer = ctypes.c_void_p
        for function, arguments in (
            ("xkb_context_new", (ctypes.c_int,)),
            ("xkb_keymap_new_from_string", (pointer, ctypes.c_char_p, ctypes.c_int, ctypes.c_int)),
            ("xkb_state_new", (pointer,)),
        ):
            getattr(lib, function).restype = pointer
            getattr(lib, function).argtypes = arguments
        lib.xkb_state_update_mask.argtypes = (pointer, *(ctypes.c_uint32,) * 6)
        lib.xkb_state_key_get_utf8.argtypes = (pointer, ctypes.c_uint32, ctypes.c_char_p, ctypes.c_size_t)
        self._keymap = lib.xkb_keymap_new_from_string(lib.xkb_context_new(0), text.encode(), 1, 0)
        assert self._keymap, "libxkbcommon refuses the map"
        self._state = lib.xkb_state_new(self._keymap)

    def types(self, code: int, modifiers: int) -> str:
        self._lib.xkb_state_update_mask(self._state, modifiers, 0, 0, 0, 0, 0)
        buffer = ctypes.create_string_buffer(16)
        self._lib.xkb_state_key_get_utf8(self._state, code + 8, buffer, 16)
        return buffer.value.decode()


def test_ascii_is_typed_as_on_a_us_keyboard() -> None:
    compiled = Compiled(Keymap().text())
    for character in PRINTABLE:
        stroke = Keymap().stroke(character)
        assert stroke is not None
        assert compiled.types(stroke.code, stroke.modifiers) == character
    assert [Keymap().stroke(c).code for c in "aA1 \t\n"] == [30, 30, 2, 57, 15, 28]
    assert Keymap().stroke("A").modifiers == SHIFT


@pytest.mark.parametrize("script", ALL)
def test_every_character_of_every_script_has_a_key_that_types_it(script: object) -> None:
    left = "".join(map(chr, script))
    while left:
        keymap = next_keymap(left)
        compiled = Compiled(keymap.text())
        done = 0
        for character in left:
            stroke = keymap.stroke(character)
            if stroke is None:
                break
            assert compiled.types(stroke.code, stroke.modifiers) == character
            done += 1
        assert done, "a map that types nothing"
        left = left[done:] if done < len(left) and len(script) < 1000 else ""


def test_a_map_depends_on_the_blocks_of_a_text_and_on_nothing_else() -> None:
    rng = random.Random()
    assert next_keymap(PRINTABLE).text() == next_keymap("").text(), "ASCII always has the same map"
    for _ in range(200):
        text = random_secret(rng, ALL)
        keymap = next_keymap(text)
        assert keymap.blocks == tuple(sorted(keymap.blocks))
        typed = [c for c in text if keymap.stroke(c)]
        rng.shuffle(typed)
        decoys = [chr(block * BLOCK + rng.randrange(BLOCK)) for block in keymap.blocks]
        assert next_keymap("".join([*typed, *decoys])).text() == keymap.text()
    assert len(next_keymap("".join(chr(0x4E00 + 40 * i) for i in range(99))).blocks) == BLOCKS


def test_no_key_is_one_that_programs_act_on_by_its_place() -> None:
    codes = {stroke.code for c in PRINTABLE if (stroke := Keymap().stroke(c))}
    full = next_keymap("".join(chr(0x4E00 + BLOCK * i) for i in range(BLOCKS)))
    codes |= {
        full.stroke(chr(block * BLOCK + offset)).code for block in full.blocks for offset in range(BLOCK)
    }
    keypad_and_functions = {*range(59, 84), 87, 88}
    assert codes.isdisjoint({1, 14, 29, 42, 54, 56, 58, *keypad_and_functions, *range(96, 128), 142, 143})
    assert max(codes) <= 247


def test_the_memory_of_a_map_has_no_name_and_cannot_be_changed() -> None:
    handle = sealed_memory(b"map")
    try:
        assert os.pread(handle, 9, 0) == b"map"
        assert os.fstat(handle).st_nlink == 0
        for change in (lambda: os.pwrite(handle, b"x", 0), lambda: os.truncate(handle, 9)):
            with pytest.raises(PermissionError):
                change()
        with pytest.raises(PermissionError):
            fcntl.fcntl(handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    finally:
        os.close(handle)
