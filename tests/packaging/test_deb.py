"""The Debian package: its files, the same bytes twice, and from installing to purging on real machines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import needs
from support.daemon import ROOT

BUILD_S = 120
SUITES = ("bookworm", "trixie")
ANOTHER = 65534


def build(folder: Path, *words: str, umask: int = 0o022) -> Path:
    """Return the package."""
    needs.programs("dpkg-deb", "strip", "git")
    argv = [sys.executable, str(ROOT / "packaging/build"), *words, str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=BUILD_S, umask=umask, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.deb"))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("deb"), "--only", "deb")


def test_two_builds_are_the_same_bytes(package: Path, tmp_path: Path) -> None:
    again = build(tmp_path, "--only", "deb", umask=0o077)
    assert again.read_bytes() == package.read_bytes()
    assert (tmp_path / "SHA256SUMS").read_text() == (package.parent / "SHA256SUMS").read_text()


def test_it_holds_the_whole_program_and_what_a_desktop_looks_for(package: Path) -> None:
    listed = subprocess.run(["dpkg-deb", "-c", package], capture_output=True, text=True, check=True).stdout
    names = {line.split()[5].removeprefix("./") for line in listed.splitlines()}
    assert all("root/root" in line for line in listed.splitlines())
    program = {f"usr/lib/{path.relative_to(ROOT)}" for path in (ROOT / "novakey").rglob("*.py")}
    assert {name.replace("usr/lib/", "usr/lib/novakey/", 1) for name in program} <= names
    assert {
        "usr/bin/novakey",
        "usr/bin/novakey-askpass",
        "usr/bin/novakey-pinentry",
        "usr/bin/novakey-browser",
        "usr/lib/novakey/publicsuffixlist/public_suffix_list.dat",
        "usr/lib/systemd/user/novakey.service",
        "usr/share/applications/novakey.desktop",
        "usr/share/bash-completion/completions/novakey",
        "usr/share/fish/vendor_completions.d/novakey.fish",
        "usr/share/icons/hicolor/scalable/apps/novakey.svg",
        "usr/share/man/man1/novakey.1.gz",
        "usr/share/metainfo/novakey.metainfo.xml",
        "usr/share/zsh/vendor-completions/_novakey",
    } <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith(("etc", "home"))]


@pytest.mark.parametrize("foreign", [False, True], ids=["own", "of another user"])
def test_a_tree_without_the_pin_says_what_is_missing(tmp_path: Path, foreign: bool) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "packaging", tree / "packaging")
    for name in ("novakey/__init__.py", "CHANGELOG.md"):
        (tree / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, tree / name)
    (tree / "requirements.txt").write_text("gevent==1\n")
    for name in ("novakey.py", "docs/novakey.1"):
        (tree / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, tree / name)
    subprocess.run(["git", "init", "-q", tree], check=True)
    subprocess.run(["git", "-C", tree, "add", "-A"], check=True)
    if foreign:
        needs.root("gives the tree to another user")
        for path in (tree, *tree.rglob("*")):
            os.chown(path, ANOTHER, ANOTHER)
    argv = [sys.executable, tree / "packaging/build", "--only", "deb", tmp_path / "out"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=BUILD_S, check=False)
    assert done.returncode == 1
    assert (
        done.stderr
        == "packaging/build: requirements.txt does not name pqcrypto: take the file as git has it\n"
    )


@pytest.mark.long
@pytest.mark.parametrize("suite", SUITES)
def test_install_pair_type_upgrade_remove_and_purge(suite: str, tmp_path: Path) -> None:
    for name, revision in (("old", "1"), ("new", "2")):
        made = build(tmp_path / name, "--only", "deb", "--revision", revision)
        shutil.copyfile(made, tmp_path / f"{name}.deb")
    argv = [ROOT / "tests/packaging/deb-machine", suite, tmp_path]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.long
def test_lintian_finds_no_error(package: Path) -> None:
    needs.programs("lintian")
    done = subprocess.run(
        ["lintian", "--allow-root", package], capture_output=True, text=True, timeout=BUILD_S, check=False
    )
    assert done.returncode == 0, done.stdout
    assert not [line for line in done.stdout.splitlines() if line.startswith("E:")]
