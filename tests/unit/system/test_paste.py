"""Pasted commands do what they say, under any name of a phone or a file."""

from __future__ import annotations

import subprocess

import pytest

from novakey.system.paste import choices, command

NAMES = [
    "$(id>/tmp/x)",
    "`id`",
    "--json",
    "-rf",
    "a'b",
    'it\'s "quoted"; id',
    "a\nb",
    "\x1b]0;title\x07",
    "\u202egpj",
    "\\x41",
    "*",
    "~",
    "!!",
    "",
    "phone of anna",
    "J\u00fcrgen\u2019s\u00a0phone",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_shell_gives_the_program_the_very_text_as_its_last_argument(name: str) -> None:
    line = command("program", "revoke", foreign=name)
    assert line.isprintable()
    program = """program() { printf '%s|' "$@"; }; """
    shown = subprocess.run(["bash", "-c", program + line], capture_output=True, check=True, timeout=10)
    assert shown.stdout.decode() == f"revoke|--|{name}|"
    assert shown.stderr == b""


def test_a_text_that_could_be_an_option_stands_behind_two_dashes() -> None:
    assert command("novakey.py", "arm", foreign="--json") == "novakey.py arm -- --json"
    assert command("rm", foreign="/tmp/a b") == "rm '/tmp/a b'"
    assert command("rm", foreign="-r") == "rm -- -r"


def test_each_of_a_list_can_be_pasted() -> None:
    assert choices(["anna", "a b", "$(id)"]) == "anna, 'a b', '$(id)'"
