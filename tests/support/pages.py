"""The pages of the documentation as their tests read them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_TOP = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
PAGES = sorted([*(ROOT / name for name in _TOP), *(ROOT / "docs").rglob("*.md")])

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_SPAN = re.compile(r"(?<!`)(`{1,2})(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)


def prose(page: Path) -> str:
    """Return the page without its blocks of code."""
    return COMMENT.sub("", FENCE.sub("", page.read_text()))


def code_spans(text: str) -> list[str]:
    """Return what stands in single or double backticks."""
    return [" ".join(span.split()) for _, span in _SPAN.findall(text)]


def headings(page: Path) -> set[str]:
    """Return the anchors of the page's headings, as the usual renderers make them."""
    lines = [line.lstrip("#").strip() for line in prose(page).splitlines() if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}
