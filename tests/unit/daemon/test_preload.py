"""A daemon whose files are replaced goes on as the version that it is."""

from __future__ import annotations

import ast
import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.daemon import ROOT, Daemon, ask, clean_environment, say
from support.x11 import RecordingXterm, XServer, wait_until

from novakey.control import client
from novakey.daemon.preload import MODULES
from novakey.system.paths import Paths
from novakey.wire.control import Event
from novakey.wire.message import MessageType

# Loaded by the command line alone, or only at a start, before anything is served.
NOT_SERVING = (
    "novakey.__main__",
    "novakey.cli",
    "novakey.cli",
    "novakey.daemon.preload",
    "novakey.devices.sealing.choose",
)
AT_START = {"yaml", "platformdirs", "cryptography"}
OTHER_SYSTEMS = {"novakey.desktop.windows.backend", "novakey.desktop.macos.backend"}

LOADED = """
import sys
import novakey.__main__
novakey.__main__.patch()
import novakey.daemon.app, novakey.daemon.preload
novakey.daemon.preload.preload()
print(*sys.modules)
"""

# Notes each file that is opened (PEP 578), so also each module that is loaded.
NOTES = """
import os, sys
handle = os.open(os.environ["NOTED"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
sys.addaudithook(lambda event, args: event == "open" and os.write(handle, f"{args[0]}\\n".encode()))
"""


def late(tree: ast.AST, inside: bool = False) -> Iterator[str]:
    """Return the names that are imported inside functions."""
    for node in ast.iter_child_nodes(tree):
        if inside and isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif inside and isinstance(node, ast.ImportFrom):
            assert node.module is not None
            for name in node.names:
                module = f"{node.module}.{name.name}"
                yield module if (ROOT / f"{module.replace('.', '/')}.py").exists() else node.module
        yield from late(node, inside or isinstance(node, ast.FunctionDef))


def test_nothing_is_left_to_import_while_serving() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    loaded = set(done.stdout.split())
    missing = {}
    for module in loaded:
        if module.startswith("novakey.") and not module.startswith(NOT_SERVING):
            source = importlib.import_module(module).__file__
            assert source is not None
            for name in late(ast.parse(Path(source).read_text())):
                if name.split(".")[0] not in AT_START | sys.stdlib_module_names and name not in OTHER_SYSTEMS:
                    missing.update({} if name in loaded else {name: module})
    assert missing == {}
    assert set(MODULES) <= loaded


@pytest.fixture
def replaced(tmp_path: Path) -> Iterator[tuple[Daemon, XServer]]:
    """Return a daemon that has loaded everything, and has nothing but traps where its files were."""
    tree, notes, noted = tmp_path / "tree", tmp_path / "notes", tmp_path / "opened"
    shutil.copytree(ROOT / "novakey", tree / "novakey", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "novakey.py", tree)
    notes.mkdir()
    (notes / "sitecustomize.py").write_text(NOTES)
    with XServer() as server:
        daemon = Daemon(
            tmp_path / "d",
            env={"DISPLAY": server.display, "PYTHONPATH": str(notes), "NOTED": str(noted)},
            launch=[sys.executable, str(tree / "novakey.py")],
            desktop_backend="auto",
        )
        with daemon:
            files = [f"/{name.replace('.', '/')}." for name in MODULES if "novakey" in name]
            wait_until(
                lambda: not [name for name in files if name not in noted.read_text()], "the last import"
            )
            assert ask(daemon.connect(), b"no route\n") == b""  # it serves again, so that import has ended
            before = len(noted.read_text())
            shutil.rmtree(tree / "novakey")
            for path in (ROOT / "novakey").rglob("*.py"):
                trap = tree / path.relative_to(ROOT)
                trap.parent.mkdir(parents=True, exist_ok=True)
                trap.write_text(f"raise RuntimeError('a file of another version: {trap.name}')\n")
            yield daemon, server
            opened = noted.read_text()[before:].split("\n")
            assert [name for name in opened if name.endswith((".py", ".pyc")) and str(tree) in name] == []


def test_everything_works_for_the_first_time_after_the_files_were_replaced(
    replaced: tuple[Daemon, XServer],
) -> None:
    daemon, server = replaced
    paths = Paths.under(daemon.folder)
    with client.request(paths, "pair") as pairing:
        assert isinstance(pairing.next(10), Event)
    phone = daemon.pair()
    assert client.ask(paths, "status")["display"]["backend"] == "x11"
    client.ask(paths, "rename", device=phone.device_id, name="mine")
    with RecordingXterm(server) as window:
        for op in ("arm", "approve"):
            client.ask(paths, op)
        reply = say(phone, MessageType.INJECT, b"typed by the old version")
        assert reply.outcome.success, reply
        wait_until(lambda: window.text() == "typed by the old version", "the text")
    with client.request(paths, "log", lines=5) as log:
        assert isinstance(log.next(10), Event)
    client.ask(paths, "revoke", device="mine")
    assert "another version" not in daemon.log() and "fault in the daemon" not in daemon.log()
