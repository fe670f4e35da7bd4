"""Logging: one record is one safe line, in the terminal, the journal and rotating files.

Peers choose parts of what is logged. Nothing they send may forge a line, move
a terminal's cursor or turn text around, so every record is escaped whole, at
the formatter, where no caller can forget it. Secrets are kept out by their type
(`novakey.secret`); the redaction here is the second fence, not the first.
"""

from __future__ import annotations

import logging
import os
import re
import time
from pathlib import Path
from typing import TextIO

import gevent

from novakey.config.settings import Settings
from novakey.log import output, rotate
from novakey.log.throttle import Throttle
from novakey.system.sanitize import escape as escape
from novakey.system.sanitize import one_line as one_line

DEFAULT_FILE = "novakey.log"
REDACTED = "[redacted]"

# No line grows past this, even where a peer chose its text.
_MAX_LINE = 8192

# What `<N>` at the start of a line means to the journal: syslog's severities.
_SEVERITY = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}

# A mark at its end belongs to the sentence.
_URI = re.compile(
    r"novakey://(?:[^\s\"'<>]*[^\s\"'<>()\[\].,;:!?])?", re.IGNORECASE
)  # less a sentence's marks
# `"token": "…"`, `device_key_hex=…`, `password: …`. A bare `key:` is English, so `key` takes quotes or `=`.
# In `for "Password: " (request 1)` the quote behind the colon ends the prompt, and begins no value.
_MEMBER = re.compile(
    r"""(?P<name>(?<!\w)(?:\w+_)?
            (?:(?:token|secret|password|passphrase|psk)(?:_hex|_b64)?(?P<quoted>\\*["'])?\s*[:=]
              |key(?:_hex|_b64)?(?:\\*["']\s*[:=]|\s*=)
              |key_(?:hex|b64)\s*:))
        \s*(?(quoted)|(?!["'](?:\s|[),.;:\]}]|$)))
        (?:b?"(?:[^"\\]|\\.)*(?:"|$)          # a quoted value, also one that was cut
          |b?'(?:[^'\\]|\\.)*(?:'|$)
          |\\+"(?:[^"\\]|\\(?!"))*(?:\\+"|$)  # one inside JSON inside a string
          |[^\s,;&)}\]]+)""",
    re.IGNORECASE | re.VERBOSE,
)
_BYTES = re.compile(r"""\bb(?P<quote>["'])(?:(?!(?P=quote))[^\\]|\\.){16,4096}(?P=quote)""")
_HEX = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{32,}(?![0-9A-Fa-f])")
_PADDED = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{22,}={1,2}(?![A-Za-z0-9])")  # no `NAME=value`
# A pairing token is 16 bytes: 22 characters of base64url. Both alphabets are taken, so paths are runs too.
_RUN = re.compile(r"[A-Za-z0-9+/_-]{22,}")
# What stands between two `/` and is a word: snake_case, CAPITALS, TwoHumps, a UUID. Of a million random
# tokens a handful look so.
_WORD = re.compile(
    r"(?:(?:[a-z]{1,20}[0-9]{0,6}|[0-9]{1,10})(?:[_-]+(?:[a-z]{1,20}[0-9]{0,6}|[0-9]{1,10}))*"
    r"|[A-Z]{1,20}(?:[_-]+[A-Z]{1,20})*"
    r"|(?:[A-Z][a-z]{2,15}){1,3}"
    r"|(?:[a-z]{1,12}-)?[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12})"
)
# A path may hold the random name of a temporary folder, of 6 to 11 characters. A key in base64 whose own `/`
# leave fewer than these in parts that are no words is rarer: 24 bytes without padding, some 7 in a million.
_FEW = 14


