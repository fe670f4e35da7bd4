r"""A pinentry for gpg-agent: the Assuan protocol (its manual, "Client requests" and "Server responses").

    client   COMMAND arguments\n            % and control characters percent-escaped, at most 1,000 bytes
    server   D data\n ... OK\n  or  ERR code text\n

GETPIN waits for a phone. CONFIRM and MESSAGE are for the person at the computer: on
the terminal that the client names, for an agent has none of its own.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import BinaryIO

from novakey import __version__
from novakey.errors import NovaKeyError
from novakey.pull import SecretSource, WaitedTooLong, write_all
from novakey.pull.person import UserPrompt
from novakey.secret import Secret
from novakey.system.sanitize import lines

MAX_LINE = 1000  # the protocol's own limit, with the line end

# libgpg-error: the source "Pinentry" (5) in the top byte, and the code.
_SOURCE = 5 << 24
CANCELED = (_SOURCE | 99, "Operation cancelled <Pinentry>")
TIMEOUT = (_SOURCE | 62, "Timeout <Pinentry>")
NOT_CONFIRMED = (_SOURCE | 114, "Not confirmed <Pinentry>")
UNKNOWN_COMMAND = (_SOURCE | 275, "Unknown IPC command <Pinentry>")
LINE_TOO_LONG = (_SOURCE | 263, "Line too long <Pinentry>")
BAD_VALUE = (_SOURCE | 55, "Invalid value <Pinentry>")

# Understood, and without meaning for a phone.
_IGNORED = frozenset(
    {
        "SETOK",
        "SETCANCEL",
        "SETNOTOK",
        "SETTITLE",
        "SETQUALITYBAR",
        "SETQUALITYBAR_TT",
        "SETGENPIN",
        "SETGENPIN_TT",
        "SETKEYINFO",
        "SETREPEATOK",
        "SETREPEATERROR",
        "CLEARPASSPHRASE",
        "NOP",
    }
)


@dataclass
class _Texts:
    """What the client said that a person should see."""

    description: str = ""
    prompt: str = ""
    error: str = ""
    repeat: bool = False
    timeout_s: float | None = None

    def shown(self) -> str:
        parts = [part for part in (self.error, self.description, self.prompt) if part]
        return " - ".join(" ".join(part.split()) for part in parts)


@dataclass
class Pinentry:
    """One client."""

    ask: SecretSource
    person: UserPrompt
    _texts: _Texts = field(default_factory=_Texts)

    def serve(self, source: BinaryIO, output: BinaryIO) -> None:
        """Answer until BYE or the end."""
        _send(output, b"OK NovaKey pinentry")
        while True:
            line = source.readline(MAX_LINE + 1)
            if not line:
                return
            if not line.endswith(b"\n"):
                _error(output, LINE_TOO_LONG)
                return
            command, _, arguments = line.strip().partition(b" ")
            if not command or command.startswith(b"#"):
                continue
            if command.upper() == b"BYE":
                _send(output, b"OK closing connection")
                return
            self._answer(command.decode("ascii", "replace").upper(), _unescaped(arguments), output)

    def _answer(self, command: str, argument: str, output: BinaryIO) -> None:
        texts = self._texts
        match command:
            case "SETDESC":
                texts.description = argument
            case "SETPROMPT":
                texts.prompt = argument
            case "SETERROR":
                texts.error = argument
            case "SETREPEAT":
                texts.repeat = True
            case "SETTIMEOUT":
                if not (argument.isascii() and argument.isdigit()):
                    return _error(output, BAD_VALUE)
                texts.timeout_s = float(argument) or None
            case "RESET":
                self._texts = _Texts()
            case "OPTION":
                name, _, value = argument.partition("=")
                if name.strip() == "ttyname":
                    self.person.terminal = value.strip()
            case "GETINFO":
                known = {"version": __version__, "flavor": "novakey", "pid": str(os.getpid())}
                if argument not in known:
                    return _error(output, BAD_VALUE)
                _send(output, b"D " + _escaped(known[argument].encode()))
            case "GETPIN":
                return self._pin(output)
            case "CONFIRM":
                return self._confirm(argument == "--one-button", output)
            case "MESSAGE":
                return self._confirm(True, output)
            case _ if command not in _IGNORED:
                return _error(output, UNKNOWN_COMMAND)
        return _send(output, b"OK")

    def _pin(self, output: BinaryIO) -> None:
        texts, repeat = self._texts, self._texts.repeat
        shown = texts.shown()
        texts.error, texts.repeat = "", False  # each is for the next question only
        try:
            secret = self.ask(shown, texts.timeout_s)
        except NovaKeyError as error:
            return self._failed(error, output)
        try:
            if repeat:  # one phone, one secret: there is nothing to mistype twice
                _send(output, b"S PIN_REPEATED")
            _send_data(output, secret)
        finally:
            secret.wipe()
        return _send(output, b"OK")

    def _confirm(self, only_told: bool, output: BinaryIO) -> None:
        shown, self._texts.error = self._texts.shown(), ""
        agreed = True
        try:
            if only_told:
                self.person.tell(shown)
            else:
                agreed = self.person.agrees(shown)
        except NovaKeyError as error:
            return self._failed(error, output)
        return _send(output, b"OK") if agreed else _error(output, NOT_CONFIRMED)

    def _failed(self, error: NovaKeyError, output: BinaryIO) -> None:
        """Show why on the client's terminal, then send the code.

        libassuan hands on the code of an ERR line and drops its text, so gpg prints "Operation
        cancelled" and no more. Without a terminal the text goes to the agent's own output.
        """
        text = f"novakey: {error}"
        if not self.person.say(text):
            print(lines(text), file=sys.stderr, flush=True)
        _error(output, TIMEOUT if isinstance(error, WaitedTooLong) else CANCELED)


def _send_data(output: BinaryIO, secret: Secret) -> None:
    """Send the secret in `D` lines within the limit; no escape is cut in two."""
    line = bytearray(MAX_LINE)  # of its full size from the start: one that grows leaves its beginnings behind
    with memoryview(line) as room, secret.view() as octets:
        room[:2], end = b"D ", 2
        try:
            for octet in octets:
                escaped = _escaped(bytes((octet,)))
                if end + len(escaped) >= MAX_LINE:
                    end = _end_line(output, room, end)
                room[end : end + len(escaped)] = escaped
                end += len(escaped)
            _end_line(output, room, end)
        finally:
            room[:] = bytes(MAX_LINE)


def _end_line(output: BinaryIO, line: memoryview, end: int) -> int:
    """Send the line so far; return where the next one begins behind its `D `."""
    line[end : end + 1] = b"\n"
    write_all(output, line[: end + 1])
    return 2


def _escaped(data: bytes) -> bytes:
    return data.replace(b"%", b"%25").replace(b"\r", b"%0D").replace(b"\n", b"%0A")


def _unescaped(data: bytes) -> str:
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(data).decode("utf-8", "replace")


def _error(output: BinaryIO, problem: tuple[int, str]) -> None:
    _send(output, f"ERR {problem[0]} {problem[1]}".encode())


def _send(output: BinaryIO, line: bytes) -> None:
    write_all(output, memoryview(line + b"\n"))
