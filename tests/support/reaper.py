"""Runs a command so that nothing of it is left, however it ends; the standard library is enough.

    reaper.py [options] -- COMMAND...

Two processes stand around the command. The front process is in the terminal and passes on Ctrl-C and
SIGTERM. The reaper has a session of its own, and every orphan of the command becomes its child. Where this
user may have one, it is also the first process of a pid namespace with mounts of its own: the kernel ends
all in there when the reaper ends. If the front process dies, its socket to the reaper closes, and the reaper
ends all. If the reaper dies, the front process ends what remains. The command finds the pid of the reaper
in `TESTS_REAPER`.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

GRACE_S = 2  # to clean up after Ctrl-C or SIGTERM; all has ended within 5
LINGER_S = 3  # what the command started may need this to notice that the command has ended
IN_A_HURRY_S = 0.5  # for the same, where the run has to end at once
STOPPED_S = 10.0  # no test stops a worker or pytest
LEFT_BEHIND = 1
_SET_CHILD_SUBREAPER = 36  # prctl(2)
_ASKED = {signal.SIGINT: b"i", signal.SIGTERM: b"t", signal.SIGHUP: b"t", signal.SIGQUIT: b"t"}
_NAMESPACE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "slave", "--"]


def say(text: str) -> None:
    """Print a line, also when the terminal has gone."""
    with suppress(OSError):
        os.write(2, f"tests/run: {text}\n".encode(errors="backslashreplace"))


def parents() -> dict[int, tuple[int, str]]:
    """Return the parent and the state letter of every process, by pid."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        found[int(entry.name)] = (int(fields[1]), fields[0])
    return found


