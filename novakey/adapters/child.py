"""A secret for one child: in its environment, or on a descriptor of its own. Never on disk.

The process becomes the child (execve(2)), so nothing of ours stays in between.
An environment can be read by other processes of the same user for as long as
the child lives; a descriptor only by the child, once.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from typing import NoReturn

from novakey.errors import ConfigError, NovaKeyError, SetupError
from novakey.secret import Secret

PIPE_SIZE = 65536  # what a pipe holds without a reader; a secret is far below


def with_variable(argv: Sequence[str], name: str, secret: Secret) -> NoReturn:
    """Become `argv` with the secret in the variable `name`."""
    if not name.isidentifier():
        raise ConfigError(
            f"{name!r} cannot be the name of a variable", "give letters, digits and underscores"
        )
    data = secret.reveal()
    if b"\0" in data:
        raise NovaKeyError("the secret holds a zero byte, which no environment can hold", "use --fd instead")
    _become(argv, {**os.environb, name.encode(): data})


def with_descriptor(argv: Sequence[str], descriptor: int, secret: Secret) -> NoReturn:
    """Become `argv` with the secret to be read from the descriptor of this number."""
    if not 3 <= descriptor < 1024:
        raise ConfigError(f"--fd {descriptor} is taken or too high", "give a number from 3 to 1023")
    reading, writing = os.pipe()
    if len(secret) > PIPE_SIZE:
        raise NovaKeyError(f"the secret is longer than {PIPE_SIZE} bytes")
    os.write(writing, secret.reveal())
    os.close(writing)
    if reading == descriptor:
        os.set_inheritable(reading, True)
    else:
        os.dup2(reading, descriptor, inheritable=True)
        os.close(reading)
    fcntl.fcntl(descriptor, fcntl.F_SETFD, 0)
    _become(argv, dict(os.environb))


def _become(argv: Sequence[str], env: dict[bytes, bytes]) -> NoReturn:
    try:
        os.execvpe(argv[0], list(argv), env)  # noqa: S606  # what the owner wrote is what runs
    except OSError as error:
        raise SetupError(
            f"{argv[0]} cannot be run: {(error.strerror or 'it failed').lower()}",
            "look at its name and rights",
        ) from None
