"""Text that others chose, as it is shown."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from support.daemon import ROOT, run

from novakey.system import sanitize

COMMANDS = sorted((ROOT / "novakey" / "cli").glob("*.py"))
MECHANISM = ROOT / "novakey" / "cli" / "common.py"


def test_nothing_that_a_terminal_obeys_passes() -> None:
    foreign = "a\x1b]0;owned\x07\x9b2J\u202e\r\u2028b ünï"
    assert sanitize.one_line(foreign) == r"a\x1b]0;owned\x07\x9b2J\u202e\r\u2028b ünï"
    assert sanitize.lines("one\x1b[2J\ntwo") == "one\\x1b[2J\ntwo"
    assert sanitize.escape(foreign, 3) == '"a\\x1b]"...'


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.stem)
def test_a_command_prints_what_others_chose_through_one_function(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    printed = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    unsafe = [ast.unparse(call) for call in printed if not all(map(_is_ours, call.args))]
    assert path == MECHANISM or not unsafe


def test_an_error_that_quotes_a_file_name_sends_no_sequence_to_the_terminal(tmp_path: Path) -> None:
    done = run("phone", "arm", "--profile", tmp_path / "none\x1b]0;owned\x07")
    assert done.returncode == 3
    assert r"none\x1b]0;owned\x07" in done.stderr and "\x1b" not in done.stderr


def _is_ours(argument: ast.expr) -> bool:
    """Whether it is our own choice: a constant, JSON in ASCII, a question of setup, a completion script."""
    text = ast.unparse(argument)
    if isinstance(argument, ast.Constant) or text in ("*interrupt.args", "f'\\n{question}'"):
        return True
    if text == "f'  {name:<10}{meaning}'" or text.startswith("makers[words.shell]("):
        return True
    return text.startswith("json.dumps(") and "ensure_ascii" not in text
