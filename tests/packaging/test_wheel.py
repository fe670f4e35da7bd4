"""The wheel: what is in it, and that an environment with nothing but it serves."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.daemon import ROOT, Daemon
from support.launch import BARE, BOOTSTRAP_S, copy_tree, environment


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, because building leaves folders behind."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = copy_tree(folder / "tree")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(tree)]
    done = subprocess.run(build, capture_output=True, text=True, timeout=BOOTSTRAP_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


def test_it_holds_the_whole_package_and_the_example_and_nothing_else(wheel: Path) -> None:
    from novakey import __version__

    assert wheel.name == f"novakey-{__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "novakey").rglob("*.py")}
    package |= {"novakey/py.typed"}
    assert package <= names
    data = f"novakey-{__version__}.data/data/share/novakey"
    assert f"{data}/novakey.yaml" in names
    rest = {name for name in names - package if not name.startswith((f"novakey-{__version__}.d",))}
    assert not rest, rest


def test_an_empty_environment_with_it_serves_and_shows_a_qr(wheel: Path, tmp_path: Path) -> None:
    env = environment(tmp_path / "home")
    run = {"env": env, "check": True, "capture_output": True, "timeout": BOOTSTRAP_S, "cwd": tmp_path}
    subprocess.run([BARE, "-m", "venv", "--without-pip", "v"], **run)
    # The daemon needs just what the launch script installs, by the same pins.
    constraint = ("--constraint", "requirements.txt")
    pins = [line.split(" \\")[0] for line in (ROOT / "requirements.txt").read_text().splitlines()]
    (tmp_path / "requirements.txt").write_text("\n".join(p for p in pins if p[:1].isalpha()) + "\n")
    pip = [sys.executable, "-m", "pip", "--python", "v/bin/python"]
    subprocess.run([*pip, "install", "-q", "--only-binary=:all:", *constraint, str(wheel)], **run)
    command = tmp_path / "v/bin/novakey"
    with Daemon(tmp_path / "d", env=env, launch=[str(command)], arguments=("serve",)) as daemon:
        assert daemon.uri().startswith("novakey://pair?v=3&")
        assert daemon.pair().device_id == "phone-1"
    shown = subprocess.run([command, "config", "--help"], **run, text=True).stdout
    assert shown.startswith("usage: novakey config")
    assert (tmp_path / "v/share/novakey/novakey.yaml").read_text() == (ROOT / "conf/novakey.yaml").read_text()


def test_what_it_requires_is_what_the_launch_script_installs(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    metadata = archive.read(next(n for n in archive.namelist() if n.endswith("METADATA"))).decode()
    required = {line.split(": ")[1] for line in metadata.splitlines() if line.startswith("Requires-Dist")}
    wanted = [
        line for line in (ROOT / "requirements.in").read_text().splitlines() if line[:1] not in ("#", "")
    ]
    assert {line for line in required if "extra ==" not in line} == {
        line.replace(" ;", ";") for line in wanted
    }


def test_one_file_patches_the_standard_library_and_every_way_in_passes_it() -> None:
    patching = [path for path in (ROOT / "novakey").rglob("*.py") if "patch_all" in path.read_text()]
    assert patching == [ROOT / "novakey" / "__main__.py"]
    assert "patch_all" not in (ROOT / "novakey.py").read_text()
    entered = (
        "import sys; sys.argv = ['novakey', '--version']\n"
        "from novakey.__main__ import main\n"
        "assert 'socket' not in sys.modules and 'threading' not in sys.modules\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "from gevent import monkey\n"
        "assert monkey.is_module_patched('socket') and monkey.is_module_patched('threading')\n"
    )
    done = subprocess.run([sys.executable, "-c", entered], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [sys.executable, "-m", "novakey", "--version"], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0 and done.stdout.startswith(b"novakey "), done.stderr


@pytest.mark.long
def test_pipx_makes_the_command_from_the_tree(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "tree")
    places = {name: str(tmp_path / name) for name in ("PIPX_HOME", "PIPX_BIN_DIR", "PIPX_MAN_DIR")}
    env = environment(tmp_path / "home", **places)
    run = {"env": env, "check": True, "capture_output": True, "timeout": BOOTSTRAP_S, "cwd": tmp_path}
    subprocess.run([BARE, "-m", "venv", "v"], **run)
    subprocess.run(["v/bin/pip", "install", "-q", "pipx"], **run)
    subprocess.run(["v/bin/pipx", "install", "--python", BARE, str(tree)], **run)
    command = tmp_path / "PIPX_BIN_DIR" / "novakey"
    with Daemon(tmp_path / "d", env=env, launch=[str(command)], arguments=("serve",)) as daemon:
        assert daemon.uri().startswith("novakey://pair?v=3&")
        assert daemon.pair().device_id == "phone-1"
