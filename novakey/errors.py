"""Errors that a person sees.

Each says what was wrong in one lower-case line and, where there is one, puts
the cure on its own line. The exit code travels with the class, so that the
command line needs no table of its own.

What a peer did wrong on the wire is not here: see `novakey.wire`.
"""

from __future__ import annotations


class NovaKeyError(Exception):
    """Something was refused or failed; exit code 1.

    `problem` is one lower-case line; `cure`, if any, is what the person can do.
    Neither may hold a secret.
    """

    exit_code = 1

    def __init__(self, problem: str, cure: str | None = None) -> None:
        super().__init__(problem if cure is None else f"{problem}\n{cure}")
        self.problem = problem
        self.cure = cure

    @property
    def in_one_line(self) -> str:
        """For the log, where a record is a line."""
        return self.problem if self.cure is None else f"{self.problem} ({self.cure})"


class ConfigError(NovaKeyError):
    """Usage or configuration; exit code 2."""

    exit_code = 2


class StoreError(NovaKeyError):
    """The device store, the server keys or what seals them cannot be used; exit code 3."""

    exit_code = 3


class SetupError(NovaKeyError):
    """The environment lacks what the program needs; exit code 4."""

    exit_code = 4
