"""The target policy, row by row: what has the focus, what is listed, and what follows."""

from __future__ import annotations

from typing import Any

import pytest

from novakey.config.settings import Settings
from novakey.desktop.base import Focus
from novakey.messages.policy.target import BUILT_IN, TargetPolicy
from novakey.wire.refused import Refused, full

XTERM = Focus(window=1, pid=10, program="xterm", classes=("xterm",), title="alice@host: ~")
BROWSER = Focus(
    window=2, pid=11, program="firefox-esr", classes=("navigator", "firefox-esr"), title="My Bank"
)
LIAR = Focus(window=3, pid=12, program="python3.11", classes=("keepassxc",), title="KeePassXC - passwords")
WINDOWS_BROWSER = Focus(window=4, pid=13, program="Firefox.EXE", title="My Bank")
UNREADABLE = Focus(window=5, pid=14, program=None, classes=("xterm",), title="root@host")
ELSEWHERE = Focus(window=6, pid=None, program=None, classes=("foot",), title="x")
NAMELESS = Focus(window=7)

ON = {"target_policy_enabled": True}


def decide(focus: Focus | None, **settings: Any) -> str | None:
    """None when permitted, else why not."""
    try:
        TargetPolicy(Settings(**settings)).check_target(focus)
    except Refused as error:
        return full(error.msg)
    return None


def allow(*names: str) -> dict[str, Any]:
    return {**ON, "allowed_process_names": names}


def deny(*names: str) -> dict[str, Any]:
    return {**ON, "denied_process_names": names}


def titles(*parts: str, **more: Any) -> dict[str, Any]:
    return {**ON, "allowed_window_titles": parts, **more}


PERMITTED = [
    (None, {}),
    (NAMELESS, {"denied_process_names": ("x",)}),  # off is off, with any list
    (XTERM, ON),  # nothing listed: the built-in list
    (BROWSER, ON),
    (ELSEWHERE, ON),
    (XTERM, allow("xterm")),
    (XTERM, allow("XTerm")),
    (WINDOWS_BROWSER, allow("firefox")),
    (WINDOWS_BROWSER, allow("firefox.exe")),
    (Focus(1, 2, "firefox"), allow("Firefox.exe")),
    (ELSEWHERE, allow("foot")),
    (LIAR, {**allow("xterm"), **allow("python3.11")}),
    (XTERM, {**allow("gedit"), "use_built_in_allowlist": True}),
    (BROWSER, titles("bank")),
    (BROWSER, titles("shop", "MY BANK")),
    (BROWSER, titles("bank", allowed_process_names=("firefox-esr",))),
    (LIAR, titles("keepassxc")),  # titles alone are weak, and said to be
    (LIAR, deny("xterm")),
    (Focus(1, 2, None, (), "a title"), {**ON, "denied_window_titles": ("chat",)}),
]

REFUSED = [
    (None, ON, "cannot be read"),
    (None, deny("xterm"), "cannot be read"),
    (LIAR, ON, '"python3.11" is not an allowed program'),
    (NAMELESS, ON, "cannot be told"),
    (UNREADABLE, ON, "cannot be told"),  # its class is its own word
    (UNREADABLE, deny("gedit"), "cannot be told"),
    (XTERM, allow("xter"), "not an allowed"),
    (XTERM, allow("xterm2", "term", "x*"), "not an allowed"),
    (XTERM, {**allow("gedit")}, "not an allowed"),
    (LIAR, allow("keepassxc"), "not an allowed"),
    (XTERM, deny("XTERM"), '"xterm" is a denied program'),
    (LIAR, deny("keepassxc"), '"keepassxc" is a denied program'),  # its own word is enough to deny
    (XTERM, {**deny("xterm"), "allowed_process_names": ("xterm",)}, "denied program"),
    (XTERM, {**deny("xterm"), "use_built_in_allowlist": True}, "denied program"),
    (LIAR, titles("keepassxc", allowed_process_names=("keepassxc",)), "not an allowed program"),
    (BROWSER, titles("shop", allowed_process_names=("firefox-esr",)), "no allowed title"),
    (BROWSER, titles("bank", denied_window_titles=("my b",)), "denied title"),
    (NAMELESS, titles("a"), "no allowed title"),
]


EITHER = {
    **ON,
    "target_match": "any",
    "allowed_process_names": ("firefox-esr",),
    "allowed_window_titles": ("bitw",),
}

PERMITTED += [
    (BROWSER, EITHER),  # by its program
    (Focus(1, 2, "electron", (), "Bitwarden - vault"), EITHER),  # by its title
    (Focus(1, 2, None, (), "Bitwarden"), EITHER),  # its program cannot be told, and need not be
    (BROWSER, {**EITHER, "allowed_window_titles": ()}),
    (BROWSER, {**EITHER, "allowed_window_titles": ("bank",), "allowed_process_names": ()}),
]
REFUSED += [
    (XTERM, EITHER, '"xterm" is not an allowed program'),
    (XTERM, {**EITHER, "allowed_window_titles": ()}, "not an allowed program"),
    (BROWSER, {**EITHER, "allowed_process_names": ()}, "no allowed title"),
    (NAMELESS, EITHER, "cannot be told"),
    (BROWSER, {**EITHER, "denied_process_names": ("firefox-esr",)}, "denied program"),
    (BROWSER, {**EITHER, "denied_window_titles": ("my b",)}, "denied title"),
    (Focus(1, 2, None, (), "Bitwarden"), {**EITHER, "denied_process_names": ("chat",)}, "cannot be told"),
    (BROWSER, {**EITHER, "target_match": "all"}, "no allowed title"),
]


@pytest.mark.parametrize(("focus", "settings"), PERMITTED)
def test_permitted(focus: Focus | None, settings: dict[str, Any]) -> None:
    assert decide(focus, **settings) is None


@pytest.mark.parametrize(("focus", "settings", "why"), REFUSED)
def test_refused(focus: Focus | None, settings: dict[str, Any], why: str) -> None:
    said = decide(focus, **settings)
    assert said is not None
    assert why in said
    assert "bank" not in said.lower(), "a title is not shown"


def test_the_built_in_list_is_written_as_names_are_compared() -> None:
    assert all(name == name.casefold().removesuffix(".exe") and "/" not in name for name in BUILT_IN)


def test_a_program_with_a_hostile_name_is_shown_escaped() -> None:
    said = decide(Focus(1, 2, "x\n\x1b[2J\u202e" + "y" * 200), **allow("xterm"))
    assert said is not None
    assert said.isprintable()
    assert len(said) < 150
