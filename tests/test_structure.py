"""The package is built as its map says: imports point down, the wire is pure, nothing is too big."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import novakey

PACKAGE = Path(novakey.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path != PACKAGE / "__init__.py"
}

MOST_LINES = 330

# What the wire may import besides itself: no socket, no gevent, no clock, no log.
WIRE_MAY = {
    "__future__", "base64", "binascii", "collections", "enum", "hashlib", "hmac", "ipaddress", "json",
    "struct", "types", "typing", "unicodedata", "urllib", "nacl", "pqcrypto", "novakey.secret",
}  # fmt: skip


def imported(module: str) -> Iterator[str]:
    """Return the modules that it imports, also inside functions; not what only a type checker sees."""
    tree = ast.parse(MODULES[module].read_text())
    for node in _nodes(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield _known(name.name)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            for name in node.names:
                yield _known(f"{node.module}.{name.name}")


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _nodes(child)


def _known(name: str) -> str:
    """Return a module of ours for a name in it; a name of another package as it is."""
    return name if name in MODULES or not name.startswith("novakey.") else name.rpartition(".")[0]


def ours(module: str) -> set[str]:
    return {name for name in imported(module) if name in MODULES} - {module}


def unit(module: str) -> str:
    """Return the folder or the module right under the package: what the map is made of."""
    return module.split(".")[1]


def rows() -> list[set[str]]:
    """Return the rows of the map in the package's docstring, from the top."""
    found: list[set[str]] = []
    for line in (novakey.__doc__ or "").splitlines():
        if not line.startswith("    ") or line.startswith("     "):
            continue  # prose, or the second line of a row
        names = re.split(r"\s{2,}", line.strip())[0].split()
        found.append({name.rstrip("/") for name in names})
    return found


def test_the_map_names_every_part_of_the_package() -> None:
    named = set().union(*rows())
    units = {unit(module) for module in MODULES}
    assert named - units == set(), "the map names what is not there"
    assert units - named == set(), "the map lacks something"


@pytest.mark.parametrize("package", sorted(path.parent for path in PACKAGE.rglob("*/__init__.py")), ids=str)
def test_the_map_of_each_package_names_its_files(package: Path) -> None:
    doc = ast.get_docstring(ast.parse((package / "__init__.py").read_text()), clean=False) or ""
    named = set(re.findall(r"(?m)^ *(\w+)/? {2,}\S", doc))
    files = {path.stem for path in package.glob("*.py")} - {"__init__"}
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    assert named == files | folders


def test_imports_point_down_the_map() -> None:
    height = {name: number for number, row in enumerate(rows()) for name in row}
    wrong = [
        f"{module} imports {other}"
        for module in MODULES
        for other in ours(module)
        if height[unit(module)] > height[unit(other)]
    ]
    assert wrong == []


def test_there_are_no_circles() -> None:
    try:
        TopologicalSorter({module: ours(module) for module in MODULES}).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_leaves_import_nothing_of_ours_but_each_other() -> None:
    leaves = rows()[-1]
    for module in MODULES:
        if unit(module) in leaves:
            assert {unit(other) for other in ours(module)} <= leaves, module


def test_the_wire_is_pure() -> None:
    for module in MODULES:
        if unit(module) != "wire":
            continue
        for name in imported(module):
            top = name if name.startswith("novakey.") else name.split(".")[0]
            assert top in WIRE_MAY or top.startswith("novakey.wire"), f"{module} imports {name}"


def test_monkey_patching_happens_in_one_place() -> None:
    patching = [module for module in MODULES if "patch_all" in MODULES[module].read_text()]
    assert patching == ["novakey.__main__"]


def test_no_module_is_much_longer_than_it_can_be_read() -> None:
    long = {module: len(path.read_text().splitlines()) for module, path in MODULES.items()}
    assert {module: lines for module, lines in long.items() if lines > MOST_LINES} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 60, f"{module}.{node.name}"


MOST_CALLABLES = 3
LONGEST_TEST_NAME = 80


def callables(function: ast.FunctionDef, aliases: set[str]) -> list[str]:
    """Return the parameters that are functions; `aliases` are names for types of functions."""
    return [
        parameter.arg
        for parameter in (*function.args.args, *function.args.kwonlyargs)
        if parameter.annotation is not None
        and aliases.intersection(re.findall(r"\w+", ast.unparse(parameter.annotation)))
    ]


def test_no_function_is_given_more_than_three_functions() -> None:
    trees = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}
    aliases = {"Callable"} | {
        ast.unparse(node.targets[0])
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("Callable[")
    }
    assert {"Callable", "ShowPrompt", "Decided"} <= aliases
    many = {
        f"{name}.{node.name}": found
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and len(found := callables(node, aliases)) > MOST_CALLABLES
    }
    assert many == {}


# The third name of a chain of four that is no object of ours: a member of an enumeration, a dictionary,
# what a library gives, or a structure of the system.
NOT_OURS = {
    ("verdict", "name"),
    ("kind", "name"),
    ("header", "fields"),
    ("_bus", "unique_name"),
    ("u", "ki"),
    ("display", "display"),
    ("_display", "display"),
    ("display", "error_classes"),
    ("_keymap", "keys"),
    ("_keymap", "modifiers"),
    ("_connection", "root"),
}


def chains(tree: ast.Module) -> list[str]:
    """Return the attribute chains of four names that begin with a value, and not with an import."""
    imported = {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    found = []
    for node in ast.walk(tree):
        names, value = [], node
        while isinstance(value, ast.Attribute):
            names.append(value.attr)
            value = value.value
        if isinstance(value, ast.Name) and value.id not in imported and len(names) == 3:
            found.append(".".join([value.id, *reversed(names)]))
    return found


def test_no_part_reaches_through_two_others() -> None:
    assert chains(ast.parse("import os\nself.one.two.three()\nos.a.b.c\nself.one.two")) == [
        "self.one.two.three"
    ]
    found = {
        f"{name}: {chain}"
        for name, path in MODULES.items()
        for chain in chains(ast.parse(path.read_text()))
        if tuple(chain.split(".")[1:3]) not in NOT_OURS
    }
    assert found == set()


def test_the_name_of_a_test_is_read_in_one_line() -> None:
    tests = Path(__file__).parent.rglob("test_*.py")
    names = [name for path in tests for name in re.findall(r"def (test_\w+)", path.read_text())]
    assert len(names) > 1000
    assert [name for name in names if len(name) > LONGEST_TEST_NAME] == []
