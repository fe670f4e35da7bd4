"""Where a passphrase comes from: a file that is named in the environment, or a terminal.

The file is for containers, where an orchestrator puts it. The passphrase never
stands in the environment or in the arguments themselves: other programs of the
user can read those, and they end up in logs and crash reports.
"""

from __future__ import annotations

import os
import select
import stat
import termios
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from novakey.errors import StoreError
from novakey.secret import Secret
from novakey.system.paste import command
from novakey.system.sanitize import lines
from novakey.system.tty import restored

VARIABLE = "NOVAKEY_PASSPHRASE_FILE"

MAX_SIZE = 1024  # bytes; longer than anybody's passphrase, and what a terminal takes as one line
MIN_NEW_SIZE = 8  # below that Argon2id makes guessing slow, not infeasible
PROMPT_S = 120  # a start without a person must fail, not wait for ever


class Source(ABC):
    """Gives the passphrase."""

    tries = 1
    """How often asking again may give another answer."""

    def ask(self, new: bool) -> Secret:
        """Return the passphrase, not empty. `new` means a first choice. `StoreError` without one."""
        for _ in range(self.tries - 1):
            passphrase = self._get(new)
            fault = self._fault(passphrase, new)
            if fault is None:
                return passphrase
            self.tell(fault.problem)
        passphrase = self._get(new)
        fault = self._fault(passphrase, new)
        if fault is not None:
            raise fault
        return passphrase

    def _fault(self, passphrase: Secret, new: bool) -> StoreError | None:
        if not passphrase:
            return StoreError(f"{self._where()} is empty", "give a passphrase")
        if len(passphrase) > MAX_SIZE:
            return StoreError(f"{self._where()} has more than {MAX_SIZE} bytes", "use a shorter one")
        if new and len(passphrase) < MIN_NEW_SIZE:
            return StoreError(
                f"{self._where()} has fewer than {MIN_NEW_SIZE} bytes",
                "choose a longer one: a short one can be guessed from a copy of the disk",
            )
        return None

    def tell(self, problem: str) -> None:  # noqa: B027  # most sources have no person to tell
        """Say to the person, if there is one, what was wrong before asking again."""

    @abstractmethod
    def _get(self, new: bool) -> Secret: ...

    @abstractmethod
    def _where(self) -> str: ...


def from_environment(env: Mapping[str, str]) -> Source:
    """Return the file that `NOVAKEY_PASSPHRASE_FILE` names; else the terminal."""
    named = env.get(VARIABLE)
    return PassphraseFile(Path(named)) if named else Terminal()


def _cure(named_by: str) -> str:
    return f"write the passphrase to a file that only you can read, and name that by {named_by}"


class PassphraseFile(Source):
    """A regular file with the passphrase, less one line end.

    Links are followed: Kubernetes hands secrets out as links. A file of root's
    may be readable by everybody: that is how Docker and Kubernetes hand secrets
    to a container's ordinary user, and no other user is in there; outside of a
    container it is root's own choice. Only root and we may write it, and
    one of our own that others can read is refused.
    """

    def __init__(self, path: Path, named_by: str = VARIABLE) -> None:
        self._path = path
        self._named_by = named_by

    def _where(self) -> str:
        return f"the passphrase in {self._path}"

    def _get(self, new: bool) -> Secret:
        try:
            # O_NONBLOCK: opening a fifo must not hang.
            handle = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a path"
            raise StoreError(
                f"the passphrase file {self._path} cannot be read: {reason}",
                f"{self._named_by} must name a file that this user can read",
            ) from error
        try:
            self._check(os.fstat(handle))
            data = os.read(handle, MAX_SIZE + len(b"\r\n") + 1)
        except OSError as error:
            raise StoreError(f"the passphrase file {self._path} cannot be read: {error.strerror}") from error
        finally:
            os.close(handle)
        return Secret(data.removesuffix(b"\n").removesuffix(b"\r") if data.endswith(b"\n") else data)

    def _check(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise StoreError(f"the passphrase file {self._path} is not a regular file", _cure(self._named_by))
        if status.st_uid not in (0, os.geteuid()):
            raise StoreError(
                f"the passphrase file {self._path} belongs to another user (uid {status.st_uid})",
                f"if it is yours: {command('chown', os.geteuid(), foreign=self._path)}",
            )
        if status.st_mode & 0o022 or (status.st_uid != 0 and status.st_mode & 0o077):
            raise StoreError(
                f"others have rights on the passphrase file {self._path}"
                f" (mode {stat.S_IMODE(status.st_mode):04o})",
                f"correct it: {command('chmod', 600, foreign=self._path)}",
            )


class Terminal(Source):
    """The terminal that the daemon was started in, without echo, for at most `timeout_s` a question.

    As `getpass` does it, which knows no deadline; waiting lets others run.
    """

    tries = 3

    def __init__(
        self,
        timeout_s: float = PROMPT_S,
        path: str = "/dev/tty",
        what: str = "the device store",
        named_by: str = VARIABLE,
    ) -> None:
        self._timeout_s = timeout_s
        self._path = path
        self._what = what
        self._cure = _cure(named_by)

    def tell(self, problem: str) -> None:
        """See `Source.tell`."""
        with self._open() as terminal:
            terminal.write(f"{lines(problem)}\n".encode())

    def _where(self) -> str:
        return "the passphrase"

    def _get(self, new: bool) -> Secret:
        with self._open() as terminal:
            if not new:
                return self._question(terminal, f"passphrase of {self._what}: ")
            for _ in range(self.tries):
                first = self._question(terminal, f"new passphrase for {self._what}: ")
                if first == self._question(terminal, "the same once more: "):
                    return first
                terminal.write(b"the two differ\n")
        raise StoreError("the two passphrases differ", "start again and type the same one twice")

    def _open(self) -> Any:
        try:
            terminal = open(self._path, "r+b", buffering=0)  # noqa: SIM115  # the caller closes it
        except OSError as error:
            raise StoreError("there is no terminal to ask for the passphrase on", self._cure) from error
        try:
            # In the background the kernel would stop the whole process at the first question.
            foreground = os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
        except OSError:
            foreground = False
        if not foreground:
            terminal.close()
            raise StoreError("the passphrase cannot be asked for in the background", self._cure)
        return terminal

    def _question(self, terminal: Any, prompt: str) -> Secret:
        handle = terminal.fileno()
        silent = termios.tcgetattr(handle)
        silent[3] &= ~termios.ECHO
        try:
            with restored(handle):
                termios.tcsetattr(handle, termios.TCSAFLUSH, silent)  # drops what was typed ahead, with echo
                terminal.write(prompt.encode())
                line = self._line(handle)
        except StoreError:
            terminal.write(b"\n")
            raise
        terminal.write(b"\n")
        return Secret(line.rstrip(b"\r\n"))

    def _line(self, handle: int) -> bytes:
        line = b""
        until = time.monotonic() + self._timeout_s
        while not line.endswith(b"\n") and len(line) <= MAX_SIZE:
            ready, _, _ = select.select([handle], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise StoreError(f"the passphrase was not given within {self._timeout_s:g} s", self._cure)
            part = os.read(handle, MAX_SIZE)
            if not part:
                raise StoreError("the question for the passphrase was cancelled", "start again")
            line += part
        return line
