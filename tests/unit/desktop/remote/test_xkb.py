"""Finding the keys of a text on somebody else's keyboard map, as libxkbcommon makes such maps."""

from __future__ import annotations

import ctypes

import pytest

from novakey.desktop.base import DesktopError
from novakey.desktop.keysyms import typed_characters
from novakey.desktop.remote import xkb
from novakey.desktop.remote.xkb import Layout, Press
from novakey.secret import Secret

PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
SHIFT, RIGHT_ALT, CONTROL = 42, 100, 29


def keymap(layouts: str, options: str = "") -> bytes:
    """Return the map of layouts, as a compositor makes it."""
    library = xkb._library()
    if library is None:
        pytest.skip("libxkbcommon is missing")
    library.xkb_keymap_get_as_string.restype = ctypes.c_char_p
    library.xkb_keymap_get_as_string.argtypes = [ctypes.c_void_p, ctypes.c_int]
    names = xkb._Names(b"evdev", b"pc105", layouts.encode(), b"", options.encode())
    made = library.xkb_keymap_new_from_names(library.xkb_context_new(0), ctypes.byref(names), 0)
    return library.xkb_keymap_get_as_string(made, 1)


def plan(layouts: str, text: str, caps_lock: bool = False, source: str | None = None) -> list[Press]:
    layout = Layout(keymap(layouts))
    try:
        if source is not None:
            layout.use_named(source)
        return layout.plan(typed_characters(Secret(text.encode())), caps_lock)
    finally:
        layout.close()


@pytest.mark.parametrize("layouts", ["us", "de", "fr", "cz", "gb"])
def test_all_of_ascii_that_a_layout_has_is_found(layouts: str) -> None:
    layout, missing = Layout(keymap(layouts)), set()
    for character in PRINTABLE:
        try:
            layout.plan(character, caps_lock=False)
        except DesktopError:
            missing.add(character)
    layout.close()
    assert not missing


def possible(layouts: str, text: str, caps_lock: bool = False) -> bool:
    try:
        plan(layouts, text, caps_lock)
    except DesktopError as error:
        assert (str(error), error.typed) == (xkb.LACKS, 0)
        return False
    return True


def test_the_keys_are_those_of_the_layout() -> None:
    assert plan("us", "aA\n\t") == [Press(30), Press(30, (SHIFT,)), Press(28), Press(15)]
    assert plan("fr", "qA") == [Press(30), Press(16, (SHIFT,))]
    assert plan("de", "@€z") == [Press(16, (RIGHT_ALT,)), Press(18, (RIGHT_ALT,)), Press(21)]
    assert plan("us", "a\r\nb") == [Press(30), Press(28), Press(48)]


def test_a_character_that_is_not_there_stops_the_whole_text() -> None:
    assert not possible("us", "abcé")
    assert possible("ru", "пароль")
    assert not possible("ru", "password")


def test_with_several_layouts_only_what_all_have_under_the_same_keys_is_typed() -> None:
    assert possible("us,gb", "password 123 ABC")
    assert not possible("us,gb", '"'), "another key in each"
    assert not possible("us,ru", "password"), "it is not known which of them is in effect"
    assert possible("us,ru", "0123456789 !%")
    assert not possible("us,fr", "a")


def test_with_caps_lock_on_letters_need_shift_the_other_way() -> None:
    assert plan("us", "aA1!", caps_lock=True) == [
        *(Press(30, (SHIFT,)), Press(30)),
        *(Press(2), Press(2, (SHIFT,))),
    ]
    assert possible("us", PRINTABLE, caps_lock=True)


def test_only_keys_of_the_main_block_are_used() -> None:
    for layouts in ("us", "de"):
        assert all(
            press.code in range(2, 58) or press.code == 86 for press in plan(layouts, "()<>=+*/-,. 123aZ")
        )


def test_the_paste_shortcut_is_control_and_the_letter() -> None:
    layout = Layout(keymap("fr"))
    assert layout.shortcut("v") == Press(47, (CONTROL,))
    layout.close()
    layout = Layout(keymap("ru"))
    with pytest.raises(DesktopError):
        layout.shortcut("v")
    layout.close()


def test_what_is_no_map_is_an_error() -> None:
    with pytest.raises(DesktopError, match="cannot be read"):
        Layout(b"xkb_keymap {")


def test_only_the_layout_in_effect_counts_where_it_is_known() -> None:
    assert plan("us,ru", "password", source="us") == plan("us", "password")
    assert plan("us,ru", "пароль", source="ru") == plan("ru", "пароль")
    assert plan("de,us", "yZ@", source="de") == plan("de", "yZ@")
    assert plan("de,us", "yZ@", source="us") == plan("us", "yZ@")
    with pytest.raises(DesktopError):
        plan("us,ru", "password", source="ru")


@pytest.mark.parametrize("source", ["fr", "de+nodeadkeys", "nonsense", ""])
def test_a_layout_that_the_map_lacks_changes_nothing(source: str) -> None:
    assert plan("us,gb", "password", source=source) == plan("us,gb", "password")
    with pytest.raises(DesktopError):
        plan("us,ru", "password", source=source)


def test_of_two_layouts_with_one_name_none_is_taken() -> None:
    layout = Layout(keymap("de,us,de"))
    layout.use_named("de")
    assert layout.has_several
    layout.use_named("us")
    assert not layout.has_several
    layout.close()


def test_a_dead_key_and_the_space_bar_give_what_the_layout_has_no_key_for() -> None:
    space = Press(57, ends=True)
    assert plan("de", "^") == [Press(41), space]
    assert plan("de", "`") == [Press(13, (SHIFT,)), space]
    assert plan("us", "^`") == [Press(7, (SHIFT,)), Press(41)], "a key of its own is preferred"
