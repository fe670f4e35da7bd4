"""The page for people with the app explains each sentence that the app shows, and no other."""

from __future__ import annotations

import re

import pytest
from support.pages import ROOT, code_spans
from support.phone_app import SENTENCES

from novakey.messages.exchange import FRESH_S
from novakey.messages.replay import MAX_AGE_S, MAX_AHEAD_S

PAGE = (ROOT / "docs/iphone.md").read_text()
IN_TABLES = {code_spans(row.split("|")[1])[0] for row in PAGE.splitlines() if row.startswith("| `")}


def as_in_page(sentence: str) -> str:
    """Replace the computer's name by NAME, and all that is filled in by an ellipsis."""
    return re.sub(r"\{\w+\}", "…", sentence.replace("{name}", "NAME"))


@pytest.mark.parametrize("sentence", SENTENCES)
def test_each_sentence_of_the_app_has_a_row(sentence: str) -> None:
    assert as_in_page(sentence) in IN_TABLES


def test_the_page_explains_no_sentence_that_the_app_does_not_show() -> None:
    assert {as_in_page(sentence) for sentence in SENTENCES} == IN_TABLES


def test_the_difference_of_clocks_is_the_one_that_is_refused() -> None:
    assert f"older than {FRESH_S:.0f} s" in PAGE
    assert f"more than {MAX_AHEAD_S // 60} minutes" in PAGE and f"more than {MAX_AGE_S // 60} where" in PAGE
