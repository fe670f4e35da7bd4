"""One call to the system's keyring, in a process of its own (`python -P -m …`).

Request and answer are one JSON object each, over standard input and output:

    {"op":"load|store|delete","service":…,"account":…,"deadline_s":…,"key":…}
    {"answer":"key","key":…}  {"answer":"none"}  {"answer":"done"}  {"answer":SITUATION,"detail":…}

A process, because a keyring may wait for a person, a hardware key or a hung
service, inside foreign code that knows no deadline: only a process can be
ended from outside. Keys never stand in arguments or in the environment, which
other programs of the user can read. Imports nothing of ours, so it starts fast.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

# An allowlist: what is not known to encrypt is refused (keyrings.alt keeps plain text).
TRUSTED = (
    "keyring.backends.SecretService",
    "keyring.backends.libsecret",
    "keyring.backends.kwallet",
    "keyring.backends.macOS",
)
# The package tries this on every system. Its search for the libraries of macOS runs a compiler, thrice.
MACOS_LIBRARIES = "keyring.backends.macOS.api"
REFUSING = ("keyring.backends.fail", "keyring.backends.null")
CHAINER = "keyring.backends.chainer"
PROMPTER = "org.gnome.keyring.SystemPrompter"

MAX_ENTRY = 1024  # characters, far above the 44 of a key; a fence against an entry that is not ours
MAX_ENTRIES = 8  # a keyring may hold the same account several times; far above what was ever seen

# By name: the packages that define these are optional, and differ between the platforms.
_BY_TYPE = {
    "KeyringLocked": "locked",
    "LockedException": "locked",
    "PromptDismissedException": "dismissed",
    "SecretServiceNotAvailableException": "stopped",
    "EOFError": "stopped",
    "ConnectionResetError": "stopped",
    "BrokenPipeError": "stopped",
    "ConnectionRefusedError": "no-bus",
    "FileNotFoundError": "no-bus",
    "UnicodeDecodeError": "garbled",
    "NoKeyringError": "no-service",
    "PasswordSetError": "refused",
    "PasswordDeleteError": "refused",
}


class Failure(Exception):
    """Why there is no key; `situation` is a word that the parent has a message for."""

    def __init__(self, situation: str, detail: str = "") -> None:
        super().__init__(situation)
        self.situation = situation
        self.detail = detail


def main() -> None:
    """Read the request, make the call, write the answer."""
    request = json.load(sys.stdin)
    # A parent that was killed cannot end this process: it ends by itself, a little later.
    signal.alarm(math.ceil(request["deadline_s"]) + 1)
    answers = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # plugins of the keyring package may print
    try:
        answer = _call(request)
    except Failure as failure:
        answer = {"answer": failure.situation, "detail": failure.detail}
    os.write(answers, json.dumps(answer).encode())


def _call(request: dict[str, Any]) -> dict[str, str]:
    where = request["service"], request["account"]
    rings = _rings()
    try:
        match request["op"]:
            case "load":
                key = _load(rings, *where)
                return {"answer": "none"} if key is None else {"answer": "key", "key": key}
            case "store":
                _store(rings, *where, request["key"])
            case "delete":
                _delete(rings, *where)
            case _:
                raise Failure("failed", "unknown operation")
    except Failure:
        raise
    except Exception as error:  # the edge to foreign code: any type becomes an answer
        raise _failure(error) from error
    return {"answer": "done"}


def _load(rings: list[Any], service: str, account: str) -> str | None:
    for ring in rings:
        text = ring.get_password(service, account)
        if text is not None:
            if len(text) > MAX_ENTRY:
                raise Failure("garbled")
            return str(text)
    return None


def _store(rings: list[Any], service: str, account: str, key: str) -> None:
    # The keyring's own "set" replaces: only a keyring that says it has none may be given one.
    if _load(rings, service, account) is not None:
        raise Failure("exists")
    rings[0].set_password(service, account, key)
    if _load(rings, service, account) != key:
        raise Failure("not-kept")


def _delete(rings: list[Any], service: str, account: str) -> None:
    from keyring.errors import PasswordDeleteError

    for ring in rings:
        for _ in range(MAX_ENTRIES):
            try:
                ring.delete_password(service, account)
            except PasswordDeleteError:  # none (left), or not allowed: the look below tells
                break
    if _load(rings, service, account) is not None:
        raise Failure("not-deleted")


def _rings() -> list[Any]:
    """Return the keyrings to use, the preferred one first. A chain counts link by link."""
    if sys.platform != "darwin":
        sys.modules[MACOS_LIBRARIES] = None  # type: ignore[assignment]  # makes the import of it fail
    try:
        import keyring
    except ModuleNotFoundError as error:
        raise Failure(
            "not-installed" if error.name == "keyring" else "failed", type(error).__name__
        ) from error
    try:
        chosen: Any = keyring.get_keyring()
    except Exception as error:  # a backend that the user named and that does not load
        wrong_name = isinstance(error, ImportError | AttributeError | ValueError)
        situation = "not-loaded" if wrong_name or _bus_answers() else "no-bus"
        raise Failure(situation, type(error).__name__) from error
    rings = list(chosen.backends) if type(chosen).__module__ == CHAINER else [chosen]
    if not rings or type(rings[0]).__module__ in REFUSING:
        raise Failure(_why_none())
    for ring in rings:
        kind = type(ring)
        if kind.__module__ not in TRUSTED:
            raise Failure("untrusted", f"{kind.__module__}.{kind.__qualname__}")
    return rings


def _why_none() -> str:
    from keyring import core

    if core.load_env() is not None or core.load_config() is not None:
        return "disabled"  # a refusing keyring by choice, not for want of another
    return "no-service" if _bus_answers() else "no-bus"


def _failure(error: BaseException) -> Failure:
    """Return the first known type in the chain of causes, or the outermost type's name. Never its text."""
    for number, link in enumerate(_causes(error)):
        situation = _BY_TYPE.get(type(link).__name__)
        if situation == "dismissed" and number > 0:
            return Failure("no-collection")  # keyring wraps only the making of a collection
        if situation in ("locked", "dismissed"):
            return Failure("dismissed" if _could_ask() else "locked")
        if situation is not None:
            return Failure(situation)
    return Failure("failed", type(error).__name__)


def _causes(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def _bus_answers() -> bool:
    if sys.platform != "linux":
        return True
    try:
        importlib.import_module("secretstorage").dbus_init().close()
    except Exception:  # noqa: BLE001  # for every reason: there is no bus to talk to
        return False
    return True


def _could_ask() -> bool:
    """Whether somebody could have been asked to unlock: the library says "dismissed" in either case."""
    if sys.platform != "linux":
        return True
    display = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    try:
        jeepney = importlib.import_module("jeepney")
        blocking = importlib.import_module("jeepney.io.blocking")
        with blocking.open_dbus_connection() as connection:
            bus = blocking.Proxy(jeepney.message_bus, connection)
            if not bus.NameHasOwner("org.gnome.keyring")[0]:
                return display  # another service, with windows of its own
            startable = display and PROMPTER in bus.ListActivatableNames()[0]
            return bool(startable or bus.NameHasOwner(PROMPTER)[0])
    except Exception:  # noqa: BLE001  # only the wording depends on it
        return display


if __name__ == "__main__":
    main()
