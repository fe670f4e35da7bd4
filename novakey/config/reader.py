"""Reads a configuration file, YAML or JSON, into keys and values that know their line.

Both readers take one flat mapping of names to scalars or lists of scalars and
nothing else: no aliases, no nesting, so no small file can grow large in
memory. They go on after a fault where that makes sense, so that a person sees
all of them at once. What a value must be is not known here: see `novakey.config.load`.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any, NamedTuple

# Ten thousand times what a configuration needs; a log or a disk image given by mistake is not read whole.
MAX_BYTES = 1 << 20
MAX_KEYS = 1000
MAX_DEPTH = 20

_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})", re.ASCII)


class UnsupportedValue(NamedTuple):
    """A scalar that is neither text nor boolean nor a plain decimal number, as it stands in the file."""

    raw: str
    what: str


class YamlBool(NamedTuple):
    """A bare word such as `no` that YAML reads as a boolean, though a list of names meant a text."""

    raw: str
    value: bool


Scalar = str | int | bool | UnsupportedValue | YamlBool
Value = Scalar | list[Scalar]


class Entry(NamedTuple):
    """One `key: value` of a file; `value` is an `UnsupportedValue` also for what no key can be."""

    line: int
    key: str
    value: Value


class FileFault(NamedTuple):
    """Something wrong with the file itself. `line` is 0 where no line is to blame."""

    line: int
    text: str


Read = Iterator[Entry | FileFault]


class ConfigSyntaxError(Exception):
    """The rest of the file cannot be read."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.fault = FileFault(line, text)


def read(path: Path) -> Read:
    """Entries and faults of a file, in the order of the file; JSON by the name's ending, else YAML."""
    try:
        text = _decode(_slurp(path))
        entries = _json(text) if path.suffix.lower() == ".json" else _yaml(text)
        for count, entry in enumerate(entries):
            if count == MAX_KEYS:
                raise ConfigSyntaxError(entry.line, f"found more than {MAX_KEYS} keys, allowed at most that")
            yield entry
    except ConfigSyntaxError as bad:
        yield bad.fault


