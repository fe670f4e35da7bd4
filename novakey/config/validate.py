"""What one value may be: from a file or a variable to what the settings hold."""

from __future__ import annotations

import ipaddress
import re

from novakey.config.key import Key
from novakey.config.reader import UnsupportedValue, Value, YamlBool
from novakey.errors import ConfigError

_MAX_NAMES = 1000
_MAX_TEXT = 4096
_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")
_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})", re.ASCII)
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")


def parse_listen_addr(text: str) -> tuple[str, int]:
    """Host and port of `host:port`, `[ipv6]:port`, `:port` or a port alone (every IPv4 address).

    Port 0 lets the system choose. Raises `ConfigError`.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        host = "0.0.0.0"  # noqa: S104  (a bare port means every address, as documented)
    elif host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not _is_address(host, 6):
            raise _bad_address(text)
    elif not _is_host(host):
        raise _bad_address(text)
    if not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or int(port) > 65535:
        raise _bad_address(text)
    return host, int(port)


def from_text(key: Key, text: str) -> Value:
    """Return the value of a variable's text for this key; text without a meaning fails the check later."""
    if key.kind == "flag" and text.strip().lower() in _TRUE + _FALSE:
        return text.strip().lower() in _TRUE
    if key.kind == "number" and _NUMBER.fullmatch(text.strip()):
        return int(text)
    if key.kind in ("names", "programs"):
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def checked(key: Key, value: Value) -> object:
    """Return the value as the settings hold it; `ValueError` says what was found instead."""
    if key.kind in ("names", "programs"):
        if not isinstance(value, list):
            raise ValueError(_found(value))
        if len(value) > _MAX_NAMES:
            raise ValueError(f"a list of {len(value)}")
        return tuple(_name(item, folders=key.kind == "names") for item in value)
    if key.kind == "flag":
        if isinstance(value, YamlBool):
            return value.value
        if not isinstance(value, bool):
            raise ValueError(_found(value))
        return value
    if key.kind == "number":
        if isinstance(value, bool) or not isinstance(value, int) or not key.low <= value <= key.high:
            raise ValueError(_found(value))
        return value
    if key.kind == "address" and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # a bare port needs no quotes
    if not isinstance(value, str):
        raise ValueError(_found(value))
    return _text(key, value)


def _text(key: Key, text: str) -> str:
    if key.kind == "choice" and text in key.choices:
        return text
    if key.kind == "address":
        try:
            parse_listen_addr(text)
        except ConfigError as error:
            raise ValueError(shown(text)) from error
        return text
    if key.kind == "host" and (not text or _is_host(text) or _is_address(text.strip("[]"), 6)):
        return text.strip("[]")
    if (
        key.kind in ("path", "text")
        and text.isprintable()
        and len(text) <= _MAX_TEXT
        and (text or key.may_be_empty)
    ):
        return text
    raise ValueError(shown(text))


def _name(item: object, folders: bool) -> str:
    if not isinstance(item, str) or not item.strip() or len(item) > _MAX_TEXT:
        raise ValueError(_found(item))
    # Only the name of a program is compared: a rule with a folder would silently match nothing.
    if not folders and ("/" in item or "\\" in item):
        raise ValueError(_found(item))
    # Titles hold no-break spaces, which Python does not count as printable.
    if not item.replace("\u00a0", " ").replace("\u202f", " ").isprintable():
        raise ValueError(_found(item))
    return item


def _found(value: object) -> str:
    match value:
        case YamlBool():
            return f"{value.raw}, which YAML reads as {str(value.value).lower()} unless in quotes"
        case UnsupportedValue():
            return value.what if value.what.isprintable() else shown(value.what)
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case list():
            return "a list"
        case _:
            return f"the text {shown(str(value))}"


def shown(text: str) -> str:
    """Text of a file or a variable, safe to print: quoted, escaped, cut."""
    return ascii(text if len(text) <= 60 else text[:60] + "…") if not text.isprintable() else f'"{text[:60]}"'


def plain_name(name: str) -> str:
    return name[:60] if name.isprintable() and name.strip() else shown(name)


def _is_address(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def _is_host(text: str) -> bool:
    if re.fullmatch(r"[0-9.]+", text, re.ASCII):
        return _is_address(text, 4)
    return len(text) <= 253 and _HOST.fullmatch(text) is not None


def _bad_address(text: str) -> ConfigError:
    return ConfigError(
        f"{shown(text)} is not an address to listen on", 'write host:port, "[ipv6]:port" or a port alone'
    )
