"""One JSON object a line, read strictly (RFC 8259) and written in one way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from novakey.wire import Malformed

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def encode(members: Mapping[str, object]) -> bytes:
    """Return the object without spaces, without a line end, as UTF-8."""
    return _ENCODER.encode(members).encode()


def decode(data: bytes | bytearray) -> dict[str, Any]:
    """Return the object in `data`; `Malformed` for anything that is not exactly one.

    Stricter than `json.loads`: a member named twice, `NaN`, `1e999` and lone
    surrogates are refused, since two readers may take them differently.
    """
    try:
        text = data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_members, parse_constant=_refuse_constant)
        # Lone surrogates fail here, and numbers too large for a double, which were read as infinite.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError):  # UnicodeError is a ValueError
        raise Malformed("not a JSON object") from None
    if not isinstance(value, dict):
        raise Malformed("not a JSON object")
    return value


def integer(members: Mapping[str, Any], name: str) -> int:
    """Return the member `name` as an integer; `True` and `1.0` are not integers."""
    value = members.get(name)
    if type(value) is not int:
        raise Malformed(f"{name} must be an integer")
    return value


def string(members: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """Return the member `name` as a string; `default`, if given, where it is missing."""
    value = members.get(name, default)
    if not isinstance(value, str):
        raise Malformed(f"{name} must be a string")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
