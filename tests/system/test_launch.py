"""The launch script in a copy of the tree with an empty home: what it makes, what it repairs, what it says.

The copy stands in a folder with spaces in its name and is started through a
link from elsewhere. The interpreter is the one that the tests' environment was
made from, so nothing is importable but the standard library.
"""

from __future__ import annotations

import ast
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from support.daemon import ROOT, Daemon
from support.launch import BARE, BOOTSTRAP_S, copy_tree, environment

from novakey.wire import crypto


def start(
    script: Path, *words: str, env: dict[str, str], python: str = BARE, before: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run the script from another folder to its end."""
    return subprocess.run(
        [*before, python, str(script), *words],
        env=env,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BOOTSTRAP_S,
        check=False,
    )


def refused(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Exit 4 and one message: what is wrong on its first line, the cure below."""
    assert done.returncode == 4, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr and done.stdout == ""
    return done.stderr.splitlines()[-2:]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One copy for the tests below, which follow its life; `entry` is a link to its script."""
    folder = tmp_path_factory.mktemp("launch")
    copy_tree(folder / "Nova Key's copy")
    (folder / "entry").symlink_to(folder / "Nova Key's copy" / "novakey.py")
    return folder


@pytest.fixture
def offline() -> tuple[str, ...]:
    """Return the words that start a program where no network is; nothing where the system forbids that."""
    words = ("unshare", "-rn")
    allowed = subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
    return words if allowed else ()


def test_where_bootstrapping_is_forbidden_it_names_the_packages_and_makes_nothing(tree: Path) -> None:
    done = start(tree / "entry", env=environment(tree / "home", NOVAKEY_NO_BOOTSTRAP="1"))
    problem, cure = refused(done)
    named = problem.removeprefix("novakey: missing packages: ").partition(" (")[0].split(", ")
    assert "pqcrypto" in named  # this Python may have some of the others
    assert cure.endswith("-m pip install --require-hashes -r requirements.txt")
    assert not (tree / "Nova Key's copy" / ".venv").exists() and not list((tree / "home").iterdir())


def test_a_python_without_venv_is_told_what_to_install(tree: Path) -> None:
    """As Debian has it without python3-venv: the standard library lacks one package."""
    library = Path(os.__file__).parent
    theirs = tree / "python" / "lib" / library.name
    theirs.mkdir(parents=True)
    for entry in library.iterdir():
        if entry.name not in ("ensurepip", "site-packages", "dist-packages"):
            (theirs / entry.name).symlink_to(entry)
    env = environment(tree / "home", PYTHONHOME=str(tree / "python"))
    problem, cure = refused(start(tree / "entry", env=env))
    assert "its venv or ensurepip module is missing" in problem
    assert cure == f"install it, on Debian with: apt install python3.{sys.version_info[1]}-venv"
    assert not (tree / "Nova Key's copy" / ".venv").exists()


def test_without_a_network_it_says_so_once(tree: Path, offline: tuple[str, ...]) -> None:
    env = environment(tree / "home", PIP_CONFIG_FILE=os.devnull, PIP_NO_CACHE_DIR="1", PIP_RETRIES="0")
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"):
        env.pop(name, None)
    env["PIP_INDEX_URL"] = "https://127.0.0.1:9/simple"  # nothing listens on the discard port
    done = start(tree / "entry", env=env, before=offline)
    problem, cure = refused(done)
    assert problem == "novakey: installing the packages failed: the package registry cannot be reached"
    assert "connect this machine to the network" in cure


def test_a_package_with_another_hash_is_not_installed(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "tree")
    (tree / "requirements.txt").write_text(f"platformdirs==4.3.6 --hash=sha256:{'0' * 64}\n")
    problem, cure = refused(start(tree / "novakey.py", env=environment(tmp_path / "home")))
    assert "a package is not the one that requirements.txt names" in problem
    assert cure.startswith("do not use it")


def test_a_first_start_waits_for_no_lock_that_another_user_can_take(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "tree")
    held = [os.open(path, os.O_RDONLY) for path in (tree, tree / "novakey.py", tree / "requirements.txt")]
    for handle in held:  # as every user can who may read the program
        fcntl.flock(handle, fcntl.LOCK_EX)
    starting = subprocess.Popen(
        [BARE, str(tree / "novakey.py")],
        env=environment(tmp_path / "home"),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert starting.stderr is not None
        assert "installing into" in starting.stderr.readline()
        lock = tree / ".venv" / "novakey-lock"
        assert stat.S_IMODE(lock.stat().st_mode) == 0o600
        with lock.open("r+") as ours, pytest.raises(BlockingIOError):
            fcntl.flock(ours, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.killpg(starting.pid, signal.SIGKILL)
        starting.communicate()
        for handle in held:
            os.close(handle)


def test_a_first_start_that_is_interrupted_says_so_and_leaves_it_marked_unfinished(tree: Path) -> None:
    # Tests in the background of a script ignore the signal, and so does all that they start.
    installing = subprocess.Popen(
        ["env", "--default-signal=INT", BARE, str(tree / "entry")],
        env=environment(tree / "home"),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert installing.stderr is not None
    said = ""
    for line in installing.stderr:
        said += line
        if "  collecting " in line:
            break
    os.killpg(installing.pid, signal.SIGINT)  # as a terminal does it
    said += installing.stderr.read()
    assert installing.wait(30) == 130, said
    assert "installing into" in said and "interrupted; the next start begins the installation again" in said
    assert (tree / "Nova Key's copy" / ".venv" / "novakey-requirements").read_text() == "unfinished\n"


def test_the_next_start_repairs_it_shows_progress_and_serves_with_a_qr(tree: Path) -> None:
    """The one whole installation of the suite, in the folder that the interrupted one left."""
    environment_folder = tree / "Nova Key's copy" / ".venv"
    (environment_folder / "left over").touch()
    lock = (environment_folder / "novakey-lock").stat().st_ino
    launch = (BARE, str(tree / "entry"))
    with Daemon(tree / "d", env=environment(tree / "home"), launch=launch, start_s=BOOTSTRAP_S) as daemon:
        said = daemon.log()
        for step in ("first start", "making the environment", "installing the packages", "collecting gevent"):
            assert step in said, said
        scheme, _, query = daemon.uri().partition("?")
        members = {name: value[0] for name, value in parse_qs(query).items()}
        assert scheme == "novakey://pair"
        assert members.keys() == {"v", "host", "port", "token", "fp", "exp"}
        assert (members["v"], members["host"], members["port"]) == ("3", "127.0.0.1", str(daemon.port))
        assert time.time() < int(members["exp"]) <= time.time() + 600
        profile = daemon.pair()
        assert members["fp"] == crypto.fingerprint(profile.public)
        assert daemon.stop() == 0
    assert not (environment_folder / "left over").exists()
    assert (environment_folder / "novakey-lock").stat().st_ino == lock
    assert not [path for path in (tree / "home").rglob("*") if "novakey" in path.name]


def test_a_later_start_installs_nothing_and_needs_no_network(tree: Path, offline: tuple[str, ...]) -> None:
    done = start(tree / "entry", "--version", env=environment(tree / "home"), before=offline)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.startswith("novakey ")


def test_a_package_that_went_missing_is_installed_again(tree: Path) -> None:
    installed = next((tree / "Nova Key's copy" / ".venv").glob("lib/python3*/site-packages"))
    for path in (*installed.glob("platformdirs*"), *installed.glob("png*")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    done = start(tree / "entry", "--version", env=environment(tree / "home"))
    assert done.returncode == 0 and "collecting platformdirs" in done.stderr, done.stderr
    assert done.stdout.startswith("novakey ")


def test_where_the_packages_are_importable_no_environment_is_made(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "tree")
    done = start(
        tree / "novakey.py", "config", "check", env=environment(tmp_path / "home"), python=sys.executable
    )
    assert done.returncode == 0, done.stderr
    assert not (tree / ".venv").exists()


def test_an_older_python_can_still_read_the_script_and_is_told_which_one_is_needed(tree: Path) -> None:
    ast.parse((ROOT / "novakey.py").read_text(), feature_version=(3, 4))
    for minor in (*range(6, 11), None):
        older = shutil.which("python2.7" if minor is None else f"python3.{minor}")
        works = older and subprocess.run([older, "-c", ""], capture_output=True, check=False).returncode == 0
        if older and works:
            problem, cure = refused(start(tree / "entry", env=environment(tree / "home"), python=older))
            assert "and 3.11 or newer is needed" in problem and "install a newer Python" in cure
