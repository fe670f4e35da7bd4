"""A prompt on the owner's screen: shown beside the caller, waited for, and taken away."""

from __future__ import annotations

import gevent

from novakey.messages.prompt import Prompt


def test_it_is_shown_beside_the_caller_and_over_when_it_is_answered() -> None:
    shown: list[str] = []
    prompt = Prompt(lambda: shown.append("shown"))
    assert shown == []
    assert prompt.wait(5) and shown == ["shown"]


def test_one_that_is_withdrawn_is_over_and_off_the_screen() -> None:
    shown: list[str] = []

    def show() -> None:
        try:
            gevent.sleep(60)
        finally:
            shown.append("gone")

    prompt = Prompt(show)
    assert not prompt.wait(0.01)
    prompt.withdraw()
    assert prompt.wait(0)
    gevent.sleep(0.01)
    assert shown == ["gone"]


def test_it_may_be_withdrawn_from_within() -> None:
    done: list[str] = []

    def show() -> None:
        prompt.withdraw()
        done.append("the rest still runs")

    prompt = Prompt(show)
    assert prompt.wait(5)
    assert done == ["the rest still runs"]


def test_a_wait_that_is_over_already_looks_once() -> None:
    prompt = Prompt(lambda: gevent.sleep(60))
    assert not prompt.wait(-1)
    prompt.withdraw()
