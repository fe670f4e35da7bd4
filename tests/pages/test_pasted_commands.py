"""Every command that is printed with something filled in is made by the one function that quotes it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import novakey

PACKAGE = Path(novakey.__file__).parent
FILLED = "\0"
PLACE = re.compile(r"%[-+ #0]*[0-9.]*[a-zA-Z]|\{\w*\}")
# A command's name, and something filled in before the sentence ends.
WRONG = re.compile(
    r"(?:^|[\s(`])(?:novakey\.py|sudo|chmod|chown|mv|rm|ls|df|ss|ln|mkdir|findmnt|systemctl|journalctl|apt|kill)"
    r" [^.:;,()\n\0]*\0"
)


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Each text of the code with its line; what is filled in, other than by `command`, is FILLED."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr | ast.BinOp | ast.Constant):
            yield node.lineno, _text(node)


def _text(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return PLACE.sub(FILLED, text)
        case ast.JoinedStr(values=parts):
            return "".join(map(_text, parts))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
        case ast.BinOp(left=left, op=ast.Mod()):
            return _text(left)
        case ast.IfExp(body=body, orelse=orelse):
            return max(_text(body), _text(orelse), key=lambda text: FILLED in text)
        case ast.FormattedValue(value=ast.Call(func=ast.Name(id="command"))):
            return "(a command)"
    return FILLED


def wrong(source: str) -> list[int]:
    return [line for line, text in texts(ast.parse(source)) if WRONG.search(text)]


def test_no_command_has_something_filled_in_beside_the_function_that_quotes() -> None:
    found = [
        f"{path.relative_to(PACKAGE.parent)}:{line}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line in wrong(path.read_text())
    ]
    assert found == []


def test_such_a_line_is_found() -> None:
    assert wrong('log.warning("if that was not you: novakey.py devices revoke %s", device.id)') == [1]
    assert wrong('error(f"it is a link", f"remove it: rm {path}")') == [1]
    assert wrong('error("remove it: rm " + path)') == [1]
    assert wrong("error(f\"remove it: {command('rm', foreign=path)}\")") == []
