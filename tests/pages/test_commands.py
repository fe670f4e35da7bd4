"""Every command and every snippet in the pages works as written, or says why it is not tried.

The pages are read as a person reads them: the README first, in a copy of the tree, with an empty
home, on a desktop where a text field has the focus. A comment before a block can say

    <!-- not run: REASON -->
    <!-- run beside the rest, until: TEXT -->    left running once it has printed TEXT
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.pages import FENCE, PAGES, ROOT, code_spans, prose
from support.x11 import RecordingGtkEntry, XServer, end, wait_until

from novakey.cli import parser
from novakey.config import load

README = ROOT / "README.md"
SENT = "hello from the phone"
TREE = ("novakey", "novakey.py", "docs", "conf", "requirements.txt")

_MARK = re.compile(r"<!-- (not run|run beside the rest, until): (.*?) -->\n\Z")


@dataclass(frozen=True)
class Block:
    """A block of code, with what the comment before it says."""

    page: Path
    language: str
    text: str
    mark: str = ""
    value: str = ""

    @property
    def name(self) -> str:
        """The page and the first line, for people."""
        return f"{self.page.relative_to(ROOT)}: {self.text.strip().splitlines()[0]}"


def blocks(page: Path) -> Iterator[Block]:
    """Return the page's blocks in order."""
    whole = page.read_text()
    for found in FENCE.finditer(whole):
        mark = _MARK.search(whole[: found.start()])
        marks = (mark[1], mark[2]) if mark else ("", "")
        yield Block(page, found["language"], found["text"], *marks)


def all_blocks() -> list[Block]:
    """All blocks, those of the README first."""
    return [block for page in sorted(PAGES, key=lambda page: page != README) for block in blocks(page)]


class Reader:
    """Somebody who does what the pages say."""

    def __init__(self, folder: Path, display: str) -> None:
        self.tree = folder / "novakey"
        home = folder / "home"
        home.mkdir()
        self.tree.mkdir()
        for name in TREE:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, self.tree / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, self.tree / name)
        runtime = folder / "run"
        runtime.mkdir(mode=0o700)
        self.env = {
            # The packages of the tests: what the first start installs is proved in test_launch.py.
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(runtime),
            "DISPLAY": display,
            "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent",
            "LC_ALL": "C.UTF-8",
            # The only difference to what a person runs: no port of the machine, no network.
            "NOVAKEY_LISTEN_ADDR": "127.0.0.1:0",
        }
        self._output = folder / "beside"
        self._beside: list[subprocess.Popen[Any]] = []

    def run(self, block: Block) -> None:
        """Run one block; what it must not do is fail."""
        argv = ["bash", "-euo", "pipefail", "-c", block.text]
        options: dict[str, Any] = {"cwd": self.tree, "env": self.env, "stdin": subprocess.DEVNULL}
        if block.mark.startswith("run beside"):
            with open(self._output, "wb") as output:
                self._beside.append(subprocess.Popen(argv, stdout=output, stderr=output, **options))
            wait_until(lambda: block.value in self._output.read_text(), f"{block.name}: {block.value}", 30)
            return
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, **options)
        assert done.returncode == 0, f"{block.name}\n{done.stdout}{done.stderr}\n{self._output.read_text()}"

    def close(self) -> None:
        """Stop what runs beside, as Ctrl-C does: bash has become the command."""
        for child in self._beside:
            end(child)


@pytest.fixture(scope="module")
def display() -> Iterator[XServer]:
    with XServer() as server:
        yield server


def test_what_the_pages_say_to_run_works_in_a_fresh_tree_with_an_empty_home(
    display: XServer, tmp_path: Path
) -> None:
    reader = Reader(tmp_path, display.display)
    with RecordingGtkEntry(display) as field:
        try:
            for block in all_blocks():
                if block.language == "sh" and block.mark != "not run":
                    reader.run(block)
            assert field.wait_for(SENT) == SENT
        finally:
            reader.close()
    made = reader.tree / "docs/configuration.md"
    assert made.read_text() == (ROOT / "docs/configuration.md").read_text()


def test_a_page_that_is_wrong_is_found_out(display: XServer, tmp_path: Path) -> None:
    reader = Reader(tmp_path, display.display)
    (tmp_path / "beside").touch()
    with pytest.raises(AssertionError, match="did you mean status"):
        reader.run(Block(README, "sh", "python3 novakey.py sttus\ntrue\n"))


@pytest.mark.parametrize("block", all_blocks(), ids=lambda block: block.name)
def test_every_block_is_of_a_kind_that_is_tried_or_says_why_not(block: Block, tmp_path: Path) -> None:
    if block.mark == "not run":
        assert len(block.value.split()) > 2, "a reason, please"
        return
    match block.language:
        case "sh" | "text":  # commands are run above; text is neither a command nor a setting
            pass
        case "json":
            for line in block.text.splitlines():
                json.loads(line)
        case "yaml":
            file = tmp_path / "novakey.yaml"
            file.write_text(block.text)
            load.load(file, {}, tmp_path)
        case other:
            raise AssertionError(f"a block of the language {other!r}: teach this test to try it")


def test_every_command_within_a_sentence_is_one_that_the_program_knows() -> None:
    for page in PAGES:
        for span in code_spans(prose(page)):
            words = shlex.split(span.replace("…", "")) if "novakey.py" in span.split()[:2] else []
            if words:
                arguments = words[words.index("novakey.py") + 1 :]
                try:
                    parser.parser().parse_args(arguments)
                except SystemExit:
                    pytest.fail(f"{page.relative_to(ROOT)}: {span}")
