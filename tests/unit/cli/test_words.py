"""Words that people try because other programs have them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.daemon import ROOT, Daemon, run

from novakey import __version__


@pytest.mark.parametrize(
    ("words", "as_well"),
    [
        (("help",), ("--help",)),
        (("help", "devices", "revoke"), ("devices", "revoke", "--help")),
        (("version",), ("--version",)),
    ],
)
def test_a_word_is_as_good_as_the_option(words: tuple[str, ...], as_well: tuple[str, ...]) -> None:
    said, expected = run(*words), run(*as_well)
    assert (said.returncode, said.stdout, said.stderr) == (0, expected.stdout, "")
    assert said.stdout.startswith(("usage:", f"novakey {__version__}"))


def test_devices_alone_lists_them(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        daemon.pair("anna")
        alone, listed = (run("--data-dir", daemon.folder, "devices", *more) for more in ((), ("list",)))
    assert (alone.returncode, alone.stdout, alone.stderr) == (0, listed.stdout, "")
    assert alone.stdout.startswith("anna\n")


def test_the_example_can_be_used_as_it_is(tmp_path: Path) -> None:
    said = run("config", "example")
    assert said.returncode == 0
    assert said.stdout == (ROOT / "conf/novakey.yaml").read_text()
    file = tmp_path / "novakey.yaml"
    file.write_text(said.stdout)
    checked = run("--data-dir", tmp_path / "d", "--config", file, "config", "check")
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(("option", "word"), [("--profile", "hard"), ("--listen", "the moon")])
def test_a_choice_that_setup_does_not_have_is_refused_before_anything_else(
    tmp_path: Path, option: str, word: str
) -> None:
    said = run("--data-dir", tmp_path / "d", "setup", option, word)
    assert said.returncode == 2
    assert said.stderr.startswith(f"novakey: {word!r} is no ")
    assert not (tmp_path / "d").exists()
