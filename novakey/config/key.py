"""What is known about one key of the configuration, and the ways to state it in the table of them."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal, NamedTuple

Kind = Literal["flag", "number", "choice", "text", "address", "host", "path", "names", "programs"]

KEY = "key"  # under which the metadata of a field of `Settings` has its `Key`

_ALLOWED = {
    "flag": "true or false",
    "text": "text without control characters",
    "address": 'host:port, "[ipv6]:port" or a port alone',
    "host": 'a host name or an address without a port, or ""',
    "path": "a path without control characters",
    "names": "a list of non-empty texts",
    "programs": "a list of names of executables, without their folders",
}


class Key(NamedTuple):
    """What is known about one key. `low`, `high` and `unit` are for numbers, `choices` for choices."""

    default: Any
    kind: Kind
    means: str
    when: str
    low: int = 0
    high: int = 0
    unit: str = ""
    choices: tuple[str, ...] = ()
    may_be_empty: bool = False

    @property
    def allowed(self) -> str:
        """What may stand there, for people."""
        if self.kind == "number":
            return f"a whole number from {self.low} to {self.high} ({self.unit})"
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        if self.kind == "path" and self.may_be_empty:
            return _ALLOWED["path"] + ', or ""'
        return _ALLOWED[self.kind]


def flag(default: bool, means: str, when: str) -> Any:
    return _field(Key(default, "flag", means, when))


def number(default: int, low: int, high: int, unit: str, means: str, when: str) -> Any:
    return _field(Key(default, "number", means, when, low, high, unit))


def choice(default: str, choices: tuple[str, ...], means: str, when: str) -> Any:
    return _field(Key(default, "choice", means, when, choices=choices))


def string(kind: Kind, default: str, means: str, when: str) -> Any:
    return _field(Key(default, kind, means, when, may_be_empty=default == ""))


def names(means: str, when: str, kind: Kind = "names") -> Any:
    return _field(Key((), kind, means, when))


def _field(key: Key) -> Any:
    return field(default=key.default, metadata={KEY: key})
