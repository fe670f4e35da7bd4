"""Which layout GNOME's settings say is in effect."""

from __future__ import annotations

import pytest

from novakey.desktop.remote.sources import in_effect, settings

PRINTED = """\
org.gnome.desktop.input-sources current uint32 0
org.gnome.desktop.input-sources mru-sources [('xkb', 'ru'), ('xkb', 'us')]
org.gnome.desktop.input-sources per-window false
org.gnome.desktop.input-sources show-all-sources false
org.gnome.desktop.input-sources sources [('xkb', 'us'), ('xkb', 'ru')]
org.gnome.desktop.input-sources xkb-options @as []
"""


def test_what_was_used_last_is_in_effect() -> None:
    assert in_effect(settings(PRINTED)) == "ru"


def test_what_was_never_changed_is_the_first() -> None:
    assert in_effect(settings(PRINTED.replace("[('xkb', 'ru'), ('xkb', 'us')]", "@a(ss) []"))) == "us"


def test_a_layout_that_was_removed_is_not_in_effect() -> None:
    assert in_effect(settings(PRINTED.replace("('xkb', 'us'), ('xkb', 'ru')]", "('xkb', 'us')]"))) == "us"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("per-window false", "per-window true"),
        ("[('xkb', 'us'), ('xkb', 'ru')]", "@a(ss) []"),
        ("'xkb', 'ru'", "'ibus', 'libpinyin'"),
        (PRINTED, ""),
    ],
)
def test_elsewhere_it_is_not_known(before: str, after: str) -> None:
    assert in_effect(settings(PRINTED.replace(before, after))) is None


def test_what_is_no_list_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"malformed|Syntax|syntax"):
        settings(PRINTED.replace("[('xkb', 'us')", "[x()"))
