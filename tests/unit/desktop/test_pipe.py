"""A text through a pipe: the reader gets all of it, and the end at once."""

from __future__ import annotations

import os

import pytest

from novakey.desktop.pipe import close_now, write_and_close


@pytest.mark.parametrize("text", [b"secret", b""])
def test_the_end_comes_with_the_text_and_not_with_the_next_turn_of_the_loop(text: bytes) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    assert write_and_close(writing, text) is True
    with open(reading, "rb", buffering=0) as pipe:
        assert pipe.readall() == text, "None or a part while the pipe is open"
        assert pipe.read(1) == b"", "None while the pipe is open"


def test_a_reader_that_went_away_is_no_error() -> None:
    reading, writing = os.pipe()
    close_now(reading)
    assert write_and_close(writing, b"secret") is False
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(writing)
