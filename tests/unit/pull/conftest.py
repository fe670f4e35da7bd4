"""The scene that the tests of a file share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.pull import Scene


@pytest.fixture(scope="module")
def one() -> Iterator[Scene]:
    with Scene() as made:
        yield made
