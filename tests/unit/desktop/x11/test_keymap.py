"""From keysyms to keys, on maps made by hand."""

from __future__ import annotations

import pytest

from novakey.desktop import keysyms
from novakey.desktop.x11.keymap import Key, Keymap, KeyType, Layout, Stroke, UnreachableError, next_batch

SHIFT_KEY, ALTGR_KEY, A_KEY, TWO_KEY, PAD_KEY, FREE = 50, 108, 38, 11, 91, (8, 93)
ONE = KeyType(0, ())
TWO = KeyType(1, ((1, 1),))
ALPHABETIC = KeyType(3, ((1, 1), (2, 1)))
FOUR = KeyType(0x81, ((1, 1), (0x80, 2), (0x81, 3)))
CLAMP, REDIRECT_TO_SECOND = 0x40, 0x80 | 0x10


def keymap(*more: tuple[int, Key]) -> Keymap:
    cyrillic = (ALPHABETIC, (0x6C6, 0x6E6))
    keys = {
        SHIFT_KEY: Key(((ONE, (0xFFE1,)),), 1),
        ALTGR_KEY: Key(((ONE, (keysyms.LEVEL3_SHIFT,)),), 1),
        A_KEY: Key(((ALPHABETIC, (ord("a"), ord("A"))), cyrillic), 2),
        TWO_KEY: Key(((FOUR, (ord("2"), ord('"'), 0xB2, 0x20AC)),), 1),
        PAD_KEY: Key(((TWO, (0xFF9F, ord("."))),), 1),
        **{code: Key((), 0) for code in FREE},
        **dict(more),
    }
    return Keymap(keys, {SHIFT_KEY: 1, ALTGR_KEY: 0x80})


def layout(group: int = 0, residual: int = 0) -> Layout:
    return Layout(keymap(), group, residual)


def sym(character: str) -> int:
    return keysyms.of_character(character)


def test_a_character_of_each_level_gets_its_modifiers() -> None:
    strokes = layout().strokes
    assert strokes[sym("a")] == Stroke(A_KEY)
    assert strokes[sym("A")] == Stroke(A_KEY, (SHIFT_KEY,))
    assert strokes[sym("²")] == Stroke(TWO_KEY, (ALTGR_KEY,))
    assert strokes[sym("€")] == Stroke(TWO_KEY, (ALTGR_KEY, SHIFT_KEY))


def test_the_group_in_effect_decides_and_a_key_with_one_group_stays_in_it() -> None:
    strokes = layout(group=1).strokes
    assert strokes[sym("ф")] == Stroke(A_KEY)
    assert strokes[sym("Ф")] == Stroke(A_KEY, (SHIFT_KEY,))
    assert strokes[sym("2")] == Stroke(TWO_KEY)
    assert sym("a") not in strokes


@pytest.mark.parametrize(
    ("info", "group", "row"),
    [(2, 2, 0), (2, 3, 1), (2 | CLAMP, 3, 1), (2 | REDIRECT_TO_SECOND, 3, 1), (2 | 0x80 | 0x30, 3, 0)],
)
def test_a_group_out_of_range_is_wrapped_clamped_or_redirected(info: int, group: int, row: int) -> None:
    key = Key(((ONE, (1,)), (ONE, (2,))), info)
    assert key.row(group) == key.groups[row]


def test_a_locked_modifier_that_the_type_knows_is_taken_into_account() -> None:
    num_lock = KeyType(0x11, ((0x10, 1), (0x01, 1)))
    key = (40, Key(((num_lock, (ord("x"), ord("y"))),), 1))
    strokes = Layout(keymap(key), 0, 0x10).strokes
    assert strokes[ord("y")] == Stroke(40)
    assert Layout(keymap(key), 0, 0).strokes[ord("x")] == Stroke(40)


def test_keypad_keys_are_left_alone() -> None:
    assert sym(".") not in layout().strokes


def test_a_third_level_key_that_also_sets_control_is_not_used() -> None:
    odd = Keymap(keymap().keys, {SHIFT_KEY: 1, ALTGR_KEY: 0x84})
    assert sym("²") not in Layout(odd, 0, 0).strokes


def test_characters_outside_the_layout_borrow_each_one_key() -> None:
    batch = next_batch([sym(c) for c in "字a字é"], layout(), FREE)
    assert batch.borrowed == {8: (sym("字"),) * 2, 93: (sym("é"),) * 2}
    assert [stroke.keycode for stroke in batch.strokes] == [8, A_KEY, 8, 93]


def test_where_free_keys_lack_each_gives_two_characters_the_second_with_shift() -> None:
    batch = next_batch([sym(c) for c in "字a日本日"], layout(), FREE)
    assert batch.borrowed == {8: (sym("字"), sym("本")), 93: (sym("日"),) * 2}
    assert [(stroke.keycode, stroke.holding) for stroke in batch.strokes] == [
        (8, ()), (A_KEY, ()), (93, ()), (8, (SHIFT_KEY,)), (93, ()),
    ]  # fmt: skip


def test_without_a_shift_key_each_borrowed_key_gives_one_character() -> None:
    bare = Layout(Keymap(keymap().keys, {}), 0, 0)
    batch = next_batch([sym(c) for c in "字日本"], bare, FREE)
    assert batch.borrowed == {8: (sym("字"),) * 2, 93: (sym("日"),) * 2}
    assert len(batch.strokes) == 2


def test_more_characters_than_free_keys_can_give_come_in_batches() -> None:
    rest = [sym(c) for c in "字a日本a語a文b法"]
    sizes = []
    while rest:
        batch = next_batch(rest, layout(), FREE)
        assert len(batch.borrowed) <= len(FREE)
        sizes.append(len(batch.strokes))
        rest = rest[sizes[-1] :]
    assert sizes == [7, 3]


def test_without_free_keys_it_is_all_or_nothing() -> None:
    assert next_batch([sym("a")], layout(), ()).borrowed == {}
    with pytest.raises(UnreachableError):
        next_batch([sym("a"), sym("字")], layout(), ())


def test_only_keys_without_symbols_and_modifiers_are_free() -> None:
    base = keymap((94, Key((), 0)))
    assert Keymap(base.keys, {**base.modifiers, 94: 0x20}).free == tuple(FREE)


def test_keysyms_of_the_same_character_are_the_same() -> None:
    pairs = {
        0x6C6: "ф",
        0x7E1: "\N{GREEK SMALL LETTER ALPHA}",
        0x7F2: "\N{GREEK SMALL LETTER SIGMA}",
        0x7F3: "ς",
        0x1B1: "ą",
        0x20AC: "€",
        0x6A4: "є",
        0xE9: "é",
    }
    for keysym, character in pairs.items():
        assert keysyms.canonical(keysym) == keysyms.of_character(character), hex(keysym)
        assert keysyms.canonical(0x01000000 | ord(character)) == keysyms.of_character(character)
    assert keysyms.of_character("😀") == 0x0101F600