def descendants(pid: int, without: Iterable[int] = ()) -> list[int]:
    """All living processes under `pid`, without the given ones; a zombie is not living."""
    table = parents()
    children: dict[int, list[int]] = {}
    for child, (parent, _) in table.items():
        children.setdefault(parent, []).append(child)
    found, waiting = [], [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            waiting.append(child)
            if table[child][1] not in "ZX" and child not in set(without):
                found.append(child)
    return found


def describe(pid: int) -> str:
    """Return a process in words: its pid, its command, and the test that started it."""
    command = " ".join(_read(pid, "cmdline").replace("\0", " ").split())[:160]
    tests = [word for word in _read(pid, "environ").split("\0") if word.startswith("PYTEST_CURRENT_TEST=")]
    started = f" (started in {tests[0].partition('=')[2]})" if tests else ""
    return f"process {pid}: {command}{started}"


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")
    except OSError:  # it has ended, or is another user's
        return ""


def _until(done: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        _collect()
        time.sleep(0.02)
    return True


def _collect() -> dict[int, int]:
    """Take the statuses of the children that have ended."""
    ended = {}
    try:
        while (taken := os.waitpid(-1, os.WNOHANG))[0]:
            ended[taken[0]] = os.waitstatus_to_exitcode(taken[1])
    except ChildProcessError:
        pass
    return ended


def end_all(pid: int) -> list[int]:
    """Kill everything under `pid`, the stopped too; what cannot be killed, such as another user's."""

    def none_is_left() -> bool:
        for child in descendants(pid):
            _kill(child)
        return not descendants(pid)

    return [] if _until(none_is_left, 5) else descendants(pid)


def _kill(pid: int) -> None:
    with suppress(OSError):  # it has ended, or is another user's
        os.kill(pid, signal.SIGKILL)


class Displays:
    """The sockets and locks of X servers and buses in /tmp that appeared here and serve no more."""

    PATTERNS = (".X11-unix/X*", ".X*-lock", "dbus-*")

    def __init__(self) -> None:
        self._before = set(self._all())

    def _all(self) -> list[Path]:
        return [path for pattern in self.PATTERNS for path in Path("/tmp").glob(pattern)]

    def dead(self) -> list[Path]:
        """Those of this user without a listener. A lock belongs to the socket with its number."""
        try:
            serving = Path("/proc/net/unix").read_text(errors="replace")
        except OSError:
            return []
        words = {word.lstrip("@") for line in serving.splitlines() for word in line.split()[7:]}
        return [path for path in self._all() if self._is_ours(path) and self._socket(path) not in words]

    def remove(self, patience_s: float) -> list[Path]:
        """Remove those that stay dead: another run's server has its lock a moment before it serves."""
        until, gone = time.monotonic() + patience_s, self.dead()
        while gone and time.monotonic() < until:
            time.sleep(0.05)
            dead = set(self.dead())
            gone = [path for path in gone if path in dead]
        for path in gone:
            path.unlink(missing_ok=True)
        return gone

    def _is_ours(self, path: Path) -> bool:
        try:
            return path not in self._before and path.lstat().st_uid == os.geteuid()
        except OSError:
            return False

    @staticmethod
    def _socket(path: Path) -> str:
        number = path.name.removeprefix(".X").removesuffix("-lock")
        return f"/tmp/.X11-unix/X{number}" if path.name.startswith(".X") else str(path)


class Reaper:
    """The inner process. `control` is its socket to the front one."""

    def __init__(self, argv: list[str], control: int, limit: float, stopped: float) -> None:
        self._control = control
        self._limit = time.monotonic() + limit
        self._displays = Displays()
        self._stopped_s = stopped
        self._stopped: dict[int, float] = {}
        self._look_at = 0.0
        self._kill_at: float | None = None
        self._asked: int | None = None
        for number in _ASKED:
            signal.signal(number, lambda number, _: self._ask(number))
        env = {**os.environ, "TESTS_REAPER": str(os.getpid())}
        self._started = subprocess.Popen(
            argv, env=env, process_group=0
        )  # kept: a dropped one takes the status
        self._command = self._started.pid

    def run(self) -> int:
        """Wait for the command, then see that nothing is left; the exit status."""
        status = None
        while status is None:
            status = _collect().get(self._command)
            if status is not None:
                break
            ready, _, _ = select.select([self._control], [], [], 0.1)
            if ready and not self._hear(os.read(self._control, 1)):
                return self._force("tests/run itself was killed", 128 + signal.SIGKILL)
            if time.monotonic() > self._limit:
                return self._force("the run took too long", 124)
            if self._kill_at is not None and time.monotonic() > self._kill_at:
                break
            self._end_the_stopped()
        if self._asked is not None:
            return self._force(f"ended by {signal.Signals(self._asked).name}", 128 + self._asked)
        assert status is not None
        if status < 0:
            return self._force(f"the command was ended by {signal.Signals(-status).name}", 128 - status)
        left = self._check()
        return status or left

    def _hear(self, word: bytes) -> bool:
        if word:
            self._ask(next(number for number, letter in _ASKED.items() if letter == word))
        return bool(word)

    def _ask(self, number: int) -> None:
        """Interrupt the command, which may clean up; a second request does not wait."""
        self._kill_at = time.monotonic() + (GRACE_S if self._asked is None else 0)
        self._asked = self._asked or number
        with suppress(OSError):
            os.killpg(self._command, signal.SIGINT)

    def _end_the_stopped(self) -> None:
        """Kill a worker, or pytest itself, that was sent SIGSTOP: it would be waited for without end."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + 1
        table = parents()
        stopped = [
            pid for pid, (parent, state) in table.items() if state == "T" and self._command in (pid, parent)
        ]
        self._stopped = {pid: self._stopped.get(pid, now) for pid in stopped}
        for pid, since in self._stopped.items():
            if now - since > self._stopped_s:
                say(f"killing what was stopped for {self._stopped_s:g} s: {describe(pid)}")
                _kill(pid)

    def _force(self, why: str, status: int) -> int:
        left = descendants(os.getpid())
        say(f"{why}; killing what remains: {len(left)} processes")
        for pid in end_all(os.getpid()):
            say(f"cannot be killed: {describe(pid)}")
        self._displays.remove(IN_A_HURRY_S)
        return status

    def _check(self) -> int:
        """After a good end: what should have ended itself is named, and a failure."""
        _until(lambda: not descendants(os.getpid()), LINGER_S)
        left = [describe(pid) for pid in descendants(os.getpid())]
        end_all(os.getpid())
        left += [f"display or bus {path}" for path in self._displays.remove(LINGER_S)]
        for what in left:
            say(f"left behind: {what}")
        return LEFT_BEHIND if left else 0


def front(argv: list[str], before: list[str]) -> int:
    """Start the reaper, pass on what the terminal says, and end all if the reaper dies."""
    displays = Displays()
    ours, theirs = socket.socketpair()
    asked: list[tuple[float, int]] = []

    def ask(number: int, _: object) -> None:
        asked.append((time.monotonic(), number))
        with suppress(OSError):  # the reaper has ended
            ours.send(_ASKED[signal.Signals(number)])

    for number in _ASKED:
        signal.signal(number, ask)
    me = [*before, sys.executable, str(Path(__file__).resolve()), "--control", str(theirs.fileno())]
    reaper = subprocess.Popen([*me, *argv], pass_fds=[theirs.fileno()], start_new_session=True)
    theirs.close()
    while reaper.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            reaper.wait(0.5)
        if asked and time.monotonic() - asked[0][0] > GRACE_S + 2.5:
            reaper.kill()
    said = ours.recv(16)
    if not said:
        say("the reaper was killed; killing what remains")
        end_all(os.getpid())
        displays.remove(IN_A_HURRY_S)
    return int(said or 128 + (asked[0][1] if asked else signal.SIGKILL))


def _own_namespace() -> list[str]:
    """Return the words that give a command a pid namespace and mounts, if this user may have them."""
    try:
        tried = subprocess.run(
            [*_NAMESPACE, "true"], stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return _NAMESPACE if tried.returncode == 0 else []


def main() -> int:
    """Run as the front process, or with `--control` as the reaper."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit", type=float, default=30 * 60.0, help="seconds for the whole run")
    parser.add_argument(
        "--stopped", type=float, default=STOPPED_S, help="seconds until what is stopped is killed"
    )
    parser.add_argument("--no-namespace", action="store_true")
    parser.add_argument("--control", type=int, help=argparse.SUPPRESS)
    parser.add_argument("argv", nargs="+")
    words = parser.parse_args()
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if words.control is None:
        return front(sys.argv[1:], [] if words.no_namespace else _own_namespace())
    os.set_inheritable(words.control, False)
    status = Reaper(words.argv, words.control, words.limit, words.stopped).run()
    with suppress(OSError):
        os.write(words.control, str(status).encode())
    return status


if __name__ == "__main__":
    sys.exit(main())
