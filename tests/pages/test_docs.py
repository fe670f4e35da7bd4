"""The pages are whole, generated ones are fresh, and lists agree with the files that they are about."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from support.pages import PAGES, ROOT, code_spans, headings, prose

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Return the (file, anchor) of each link, as they stand."""
    for target in LINK.findall(prose(page)):
        file, _, anchor = target.partition("#")
        yield file, anchor


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    broken = []
    for file, anchor in links(page):
        target = (page.parent / file).resolve() if file else page
        if not target.is_file() or (anchor and anchor not in headings(target)):
            broken.append(f"{file}#{anchor}")
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_table_renders_as_a_table(page: Path) -> None:
    tokens = MarkdownIt().enable("table").parse(page.read_text())
    paragraphs = [token.content for token in tokens if token.type == "inline"]
    assert [text for text in paragraphs if re.search(r"(?m)^\s*\|", text) or "| --- |" in text] == []


def test_the_index_lists_every_page() -> None:
    index = ROOT / "docs/index.md"
    listed = {(index.parent / file).resolve() for file, _ in links(index)}
    assert listed == set(PAGES) - {index}


def test_every_page_is_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        found = {(page.parent / file).resolve() for file, _ in links(page) if file.endswith(".md")}
        waiting += sorted(found - reached - set(waiting))
    assert reached == set(PAGES)


def test_the_page_of_the_configuration_is_made_from_the_table_of_keys() -> None:
    command = [sys.executable, str(ROOT / "docs/make_configuration.py")]
    made = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    cure = "python3 docs/make_configuration.py > docs/configuration.md"
    assert (ROOT / "docs/configuration.md").read_text() == made, f"correct it: {cure}"


@pytest.mark.parametrize(("page", "words"), [("docs/cli.md", []), ("docs/novakey.1", ["man"])])
def test_the_pages_of_the_commands_are_made_from_the_parser(page: str, words: list[str]) -> None:
    command = [sys.executable, str(ROOT / "docs/make_cli.py"), *words]
    made = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    cure = " ".join([".tools/venv/bin/python docs/make_cli.py", *words, ">", page])
    assert (ROOT / page).read_text() == made, f"make it again: {cure}"


def asked_for(requirements: str) -> set[str]:
    """Return the names in a `.in` file."""
    lines = (ROOT / requirements).read_text().splitlines()
    return {re.split(r"[=<>; ]", line)[0] for line in lines if line and line[0] not in "#-"}


def debian() -> set[str]:
    """Return the lists in tests/run, that of the long tests too."""
    lists = re.findall(
        r"^(?:DEBIAN|LONG)=\((.*?)\)", (ROOT / "tests/run").read_text(), re.MULTILINE | re.DOTALL
    )
    assert len(lists) == 2
    return set(" ".join(lists).split())


@pytest.mark.parametrize(
    ("heading", "wanted"),
    [
        ("To run", asked_for("requirements.in")),
        ("Optional", asked_for("requirements-optional.in")),
        ("To develop", asked_for("requirements-dev.in")),
        ("Debian packages of the tests", debian()),
    ],
)
def test_the_page_of_dependencies_lists_what_is_installed_and_says_why(
    heading: str, wanted: set[str]
) -> None:
    text = (ROOT / "docs/dependencies.md").read_text()
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| `")]
    assert {code_spans(name)[0] for name, _ in rows} == wanted
    assert all(why.strip() for _, why in rows)


def test_the_readme_names_the_folders_that_the_program_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    from novakey.system.paths import Paths

    monkeypatch.setenv("HOME", "/home/you")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    paths = Paths.of_platform()
    spans = {span.replace("~", "/home/you") for span in code_spans(prose(ROOT / "README.md"))}
    assert {str(path) for path in (paths.config, paths.data, paths.log)} <= spans


def test_the_picture_is_small_and_says_nothing_of_where_it_was_made() -> None:
    picture = (ROOT / "docs/images/session.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) < 200_000
    kinds = re.findall(rb"(tEXt|iTXt|zTXt|eXIf|tIME)", picture)
    assert kinds == [], "made without convert -strip"


def test_what_the_architecture_page_names_is_in_the_package() -> None:
    """Such as `messages.replay.ReplayGuard` or `Stream.finish`: a module, and what is in it."""
    import importlib

    unknown = []
    for span in code_spans(prose(ROOT / "docs/architecture.md")):
        if not re.fullmatch(r"[a-z0-9_]+(\.[A-Za-z0-9_]+)+", span) or span.endswith((".json", ".md", ".py")):
            continue
        parts, found = span.split("."), None
        for length in range(len(parts), 0, -1):
            try:
                found = importlib.import_module(".".join(["novakey", *parts[:length]]))
            except ModuleNotFoundError:
                continue
            for name in parts[length:]:
                found = getattr(found, name, None)
            break
        if found is None:
            unknown.append(span)
    assert unknown == []