def _slurp(path: Path) -> bytes:
    try:
        # Not blocking: opening a fifo would wait for its writer for ever.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigSyntaxError(0, f"cannot be read: {_reason(error)}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ConfigSyntaxError(0, "found a folder or a device, allowed a file")
    with open(fd, "rb") as file:
        try:
            data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise ConfigSyntaxError(0, f"cannot be read: {_reason(error)}") from error
    if len(data) > MAX_BYTES:
        raise ConfigSyntaxError(0, f"found more than {MAX_BYTES} bytes, allowed at most that")
    return data


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _decode(data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigSyntaxError(
            line, f"found the byte 0x{data[error.start]:02x}, allowed UTF-8 text"
        ) from error
    # Line ends as every editor counts them, so that our line numbers are the editor's.
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _yaml(text: str) -> Read:
    import yaml  # only when there is a file to read: it costs the start 20 ms

    try:
        yield from _YamlWalk(text).entries()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigSyntaxError(
            line, f"found the character U+{int(error.character):04X}, allowed printable text"
        ) from error
    except yaml.MarkedYAMLError as error:
        mark: yaml.Mark | None = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "not YAML"
        if "'\\t'" in problem:
            problem = "found a tab where YAML allows only spaces"
        line = 1 + (mark.line if mark is not None else 0)
        hint = "; put a value that begins with [, {, *, &, !, %, @ or ` in quotes"
        raise ConfigSyntaxError(
            line, f"not YAML: {problem}" + (hint if "tab" not in problem else "")
        ) from error


class _YamlWalk:
    """Walks the parser's events. They come one by one, so nothing recurses and nothing is built up."""

    def __init__(self, text: str) -> None:
        import yaml

        self.yaml = yaml
        self.loader: Any = yaml.SafeLoader(text)

    def next(self) -> Any:
        """Return the next event; an alias or an anchor anywhere is refused."""
        event = self.loader.get_event()
        if getattr(event, "anchor", None) is not None:
            raise ConfigSyntaxError(
                event.start_mark.line + 1, "found an alias or an anchor (& or *), allowed plain values"
            )
        return event

    def entries(self) -> Read:
        yaml = self.yaml
        self.next()  # the start of the stream
        event = self.next()
        if isinstance(event, yaml.StreamEndEvent):
            return  # an empty file, or one of comments only: the defaults
        event = self.next()
        line = event.start_mark.line + 1
        if isinstance(event, yaml.ScalarEvent) and event.value == "" and event.implicit[0]:
            pass
        elif isinstance(event, yaml.MappingStartEvent):
            yield from self.pairs()
        else:
            raise ConfigSyntaxError(line, 'found something else at the top, allowed lines of "key: value"')
        self.next()  # the end of the document
        event = self.next()
        if not isinstance(event, yaml.StreamEndEvent):
            raise ConfigSyntaxError(event.start_mark.line + 1, "found a second document, allowed one")

    def pairs(self) -> Read:
        while not isinstance(event := self.next(), self.yaml.MappingEndEvent):
            line = event.start_mark.line + 1
            if isinstance(event, self.yaml.ScalarEvent):
                yield Entry(line, event.value, self.value(self.next()))
                continue
            self.skip(event)
            self.skip(self.next())
            yield FileFault(line, "found a list or a mapping as a key, allowed a name")

    def value(self, event: Any) -> Value:
        if not isinstance(event, self.yaml.SequenceStartEvent):
            return self.scalar(event)
        items: list[Scalar] = []
        while not isinstance(event := self.next(), self.yaml.SequenceEndEvent):
            items.append(self.scalar(event))
        return items

    def skip(self, event: Any) -> str:
        """Skip a node that has no place here, and return its kind."""
        yaml, depth, first = self.yaml, 0, event
        while True:
            if isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
                depth += 1
            elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
                depth -= 1
            if depth > MAX_DEPTH:
                raise ConfigSyntaxError(
                    event.start_mark.line + 1, "found lists or mappings nested too deeply"
                )
            if depth == 0:
                return "a list" if isinstance(first, yaml.SequenceStartEvent) else "a mapping"
            event = self.next()

    def scalar(self, event: Any) -> Scalar:
        if not isinstance(event, self.yaml.ScalarEvent):
            what = self.skip(event)
            return UnsupportedValue(what, what)
        raw: str = event.value
        if event.tag not in (None, "!"):
            return UnsupportedValue(raw, f"a value with the tag {event.tag}")
        tag = self.loader.resolve(self.yaml.ScalarNode, raw, event.implicit).rpartition(":")[2]
        if tag == "bool":
            truth = raw.lower() in ("yes", "true", "on")
            return truth if raw.lower() in ("true", "false") else YamlBool(raw, truth)
        if tag == "int" and _DECIMAL.fullmatch(raw):
            return int(raw)
        if tag == "str":
            return raw
        return UnsupportedValue(raw, "nothing" if tag == "null" else f"the {_TAGS.get(tag, tag)} {raw[:40]}")


_TAGS = {"int": "number", "float": "number", "timestamp": "date", "merge": "merge key", "value": "sign"}


def _json(text: str) -> Read:
    """Walk the top-level object by hand, because only that shows line numbers and repeated keys."""
    decoder = json.JSONDecoder(parse_float=lambda raw: UnsupportedValue(raw, f"the number {raw[:40]}"),
        parse_int=_json_int, parse_constant=lambda raw: UnsupportedValue(raw, raw))  # fmt: skip

    def line(at: int) -> int:
        return text.count("\n", 0, at) + 1

    def skip(at: int, wanted: str) -> tuple[int, str]:
        while text[at : at + 1] in (" ", "\t", "\n"):
            at += 1
        sign = text[at : at + 1]
        if not sign or sign not in wanted:
            allowed = " or ".join(wanted)
            raise ConfigSyntaxError(
                line(at),
                f"not JSON: found {sign!r}, allowed {allowed}" if sign else "not JSON: it ends too early",
            )
        return at + 1, sign

    if not text.strip():
        return
    try:
        at, sign = skip(0, "{")
        at, sign = skip(at, '"}')
        while sign == '"':
            start = line(at)
            key, at = scanstring(text, at)
            at, _ = skip(at, ":")
            while text[at : at + 1] in (" ", "\t", "\n"):
                at += 1
            value, at = decoder.raw_decode(text, at)
            yield Entry(start, key, _json_value(value))
            at, sign = skip(at, ",}")
            if sign == ",":
                at, sign = skip(at, '"')
    except json.JSONDecodeError as error:
        raise ConfigSyntaxError(error.lineno, f"not JSON: {error.msg.lower()}") from error
    except RecursionError as error:
        raise ConfigSyntaxError(0, "found lists nested too deeply, allowed one flat list of keys") from error
    if text[at:].strip():
        raise ConfigSyntaxError(
            line(len(text) - len(text[at:].lstrip())), "not JSON: found something after the closing }"
        )


def _json_int(raw: str) -> Scalar:
    return int(raw) if _DECIMAL.fullmatch(raw) else UnsupportedValue(raw, f"the number {raw[:40]}")


def _json_value(value: object) -> Value:
    if isinstance(value, list):
        return [
            item if isinstance(item, str | int | UnsupportedValue) else _json_other(item) for item in value
        ]
    return value if isinstance(value, str | int | UnsupportedValue) else _json_other(value)


def _json_other(value: object) -> UnsupportedValue:
    what = "nothing" if value is None else "a list" if isinstance(value, list) else "a mapping"
    return UnsupportedValue(what, what)
