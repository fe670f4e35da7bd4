"""A hook of mkdocs: links that leave docs/ lead to a copy of their target in the site's `project/`."""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
_OUTSIDE = "project"
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#)[^)#\s]+")


def on_files(files: Files, config: Any, **_: object) -> Files:
    """Add the pages beside docs/, and every other file that a page names."""
    sources = {_in_tree(page.src_uri): page.content_string for page in files.documentation_pages()}
    sources |= {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
    wanted = {_target(page, link) for page, text in sources.items() for link in _LINK.findall(text)}
    for path in sorted({*wanted, *PAGES}):
        if not path.startswith("docs/") and (ROOT / path).is_file():
            files.append(File.generated(config, f"{_OUTSIDE}/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Point every relative link at its target's place in the site."""
    here = page.file.src_uri

    def moved(link: re.Match[str]) -> str:
        return relpath(_in_site(_target(_in_tree(here), link.group())), dirname(here) or ".")

    return _LINK.sub(moved, markdown)


def _target(page: str, link: str) -> str:
    """Return the path in the tree that a page's link leads to."""
    return normpath(join(dirname(page), link))


def _in_tree(uri: str) -> str:
    """Return the path in the tree of a page of the site."""
    return uri.removeprefix(f"{_OUTSIDE}/") if uri.startswith(f"{_OUTSIDE}/") else f"docs/{uri}"


def _in_site(path: str) -> str:
    """Return the place in the site of a path in the tree."""
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{_OUTSIDE}/{path}"
