"""Killed or failing anywhere in an import or its undoing: the old state or the new, and both ways go on.

Each run tries some of the calls, the long form all of them: pytest -m long tests/system/test_import_crash.py
"""

from __future__ import annotations

import os
import random
import runpy
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from support.daemon import ROOT
from support.other_daemon import Other

from novakey.config.settings import Settings
from novakey.daemon import import_legacy as importing
from novakey.daemon.startup import open_installation
from novakey.devices import import_record, other_daemon
from novakey.errors import NovaKeyError
from novakey.system.paths import Paths

CALLS = 60  # about as many durable calls as an import makes
EVERY = range(1, 2 * CALLS)  # up to a number that is never reached
FAULTS = ROOT / "tests" / "support" / "faults" / "sitecustomize.py"
SETTINGS = Settings()


def paths_in(home: Path) -> Paths:
    data = home / "data"
    return Paths(config=home / "config", data=data, log=home / "log", runtime=data)


def tree(home: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(home)): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in home.rglob("*")
        if path.name != "novakey.lock" and not path.match(".import.json.*.tmp")  # hold nothing of anybody
    }


def with_fault(home: Path, fault: str, act: Callable[[], object]) -> bool:
    """Do it in a process of its own with a fault at a durable call; whether it came to its end."""
    plan = home.with_name("plan")
    plan.write_text(fault)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.environ["FAULT_PLAN"] = str(plan)
            runpy.run_path(str(FAULTS))
            act()
            code = 0
        except NovaKeyError:
            code = 3
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, 3, -9), status
    return status == 0


def take_over(home: Path) -> None:
    """As the command does it."""
    paths = paths_in(home)
    importing.clear_interrupted(paths, SETTINGS)
    importing.import_from(importing.find(paths), paths, SETTINGS)


def go_back(home: Path) -> None:
    if import_record.load(paths_in(home).data) is not None:
        importing.undo(paths_in(home), SETTINGS)


def is_new(home: Path, other: Other) -> bool:
    """Whether our daemon starts with all of its phones; where not, it says what to do and touches nothing."""
    paths = paths_in(home)
    if other_daemon.problem(paths, SETTINGS) is not None:
        return False
    installation = open_installation(paths, SETTINGS)
    found = {device.id: device.key for device in installation.devices}
    assert found == {phone.device_id: phone.device_key for phone in other.phones}
    assert installation.server.public == other.phones[0].public
    return True


@pytest.fixture
def home() -> Iterator[Path]:
    """Return a home in memory, where there is one to be had: hundreds of calls wait for the disk."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="novakey-import-", dir=memory) as folder:
        (Path(folder) / "home").mkdir()
        yield Path(folder) / "home"


@pytest.fixture
def other(home: Path) -> Other:
    return Other.make(home / "data", mode=0o755)


def copy(of: Path, name: str) -> Path:
    return Path(shutil.copytree(of, of.with_name(name)))


def fault_at(home: Path, fault: str, act: Callable[[], object]) -> bool:
    """Do it with the fault; whether there was such a call."""
    whole = with_fault(home, fault, act)
    hit = home.with_name("plan.hit")
    if not hit.exists():
        assert whole
        return False
    hit.unlink()
    return True


def an_import_with(home: Path, other: Other, kind: str, numbers: Iterable[int]) -> list[bool]:
    """Let each of these calls fail; whether what was left is the new state."""
    was, pristine = tree(home), copy(home, "pristine")
    outcomes: list[bool] = []
    for number in numbers:
        if not fault_at(home, f"{kind} {number}", lambda: take_over(home)):
            assert is_new(home, other)
            break
        # The record names whole paths, so each way on is tried at the same place.
        halfway = copy(home, "halfway")
        outcomes.append(is_new(home, other))
        if kind != "kill" and not outcomes[-1]:
            assert tree(home) == was, "a failure that is reported has changed nothing"
        shutil.rmtree(home)
        copy(halfway, "home")
        go_back(home)
        assert tree(home) == was, f"{kind} {number}: the way back"
        shutil.rmtree(home)
        halfway.rename(home)
        if not outcomes[-1]:
            take_over(home)
        assert is_new(home, other), f"{kind} {number}: the way on"
        shutil.rmtree(home)
        copy(pristine, "home")
    assert kind != "kill" or outcomes == sorted(outcomes), "at one call it becomes new, and stays so"
    return outcomes


def an_undoing_with(home: Path, kind: str, numbers: Iterable[int]) -> int:
    """Let each of these calls fail, and undo again; the number of faults."""
    was = tree(home)
    take_over(home)
    imported = copy(home, "imported")
    for done, number in enumerate(numbers):
        if not fault_at(home, f"{kind} {number}", lambda: go_back(home)):
            return done
        go_back(home)
        assert tree(home) == was, f"{kind} {number}"
        shutil.rmtree(home)
        copy(imported, "home")
    return len(list(numbers))


def some(of: int) -> list[int]:
    return sorted(random.sample(range(1, of), 4))


@pytest.mark.parametrize("kind", ["kill", "ENOSPC"])
def test_a_fault_in_an_import_leaves_the_old_state_or_the_new(home: Path, other: Other, kind: str) -> None:
    assert an_import_with(home, other, kind, some(CALLS - 10))


@pytest.mark.parametrize("kind", ["kill", "ENOSPC"])
def test_a_fault_in_the_undoing_is_made_good_by_the_next_try(home: Path, other: Other, kind: str) -> None:
    assert an_undoing_with(home, kind, some(30)) == 4


@pytest.mark.long
@pytest.mark.parametrize("kind", ["kill", "ENOSPC"])
def test_a_fault_at_each_durable_call_of_an_import_and_of_its_undoing_long(
    home: Path, other: Other, kind: str
) -> None:
    outcomes = an_import_with(home, other, kind, EVERY)
    go_back(home)
    undone = an_undoing_with(home, kind, EVERY)
    print(f"\n{kind}: {outcomes.count(False)} old, {outcomes.count(True)} new; {undone} undone")
    assert outcomes.count(False) > CALLS // 2 and undone > CALLS // 4


def test_an_import_whose_files_were_thrown_away_is_not_undone_and_loses_nothing(
    home: Path, other: Other
) -> None:
    take_over(home)
    shutil.rmtree(home / "data" / "before-import-1")
    now = tree(home)
    with pytest.raises(NovaKeyError, match="is gone"):
        go_back(home)
    assert tree(home) == now and is_new(home, other)


def test_a_lock_of_ours_stays_and_comes_back_with_the_undoing(home: Path, other: Other) -> None:
    from novakey.pairing import record
    from novakey.pairing.model import Record

    paths = paths_in(home)
    record.save(paths.pairing, Record(interrupted=5, locked="5 pairing windows were interrupted"))
    was = tree(home)
    take_over(home)
    assert record.load(paths.pairing).locked
    go_back(home)
    assert tree(home) == was
