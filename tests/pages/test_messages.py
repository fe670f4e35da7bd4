"""The program can say about pairing and storage what the documentation lists, no more and no less.

The messages are read out of the code's syntax trees: texts of exceptions, log
lines, findings of `doctor`, states of `status`, lines printed. What is filled in
at run time is `…` in both lists.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

from novakey.devices.sealing import keyring

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "novakey"
PAGE = ROOT / "docs/daemon/troubleshooting.md"

# Whose texts are about something else. What is new in the package is looked at until it stands here.
ELSEWHERE = {
    "control/": "the owner's socket: docs/control.md",
    "pull/": "programs that ask for secrets: docs/pull-mode.md",
    "cli/request.py": "the same",
    "cli/browser.py": "browsers that ask: docs/browser.md",
    "sites/": "the same",
    "wire/native.py": "the same",
    "system/procfs.py": "the same",
    "daemon/notifications.py": "what a notification says: docs/control.md",
    "daemon/audit.py": "the record of decisions",
    "cli/audit.py": "the same",
    "setup/": "what setup puts in place: docs/owner.md",
    "cli/setup.py": "the same",
    "wire/control.py": "the owner's socket",
    "cli/status.py": "the owner's commands, which say what they did",
    "cli/pair.py": "the owner's command",
    "cli/completion_scripts.py": "scripts for shells",
    "cli/completion.py": "help",
    "desktop/": "typing and the clipboard; the reply to the phone says it",
    "messages/": "messages of paired phones; docs/security/protocol.md has the reply table",
    "session/": "notifications, and whether the screen is locked",
    "like_app.py": "what the app in the field shows: docs/iphone.md",
    "wire/message.py": "messages of paired phones",
    "wire/refused.py": "messages of paired phones",
    "wire/reply.py": "messages of paired phones",
    "devices/sealing/keyring_child.py": "words for the parent process; keyring.MESSAGES has their texts",
    "config/adopt.py": "the configuration; `import` shows it behind: changed, not carried over",
    "config/load.py": "the configuration: each fault names file, line, key and what is allowed",
    "config/validate.py": "the configuration",
    "config/reader.py": "the configuration",
    "config/key.py": "the configuration; docs/configuration.md is made from it",
    "config/settings.py": "the configuration; docs/configuration.md is made from it",
    "log/format.py": "the log itself",
    "log/rotate.py": "the log itself",
    "log/output.py": "the log itself",
    "system/systemd.py": "the service manager hands a socket over; the unit says which",
    "log/throttle.py": "the log itself",
    "cli/__init__.py": "help",
    "cli/parser.py": "help",
    "secret.py": "faults of ours",
    "system/attended.py": "whether a terminal is seen",
    "__main__.py": "the environment",
    "doctor/network.py": "port, address and clock; each finding says why it matters and what repairs it",
    "doctor/session.py": "display, focus, notifications; each finding says the same",
    "doctor/browser.py": "the same",
    "doctor/canary.py": "typing; the finding says the same",
    "doctor/window.py": "the same",
    "doctor/line.py": "the same",
}

# Texts that look like messages of that kind but are none, and what they are.
_OURS = "a fault of ours, with a traceback in the log"
_HELP = "help"
_MESSAGE = "the reply to a message of a paired phone"
NOT_LISTED = {
    "no handshake is running": _OURS,
    "the device store": "what a passphrase is of",
    "must be 1 to 64 letters, digits, spaces or ._-@'(), and not begin with - or .": "the device id …",
    "… in …": _OURS,
    "no sealing backend is called …": _OURS,
    "nothing was registered": _OURS,
    "a fault in the daemon": _MESSAGE,
    "In the app add a listener first: Host ": "beside the QR; the log line is listed",
    ", exactly so.": "the same",
    "no phone paired in time": "told to `pair`; the log line is listed",
    "too many handshakes failed": "told to `pair`; the log line is listed",
    "the daemon stopped": "told to `pair`",
    "only a full reset lifts this: novakey.py reset": "the cure of a lock, which is listed",
    "it has no devices": "told as: when the devices were last seen is lost",
    "it has no list of sites": "told as: which sites had a secret before is lost",
    "The QR needs ": "on a terminal that is too small",
    "this terminal has ": "on a terminal that is too small",
    " times in a row": "part of: secure storage failed",
    "Make it larger, or open the picture:": "on the terminal, below the sizes",
    "the message did not arrive within … s": _MESSAGE,
    "the message ends too early": _MESSAGE,
    "a member stands twice": "told as: not a JSON object",
    "… is not JSON": "told as: not a JSON object",
    "not what we write": "told as: is damaged",
    "too long": "told as: is damaged",
    "not our members": "told as: the pairing state … is damaged",
    "a member of another type": "told as: the pairing state … is damaged",
    "a backend that we do not have": "told as: the pairing state … is damaged",
    "a negative count": "told as: the pairing state … is damaged",
    "the configuration is good: …": "the configuration",
    "the configuration is good: there is no file in …, so the defaults are in force…": "the configuration",
    "open the gate for one device for a moment": _HELP,
    "close it again": _HELP,
    "approve the next secret (two-man approval)": _HELP,
    "send a secret; asked for without echo, or taken from standard input": _HELP,
    "not a path": "stands for the system's own words in: the passphrase file … cannot be read: …",
}

# Which argument of a call is the message. Exceptions are found by themselves: theirs is the first.
CALLS = {
    "About": (1,),
    "ok": (0,),
    "note": (0,),
    "fault": (0,),
    "failed": (0,),
    "Found": (0, 2, 3),
    "Refusal": (1,),
    "RefusedHelloError": (1,),
    "RefusedPhone": (2,),
    "print": (0,),
    "say": (0,),
    "echo": (0,),
    "input": (0,),
    "confirm": (0,),
    "agree": (1,),
    "require_confirmation": (1,),
    "_question": (1,),
    "_standard_input": (0,),
    "malformed": (0,),
    "reply": (1,),
    "tell": (0,),
    "cut_off": (0,),
}
LOG = {"debug", "info", "warning", "error", "exception", "critical"}
KEYWORDS = {"locked"}  # why pairing is locked: shown by the log, `status` and `doctor`
HELP = {"help", "description", "epilog"}
PLACE = re.compile(r"%[-+ #0]*[0-9.]*[a-zA-Z]|\{\w+\}")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> Iterator[Path]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if not path.relative_to(PACKAGE).as_posix().startswith(tuple(ELSEWHERE)):
            yield path


def exceptions() -> set[str]:
    """Return the names of our exceptions, and of the built-in one that `check_pair` and others raise."""
    bases: dict[str, list[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]
    found = {"Exception", "ValueError"}
    while more := {name for name, of in bases.items() if found & set(of)} - found:
        found |= more
    return found


class Reader:
    """The messages of one module, the cures below them, and other texts that were recognised."""

    def __init__(self, tree: ast.Module, raised: set[str]) -> None:
        self._tree = tree
        self._raised = raised
        self._functions: dict[str, list[Function]] = {}
        for node in ast.walk(tree):
            if isinstance(node, Function):
                self._functions.setdefault(node.name, []).append(node)
        self.found: set[str] = set()
        self.others: set[str] = set()
        self._read(tree, tree)

    def _read(self, node: ast.AST, scope: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Call):
                self._call(child, scope)
            self._read(child, child if isinstance(child, Function) else scope)

    def _call(self, call: ast.Call, scope: ast.AST) -> None:
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if getattr(getattr(call.func, "value", None), "id", "") == "log":
            if name in LOG or name == "log":
                fmt, *values = call.args[1:] if name == "log" else call.args
                self.found.update(self._filled(fmt, values, scope))
            return
        if name in CALLS:
            for number, argument in enumerate(call.args):
                texts = self._texts(argument, scope)
                (self.found if number in CALLS[name] else self.others).update(texts)
        elif name in self._raised and call.args:
            problem, *cures = call.args
            if isinstance(problem, ast.Starred):
                self._pairs(problem.value)
            else:
                self.found.update(self._texts(problem, scope))
            for cure in cures:
                self.others.update(self._texts(cure, scope))
        for keyword in call.keywords:
            if keyword.arg in KEYWORDS:
                self.found.update(self._texts(keyword.value, scope))
            elif keyword.arg in HELP:
                self.others.update(self._texts(keyword.value, scope))

    def _pairs(self, value: ast.expr) -> None:
        """Return an exception of `*function(…)`: what the function returns is a problem and its cure."""
        assert isinstance(value, ast.Call) and isinstance(value.func, ast.Name), "teach this test to read it"
        for function in self._functions[value.func.id]:
            for node in ast.walk(function):
                if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
                    problem, cure = node.value.elts
                    self.found.update(self._texts(problem, function))
                    self.others.update(self._texts(cure, function))

    def _filled(self, fmt: ast.expr, values: list[ast.expr], scope: ast.AST) -> Iterator[str]:
        """Return a `%` format with the values that are known before the program runs."""
        for text in self._texts(fmt, scope):
            self.others.add(PLACE.sub("…", text))
            rest = iter(values)

            def filling(match: re.Match[str], rest: Iterator[ast.expr] = rest) -> str:
                texts = self._texts(next(rest, ast.Constant(None)), scope)
                return texts[0] if len(texts) == 1 and texts[0] else "…"

            yield PLACE.sub(filling, text)

    def _texts(self, node: ast.expr, scope: ast.AST) -> list[str]:
        """Return the texts of an expression, `…` for what is filled in; none if it is no text of ours."""
        match node:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.FormattedValue(value=value):
                texts = self._texts(value, scope)
                self.others.update(texts)
                return texts if len(texts) == 1 else ["…"]
            case ast.JoinedStr(values=parts):
                return self._joined(parts, scope)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._joined([left, right], scope)
            case ast.BinOp(left=left, op=ast.Mod(), right=ast.Tuple(elts=values)):
                return list(self._filled(left, values, scope))
            case ast.BinOp(left=left, op=ast.Mod(), right=value):
                return list(self._filled(left, [value], scope))
            case ast.IfExp(body=body, orelse=orelse):
                return self._texts(body, scope) + self._texts(orelse, scope)
            case ast.Name(id=name):
                return self._assigned(name, scope) or self._assigned(name, self._tree)
            case ast.Call(func=ast.Name(id="command"), args=words, keywords=keywords):
                line = self._joined([part for word in words for part in (word, ast.Constant(" "))], scope)
                return [text + "-- …" * bool(keywords) for text in line]
            case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
                functions = self._functions.get(name, [])
                returns = [(r, f) for f in functions for r in ast.walk(f) if isinstance(r, ast.Return)]
                return [text for r, f in returns if r.value for text in self._texts(r.value, f)]
        return []

    def _joined(self, parts: list[ast.expr], scope: ast.AST) -> list[str]:
        texts = [""]
        for part in parts:
            texts = [text + end for text in texts for end in self._texts(part, scope) or ["…"]]
        return texts

    def _assigned(self, name: str, scope: ast.AST) -> list[str]:
        return [
            text
            for node in (ast.walk(scope) if isinstance(scope, Function) else ast.iter_child_nodes(scope))
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name) and target.id == name
            for text in self._texts(node.value, scope)
        ]


def normal(text: str) -> str:
    return " ".join(re.sub(r"…+", "…", text).split())


def says_something(text: str) -> bool:
    """Whether a text has words of its own, not only what is filled in."""
    return re.search(r"[^\W\d_]{2}", text) is not None


@functools.cache
def read() -> dict[str, Reader]:
    """Every module's messages, by the module's path."""
    raised = exceptions()
    readers = {}
    for path in modules():
        name = path.relative_to(ROOT).as_posix()
        readers[name] = reader = Reader(ast.parse(path.read_text()), raised)
        if name.endswith("sealing/keyring.py"):
            for problem, cure in keyring.MESSAGES.values():
                reader.found.add(PLACE.sub("…", problem))
                reader.others.add(cure)
    return readers


@functools.cache
def in_code() -> dict[str, str]:
    """Every message, with a module that can say it."""
    return {
        text: name
        for name, reader in read().items()
        for text in map(normal, reader.found)
        if says_something(text) and text not in NOT_LISTED
    }


def in_page() -> list[str]:
    """Return what stands in the first column of the page's tables as code: those are the messages."""
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    cells = [row.split(" | ", 1)[0].removeprefix("| ") for row in rows]
    spans = [span for cell in cells for span in re.findall(r"(?<!`)(`{1,2})(?!`)(.+?)(?<!`)\1(?!`)", cell)]
    return [normal(text) for _, text in spans]


