"""macOS as far as the backend sees it, after what Apple's references say of each call."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any

from support.calls_double import Double

from novakey.desktop.macos import calls as mc

COMMAND, SHIFT, CAPS_LOCK = 0x100000, 0x20000, 0x10000
TEXT, CONCEALED = "public.utf8-plain-text", "org.nspasteboard.ConcealedType"
NO_VALUE = -25212  # kAXErrorNoValue
QWERTY = {8: "c", 9: "v", 40: "k"}
DVORAK = {9: "k", 34: "c", 47: "v"}
MAX_UNITS = 20  # of an event's text; what is beyond is dropped


@dataclass
class Program:
    pid: int
    path: str
    bundle: str | None


@dataclass
class Window:
    """A window with one text field."""

    program: Program
    title: str | int | None
    text: str = field(default="", repr=False)

    def clear(self) -> None:
        self.text = ""


@dataclass
class Thing:
    """An object that macOS gave out."""

    kind: str
    value: Any = field(repr=False)
    references: int = 1
    pools: list[int] = field(default_factory=list)


@dataclass
class Event:
    key: int
    down: bool
    flags: int
    units: list[int] = field(default_factory=list, repr=False)


class Mac(Double):
    """A session with two programs; the window of the first has the focus."""

    def __init__(self) -> None:
        super().__init__()
        vault = Program(5, "/Applications/Vault.app/Contents/MacOS/Vault", "com.example.Vault")
        chat = Program(6, "/opt/chat", None)
        self.first = Window(vault, "Unlock \N{KEY}")
        self.other = Window(vault, "Settings")  # of the same program
        self.second = Window(chat, None)
        self.focused: Window | None = self.first
        self.front_seen: Program | None = vault  # as of the last turn of the run loop
        self.panel_over: Window | None = None  # keeps being in front while a panel has the keys
        self.trusted = True
        self.answers = True  # the accessibility interface
        self.secure_entry = False
        self.held = SHIFT | COMMAND | CAPS_LOCK  # by a person
        self.layout: dict[int, str] | None = QWERTY
        self.events_left = 10**9
        self.commands: list[str] = []
        self.down: set[int] = set()
        self.changes = 40
        self.board: dict[str, str] = {}
        self.host_only = False
        self.refuse_set: str | None = None
        self.copied_since = False
        self.managers: list[str] = []
        self.things: dict[int, Thing] = {}
        self.pools: list[list[int]] = []
        self.names: dict[int, str] = {}
        self._next = 0x1000
        self._send = ctypes.CFUNCTYPE(ctypes.c_uint64, *(ctypes.c_uint64,) * 4)(self.guarded("message"))
        self._layout_bytes = ctypes.create_string_buffer(16)

    def calls(self) -> mc.Calls:
        libraries = self.libraries(mc.SIGNATURES)
        libraries["objc"].objc_msgSend = self._send

        def constant(library: Any, name: str) -> int:
            return self._name(name)

        return mc.bind(libraries, constant)

    # -- objects

    def give(self, kind: str, value: Any) -> int:
        self._next += 16
        self.things[self._next] = Thing(kind, value)
        return self._next

    def give_pooled(self, kind: str, value: Any) -> int:
        assert self.pools, "an object that will never be freed"
        number = self.give(kind, value)
        self.pools[-1].append(number)
        return number

    def of(self, number: int, kind: str) -> Any:
        thing = self.things[number]
        assert thing.kind == kind, f"{thing.kind} in place of {kind}"
        return thing.value

    def CFRetain(self, number: int) -> int:
        self.things[number].references += 1
        return number

    def CFRelease(self, number: int) -> None:
        thing = self.things[number]
        thing.references -= 1
        if thing.references == 0:
            del self.things[number]

    def CFEqual(self, one: int, other: int) -> int:
        return int(self.things[one].value is self.things[other].value)

    def CFGetTypeID(self, number: int) -> int:
        return {"string": 7}.get(self.things[number].kind, 1)

    def CFStringGetTypeID(self) -> int:
        return 7

    def CFStringCreateWithBytes(self, allocator: Any, data: Any, size: int, code: int, mark: int) -> int:
        assert code == 0x08000100
        return self.give("string", ctypes.string_at(data, size).decode("utf-8"))

    def CFStringGetCString(self, number: int, place: int, size: int, code: int) -> int:
        assert code == 0x08000100
        data = self.of(number, "string").encode() + b"\0"
        if len(data) > size:
            return 0
        ctypes.memmove(place, data, len(data))
        return 1

    def objc_autoreleasePoolPush(self) -> int:
        self.pools.append([])
        return len(self.pools)

    def objc_autoreleasePoolPop(self, token: int) -> None:
        assert token == len(self.pools), "pools are popped in their order"
        for number in self.pools.pop():
            self.CFRelease(number)

    # -- messages

    def _name(self, text: str) -> int:
        number = next((n for n, known in self.names.items() if known == text), 0x100000 + len(self.names))
        self.names[number] = text
        return number

    def objc_getClass(self, name: bytes) -> int:
        return self._name(name.decode())

    def sel_registerName(self, name: bytes) -> int:
        return self._name(name.decode())

    def message(self, receiver: int, selector: int, one: int, two: int) -> int:
        name = self.names[selector]
        if receiver in self.names:
            return self._class_message(self.names[receiver], name, one)
        thing = self.things[receiver]
        if thing.kind == "workspace" and name == "frontmostApplication":
            return self.give_pooled("program", self.front_seen) if self.front_seen else 0
        if thing.kind == "program" and name == "processIdentifier":
            return thing.value.pid & 0xFFFFFFFF
        if thing.kind == "program" and name == "bundleIdentifier":
            return self.give_pooled("string", thing.value.bundle) if thing.value.bundle else 0
        assert thing.kind == "board", f"{thing.kind} does not know {name}"
        return self._board_message(name, one, two)

    def _class_message(self, kind: str, name: str, one: int) -> int:
        if (kind, name) == ("NSWorkspace", "sharedWorkspace"):
            return self.give_pooled("workspace", None)
        if (kind, name) == ("NSPasteboard", "generalPasteboard"):
            return self.give_pooled("board", None)
        assert (kind, name) == ("NSRunningApplication", "runningApplicationWithProcessIdentifier:")
        pid = one & 0xFFFFFFFF
        found = [w.program for w in (self.first, self.second) if w.program.pid == pid]
        return self.give_pooled("program", found[0]) if found else 0

    def _board_message(self, name: str, one: int, two: int) -> int:
        if name == "changeCount":
            return self.changes
        if name in ("prepareForNewContentsWithOptions:", "clearContents"):
            self.changes += 1
            self.board.clear()
            self.host_only = name.startswith("prepare") and one == 1
            return self.changes
        assert name == "setString:forType:"
        value, kind = self.of(one, "string"), self.of(two, "string")
        if kind == self.refuse_set:
            return 0
        self.board[kind] = value
        if kind == TEXT and self.copied_since:
            self.copy_by_person("theirs")
        if TEXT in self.board and CONCEALED not in self.board:
            self.managers.append(self.board[TEXT])
        return 0xFFFFFF01  # a bool has one byte; the rest of the register holds anything

    def copy_by_person(self, text: str) -> None:
        self.changes += 1
        self.board = {TEXT: text, CONCEALED: ""}

    # -- focus

    def CFRunLoopRunInMode(self, mode: int, seconds: float, once: int) -> int:
        assert self.names[mode] == "kCFRunLoopDefaultMode" and seconds == 0.0
        front = self.panel_over or self.focused
        self.front_seen = front.program if front else None
        return 3

    def AXIsProcessTrusted(self) -> int:
        return int(self.trusted)

    def AXUIElementCreateSystemWide(self) -> int:
        return self.give("element", "everything")

    def AXUIElementCreateApplication(self, pid: int) -> int:
        found = [w.program for w in (self.first, self.second) if w.program.pid == pid]
        return self.give("element", found[0]) if found else 0

    def AXUIElementSetMessagingTimeout(self, element: int, seconds: float) -> int:
        assert 0 < seconds <= 0.5
        self.of(element, "element")
        return 0

    def AXUIElementCopyAttributeValue(self, element: int, key: int, place: Any) -> int:
        value, name = self.of(element, "element"), self.of(key, "string")
        found: int | None = None
        if not self.trusted or not self.answers or self.focused is None:
            return NO_VALUE
        if value == "everything" and name == "AXFocusedApplication":
            found = self.give("element", self.focused.program)
        elif value is self.focused.program and name == "AXFocusedWindow":
            found = self.give("element", self.focused)
        elif isinstance(value, Window) and name == "AXTitle" and value.title is not None:
            found = self.give("string" if isinstance(value.title, str) else "number", value.title)
        if found is None:
            return NO_VALUE
        place[0] = found
        return 0

    def AXUIElementGetPid(self, element: int, place: Any) -> int:
        place[0] = self.of(element, "element").pid
        return 0

    def proc_pidpath(self, pid: int, place: int, size: int) -> int:
        found = [w.program.path for w in (self.first, self.second) if w.program.pid == pid]
        if not found:
            return 0
        data = found[0].encode() + b"\0"
        assert len(data) <= size == 4096
        ctypes.memmove(place, data, len(data))
        return len(data) - 1

    # -- keyboard

    def IsSecureEventInputEnabled(self) -> int:
        return int(self.secure_entry)

    def CGEventSourceCreate(self, state: int) -> int:
        return self.give("source", state)

    def CGEventCreateKeyboardEvent(self, source: int, key: int, down: bool) -> int:
        if self.events_left == 0:
            return 0
        self.events_left -= 1
        assert self.of(source, "source") == -1, "what a person holds would count"
        return self.give("event", Event(key, down, self.held))

    def CGEventSetFlags(self, event: int, flags: int) -> None:
        self.of(event, "event").flags = flags

    def CGEventKeyboardSetUnicodeString(self, event: int, length: int, units: Any) -> None:
        self.of(event, "event").units = [units[at] for at in range(min(length, MAX_UNITS))]

    def CGEventPost(self, tap: int, number: int) -> None:
        assert tap == 1
        event = self.of(number, "event")
        if not event.down:
            self.down.remove(event.key)
            return
        assert event.key not in self.down
        self.down.add(event.key)
        window = self.focused
        if not self.trusted or window is None:
            return
        if event.flags == COMMAND and (self.layout or QWERTY).get(event.key) == "v":
            window.text += self.board.get(TEXT, "")
        elif event.flags:
            self.commands.append(hex(event.flags))
        elif event.key in (0x24, 0x30):
            window.text += "\n" if event.key == 0x24 else "\t"
        else:
            data = b"".join(unit.to_bytes(2, "little") for unit in event.units)
            text = data.decode("utf-16-le", "replace")
            if min(text, default=" ") < " ":
                self.commands.append("a control character as text: moves no focus, presses no button")
            window.text += text

    # -- layout

    def TISCopyCurrentKeyboardLayoutInputSource(self) -> int:
        return self.give("input source", None)

    def TISGetInputSourceProperty(self, source: int, key: int) -> int:
        self.of(source, "input source")
        assert self.names[key] == "kTISPropertyUnicodeKeyLayoutData"
        self._next += 16
        return 0x7000 if self.layout is not None else 0

    def CFDataGetBytePtr(self, data: int) -> int:
        assert data == 0x7000
        return ctypes.addressof(self._layout_bytes)

    def LMGetKbdType(self) -> int:
        return 91

    def UCKeyTranslate(self, layout: int, code: int, action: int, state: int, *rest: Any) -> int:
        kind, options, dead, size, length, units = rest
        assert layout == ctypes.addressof(self._layout_bytes)
        assert (action, state, kind, options, dead[0]) == (0, 1, 91, 0, 0) and size == 4
        character = (self.layout or {}).get(code, "")
        length[0] = len(character)
        if character:
            units[0] = ord(character)
        return 0
