"""A secret for one child: in its environment, or on a descriptor of its own. Never on disk.

The process becomes the child (execve(2)), so nothing of ours stays in between.
An environment can be read by other processes of the same user for as long as
the child lives; a descriptor only by the child, once.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from novakey.errors import ConfigError, NovaKeyError
from novakey.log.format import one_line
from novakey.secret import Secret
from novakey.system.paste import command

_MOST_DESCRIPTORS = 1024  # the usual limit on open files
_MOST_SHEBANG = 256  # BINPRM_BUF_SIZE in Linux
PIPE_SIZE = 65536  # what a pipe holds without a reader; a secret is far below


class NotFoundError(NovaKeyError):
    """There is no such program; exit code 127, as in a shell (POSIX, "Exit Status for Commands")."""

    exit_code = 127


class NotExecutableError(NovaKeyError):
    """There is one, but it cannot be executed; exit code 126, as in a shell."""

    exit_code = 126


def check_variable(name: str) -> None:
    """Before anybody is asked: whether there can be such a variable."""
    if not (name.isascii() and name.isidentifier()):
        raise ConfigError(
            f"{name!r} cannot be the name of a variable", "give letters, digits and underscores"
        )


def check_descriptor(number: int) -> None:
    """Before anybody is asked: whether the child can have this descriptor."""
    if not 3 <= number < _MOST_DESCRIPTORS:
        raise ConfigError(
            f"--fd {number} is taken or too high", f"give a number from 3 to {_MOST_DESCRIPTORS - 1}"
        )


def check_program(name: str) -> None:
    """Before anybody is asked: whether it can be run at all."""
    path, is_path = shutil.which(name), os.sep in name
    if path is not None:
        _check_interpreter(name, path)
    elif is_path and Path(name).is_dir():
        raise NotExecutableError(f"{name} cannot be run: it is a folder", "name a program in it")
    elif (found := shutil.which(name, mode=os.F_OK)) is not None:
        raise NotExecutableError(
            f"{name} cannot be run: {found} is not executable",
            f"if it is a program: {command('chmod', '+x', foreign=found)}",
        )
    else:
        where = "of that path" if is_path else "of that name in PATH"
        raise NotFoundError(f"{name} cannot be run: there is no program {where}", "correct it, or install it")


def _check_interpreter(name: str, path: str) -> None:
    """Check a script's interpreter: execve(2) would fail after the secret was sent."""
    try:
        with open(path, "rb") as file:
            first = file.readline(_MOST_SHEBANG)
    except OSError:
        return  # it may be executed without being read
    words = first[2:].split() if first.startswith(b"#!") else []
    if words and not Path(os.fsdecode(words[0])).exists():
        raise NotFoundError(
            f"{name} cannot be run: its interpreter {one_line(os.fsdecode(words[0]))} is missing",
            "install the interpreter, or correct the script's first line",
        )


def with_variable(argv: Sequence[str], name: str, secret: Secret) -> NoReturn:
    """Become `argv` with the secret in the variable `name`."""
    _become(argv, {**os.environb, name.encode(): secret.reveal()})


def with_descriptor(argv: Sequence[str], descriptor: int, secret: Secret) -> NoReturn:
    """Become `argv` with the secret to be read from the descriptor of this number."""
    if len(secret) > PIPE_SIZE:
        raise NovaKeyError(f"the secret is longer than {PIPE_SIZE} bytes")
    reading, writing = os.pipe()
    with secret.view() as view:
        os.write(writing, view)
    os.close(writing)
    if reading != descriptor:
        os.dup2(reading, descriptor)
        os.close(reading)
    os.set_inheritable(descriptor, True)
    _become(argv, dict(os.environb))


def _become(argv: Sequence[str], env: dict[bytes, bytes]) -> NoReturn:
    # Python ignores these, and what is ignored stays so in the child, which would not end with its reader.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(argv[0], list(argv), env)  # noqa: S606  # what the owner wrote is what runs
    except OSError as error:
        kind = NotFoundError if isinstance(error, FileNotFoundError) else NotExecutableError
        problem = f"{argv[0]} cannot be run: {(error.strerror or 'it failed').lower()}"
        raise kind(problem, "correct its path, its rights or its first line") from None
