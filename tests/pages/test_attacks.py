"""docs/attacks.md: each attack says all that it should, and each test that it names exists."""

from __future__ import annotations

import ast
import re

from support.pages import ROOT

PAGE = (ROOT / "docs" / "attacks.md").read_text()
NEEDED = ("Has", "Tries", "Stops them", "Shown by")


def attacks() -> dict[str, str]:
    """Each attack's text by its heading."""
    parts = re.split(r"(?m)^### (.+)$", PAGE)
    return {
        title: re.split(r"(?m)^## ", text)[0] for title, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_each_attack_says_what_is_had_tried_and_stopped_and_which_test_shows_it() -> None:
    assert len(attacks()) > 15
    for title, text in attacks().items():
        for name in NEEDED:
            assert f"- **{name}:**" in text, f"{title}: {name}"
        assert re.search(r"`tests/[^`]+::test_[^`]+`", text), f"{title}: no test"


def test_each_named_test_exists() -> None:
    named = re.findall(r"`(tests/[^`:]+)::([^`]+)`", PAGE)
    assert len(named) > 40
    missing = [f"{file}::{name}" for file, name in named if name not in functions(file)]
    assert missing == []


def functions(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
