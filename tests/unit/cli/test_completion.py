"""The completion scripts, in the shells that they are for, against the parser that they are made from."""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.daemon import clean_environment, run
from support.tmux import Terminal

from novakey.cli import parser as commandline
from novakey.cli.completion_scripts import own_names


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the script for bash."""
    path = tmp_path_factory.mktemp("completion") / "script"
    path.write_text(run("completion", "bash").stdout)
    return path


def places(
    parser: argparse.ArgumentParser, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """After which words what may come, read off the parser: commands and options."""
    commands: dict[str, argparse.ArgumentParser] = {}
    options: set[str] = set()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            commands |= {name: action.choices[name] for name in own_names(action)}
        options.update(action.option_strings)
    yield path, options | commands.keys()
    for name, below in commands.items():
        yield from places(below, (*path, name))


def test_bash_offers_after_every_command_what_the_parser_takes(script: Path) -> None:
    known = list(places(commandline.parser()))
    requests = "".join(
        f"COMP_WORDS=(novakey.py {' '.join(path)} ''); COMP_CWORD={len(path) + 1}; "
        f'_novakey 2>/dev/null; echo "${{COMPREPLY[*]}}"\n'
        for path, _ in known
    )
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", f'source "$0"\n{requests}', str(script)],
        cwd=script.parent,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    for (path, expected), line in zip(known, done.stdout.splitlines(), strict=True):
        offered = set(line.split())
        assert expected <= offered, f"after {' '.join(path)}: lacks {expected - offered}"
    assert len(known) > 20


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("novakey dev", "novakey devices"),
        ("novakey devices re", "novakey devices re"),
        ("novakey devices ren", "novakey devices rename"),
        ("novakey --data-dir /tmp comp", "novakey --data-dir /tmp completion"),
        ("novakey completion z", "novakey completion zsh"),
        ("novakey pair --a", "novakey pair --add"),
        ("python3 novakey.py devices ren", "python3 novakey.py devices rename"),
        ("python3 -u /tmp/novakey.py comp", "python3 -u /tmp/novakey.py completion"),
        ("python3 other.py scri", "python3 other.py script"),
    ],
)
def test_the_tab_key_completes(tab: Terminal, typed: str, completed: str) -> None:
    tab.press("C-u")
    tab.clear()
    tab.press("-l", typed)
    tab.press("Tab")
    tab.wait_for(rf"^\$ {completed} ?\Z")
    tab.press("C-u")


@pytest.fixture(scope="module")
def tab(script: Path) -> Iterator[Terminal]:
    with Terminal(script.parent / "nothing") as terminal:
        folder, source = shlex.quote(str(script.parent)), shlex.quote(str(script))
        terminal.run(f"cd {folder}; source {source}")
        yield terminal


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_zsh_and_fish_take_their_scripts(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "script"
    path.write_text(run("completion", shell).stdout)
    done = subprocess.run(
        [shell, "-n", str(path)], env=clean_environment(), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("novakey dev", "novakey devices"),
        ("novakey completion z", "novakey completion zsh"),
        ("python3 novakey.py devices ren", "python3 novakey.py devices rename"),
        ("python3 -u /tmp/novakey.py comp", "python3 -u /tmp/novakey.py completion"),
    ],
)
def test_zsh_completes_at_the_tab_key(zsh: Terminal, typed: str, completed: str) -> None:
    zsh.press("-l", typed)
    zsh.press("Tab")
    zsh.wait_for(rf"^% {completed} ?\Z")
    zsh.press("C-u")


@pytest.fixture(scope="module")
def zsh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    folder = tmp_path_factory.mktemp("zsh")
    (folder / "_novakey").write_text(run("completion", "zsh").stdout)
    (folder / ".zshrc").write_text(
        f"fpath=({shlex.quote(str(folder))} $fpath); autoload -Uz compinit; compinit -u\n"
        "novakey() { :; }; clear; PS1='%% '; setopt no_prompt_sp\n"
    )
    with Terminal(folder / "nothing") as terminal:
        terminal.type(f"ZDOTDIR={shlex.quote(str(folder))} zsh -i")
        terminal.wait_for(r"^% $")
        yield terminal


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("novakey devices re", {"rename", "revoke"}),
        ("python3 novakey.py devices re", {"rename", "revoke"}),
        ("python3 -u /tmp/novakey.py --data-dir '/a b' devices re", {"rename", "revoke"}),
        ("python3 other.py scri", {"script"}),
    ],
)
def test_fish_offers_the_commands(tmp_path: Path, typed: str, offered: set[str]) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    path = tmp_path / "script"
    path.write_text(run("completion", "fish").stdout)
    done = subprocess.run(
        ["fish", "--no-config", "-c", f'source {shlex.quote(str(path))}; complete -C"{typed}"'],
        env={**clean_environment(), "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert {line.split("\t")[0] for line in done.stdout.splitlines()} == offered


def test_bash_leaves_other_scripts_to_what_completed_python_before(script: Path) -> None:
    before = "_before() { COMPREPLY=(theirs); }; complete -F _before python3"
    source = shlex.quote(str(script))
    ask = "COMP_WORDS=(python3 other.py ''); COMP_CWORD=2; _novakey_python; echo ${COMPREPLY[*]}"
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", f"{before}\nsource {source}; source {source}\n{ask}"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "theirs\n"