def test_every_message_about_pairing_and_storage_is_in_the_troubleshooting_page() -> None:
    missing = {text: name for text, name in in_code().items() if text not in in_page()}
    assert not missing, "\n".join(f"{name}: {text}" for text, name in missing.items())


def test_the_troubleshooting_page_lists_no_message_that_the_program_cannot_print() -> None:
    known = in_code()
    left = [text for text in in_page() if text not in known]
    assert not left, "\n".join(left)


def test_no_message_is_explained_twice() -> None:
    page = in_page()
    assert [text for text in set(page) if page.count(text) > 1] == []


def test_every_sentence_in_those_modules_was_recognised() -> None:
    """A message that is made in a way that `Reader` does not know must not slip through."""
    escaped = []
    for name, reader in read().items():
        tree = ast.parse((ROOT / name).read_text())
        known = [normal(text) for text in reader.found | reader.others | set(NOT_LISTED)]
        standing = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in standing:
                text = normal(PLACE.sub("…", node.value))
                if text.count(" ") >= 2 and not any(text in sentence for sentence in known):
                    escaped.append(f"{name}:{node.lineno}: {text}")
    assert not escaped, "\n".join(escaped)


def test_what_is_left_out_of_the_list_still_exists() -> None:
    texts = {normal(text) for reader in read().values() for text in reader.found | reader.others}
    constants = {
        node.value
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert [text for text in NOT_LISTED if text not in texts | constants] == []
    for name in ELSEWHERE:
        assert (PACKAGE / name).exists(), f"{name} is gone: take it out of ELSEWHERE"