def redact(text: str) -> str:
    """Text with everything blanked that looks like a key, a token or a pairing URI."""
    text = _URI.sub(f"novakey://{REDACTED}", text)
    text = _MEMBER.sub(rf"\g<name>{REDACTED}", text)
    text = _BYTES.sub(REDACTED, text)
    text = _HEX.sub(REDACTED, text)
    text = _PADDED.sub(REDACTED, text)
    return _RUN.sub(lambda run: _path(run[0]), text)


def _path(run: str) -> str:
    """Blank the parts between `/` that are no words, if they are as long as a secret."""
    parts = run.split("/")
    odd = {part for part in parts if part and not _WORD.fullmatch(part)}
    if sum(len(part) for part in parts if part in odd) < _FEW:
        return run
    return "/".join(REDACTED if part in odd else part for part in parts)


class LineFormatter(logging.Formatter):
    """A record as one line: message, exception and stack together, redacted, escaped and cut.

    `style` is "terminal" (time of day), "journal" (severity, no time) or
    "file" (date, time, zone and the logger's name).
    """

    def __init__(self, style: str, *, redacting: bool) -> None:
        super().__init__("%(message)s")
        self._where = style
        self._redacting = redacting

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if self._redacting:
            text = redact(text)
        text = one_line(text)
        if len(text) > _MAX_LINE:
            text = text[:_MAX_LINE] + "..."
        return self._head(record) + text

    def _head(self, record: logging.LogRecord) -> str:
        level = record.levelname.lower()
        if self._where == "journal":
            return f"<{_SEVERITY.get(record.levelno, 6)}>"
        if self._where == "terminal":
            return f"{time.strftime('%H:%M:%S', time.localtime(record.created))} {level:<7} "
        at = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(record.created))
        return f"{at} {level:<7} {one_line(record.name)}: "


class _Terminal(logging.Handler):
    """The records as lines on a stream, which may pause."""

    def __init__(self, stream: TextIO, formatter: LineFormatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._output = output.of(stream, self._gap)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._output.write(self.format(record) + "\n")
        except Exception:  # noqa: BLE001  # the contract of a handler
            self.handleError(record)

    def flush(self) -> None:
        """Wait shortly for a reader; `logging` asks for it at the end of the process."""
        self._output.finish()

    def _gap(self, dropped: int) -> str:
        text = f"{dropped} lines were dropped, because nothing read this output"
        return self.format(logging.LogRecord(__name__, logging.WARNING, "", 0, text, (), None)) + "\n"


def configure(settings: Settings, paths_log_dir: Path, *, stderr: TextIO) -> None:
    """Send every log record to `stderr` and to a rotating file.

    The folder is `log_dir`, else `paths_log_dir`; a relative one is inside the
    latter. A second call replaces the first. Raises `ConfigError` when the
    folder or the file cannot be written.
    """
    # A log that cannot be written, later, must never be what stops a delivery.
    logging.raiseExceptions = False
    # Our lines name neither thread nor process nor source, and finding them out costs as much as the rest.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # as the documentation of `logging` says ("Optimization")
    redacting = settings.log_redact
    file = rotate.rotating(settings, paths_log_dir, settings.log_file or DEFAULT_FILE)
    file.setFormatter(LineFormatter("file", redacting=redacting))
    handlers: list[logging.Handler] = [file]
    if settings.log_stderr:
        style = "journal" if _is_journal(stderr) else "terminal"
        handlers.append(_Terminal(stderr, LineFormatter(style, redacting=redacting)))
    # A greenlet that fails is reported there.
    gevent.get_hub().exception_stream = output.of(stderr)
    root, before = logging.getLogger(), outlet()
    if before is not None:
        root.removeHandler(before)
        before.close()
    root.addHandler(Throttle(handlers))
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)


def outlet() -> Throttle | None:
    """Return what `configure` sends every record through."""
    return next((handler for handler in logging.getLogger().handlers if isinstance(handler, Throttle)), None)


def _is_journal(stream: TextIO) -> bool:
    """Whether `stream` is the very pipe that systemd says leads to the journal."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        there = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(there.st_dev), str(there.st_ino))
