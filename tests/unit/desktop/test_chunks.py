"""Typing where nothing can be grabbed: what is said of a text that stopped."""

from __future__ import annotations

import pytest

from novakey.desktop.base import DesktopError, Focus
from novakey.desktop.chunks import CHUNK, type_chunks

HERE, ELSEWHERE = Focus(1, program="xterm"), Focus(2, program="chat")


def test_chunks_say_whether_every_key_went_out() -> None:
    """Windows and macOS: the focus moves after the last chunk, or after the one before."""
    for moved_after, whole in ((2, True), (1, False)):
        sent: list[str] = []

        def focus(moved_after: int = moved_after, sent: list[str] = sent) -> Focus:
            return ELSEWHERE if len(sent) >= moved_after else HERE

        with pytest.raises(DesktopError) as caught:
            type_chunks("x" * 2 * CHUNK, float("inf"), lambda focus: None, focus, sent.append)
        assert (caught.value.typed, caught.value.whole) == (CHUNK * moved_after, whole)
