"""Windows as far as the backend sees it, after what the Win32 API reference says of each call."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from support.calls_double import Double

from novakey.desktop.windows import calls as wc

OUR_PID = 77
MEDIUM, HIGH = 0x2000, 0x3000
SHIFTS, CONTROLS, ALTS, WINS = {0xA0, 0xA1}, {0xA2, 0xA3}, {0xA4, 0xA5}, {0x5B, 0x5C}
KEYUP, UNICODE, EXTENDED = 2, 4, 1
CF_UNICODETEXT = 13


@dataclass
class Process:
    path: str
    integrity: int = MEDIUM
    opens: bool = True
    token_opens: bool = True


@dataclass
class Window:
    """A window with one text field."""

    handle: int
    pid: int
    kind: str = "Edit"
    title: str = ""
    units: list[int] = field(default_factory=list, repr=False)

    @property
    def text(self) -> str:
        data = b"".join(unit.to_bytes(2, "little") for unit in self.units)
        return data.decode("utf-16-le", "replace")

    def clear(self) -> None:
        self.units.clear()

    def insert(self, text: str) -> None:
        data = text.encode("utf-16-le")
        self.units += [int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2)]


class Windows(Double):
    """One desktop with two windows; the first has the focus."""

    def __init__(self) -> None:
        super().__init__()
        self.processes = {
            OUR_PID: Process(r"C:\Python\python.exe"),
            5: Process(r"C:\Program Files\Vault\Vault.exe"),
            6: Process(r"D:\chat.exe"),
        }
        self.first = Window(0x10010, 5, "VaultWindow", "Unlock \N{KEY}")
        self.second = Window(0x10020, 6, "Chat", "Chat")
        self.foreground: Window | None = self.first
        self.desktop_opens = True
        # keyboard
        self.down: set[int] = set()
        self.alone: int | None = None  # a modifier that went down with nothing since
        self.menus = 0
        self.let_through: list[int] = []  # for the next calls of SendInput: how many events
        self.sends = 0
        self.packet_down: int | None = None
        self.commands: list[str] = []  # characters taken as shortcuts
        self.slow: Callable[[], None] | None = None
        # clipboard
        self.formats: dict[int, int] = {}
        self.names: dict[str, int] = {}
        self.opened = False
        self.open_window: int | None = None
        self.owner: int | None = None
        self.refuse_open = 0
        self.refuse_set: int | None = None
        self.sets = 0
        self.history: list[str] = []
        self.cloud: list[str] = []
        self.monitors: list[str] = []
        self.handles: set[int] = set()
        self.memory: dict[int, Any] = {}
        self.locked: dict[int, int] = {}
        self.sids: dict[int, Any] = {}
        self._next = 0x500

    def calls(self) -> wc.Calls:
        return wc.bind(self.libraries(wc.SIGNATURES))

    def new_handle(self) -> int:
        self._next += 4
        self.handles.add(self._next)
        return self._next

    def leaks(self) -> str:
        """Return handles, windows or memory that will not be freed, and an open clipboard."""
        lost = set(self.memory) - set(self.formats.values())
        return f"{len(self.handles)} handles, {len(lost)} blocks, {self.opened}, {sum(self.locked.values())}"

    # -- a person

    def press(self, key: int) -> None:
        self._key(key, down=True)

    def copy_by_person(self, text: str) -> None:
        assert not self.opened
        self._free_formats()
        self.owner = self.second.handle
        self._store(CF_UNICODETEXT, text.encode("utf-16-le") + b"\0\0")

    def clipboard_text(self) -> str | None:
        handle = self.formats.get(CF_UNICODETEXT)
        return None if handle is None else self._text(handle)

    def _text(self, handle: int) -> str:
        text, nul, _ = bytes(self.memory[handle]).decode("utf-16-le").partition("\0")
        assert nul, "the text on the clipboard has no end"
        return text

    def _store(self, kind: int, data: bytes) -> None:
        handle = self._block(len(data))
        self.memory[handle][:] = data
        self.formats[kind] = handle

    # -- keyboard

    def SendInput(self, count: int, inputs: Any, size: int) -> int:
        if size != 40 or count == 0:
            return 0
        self.sends += 1
        number = self.let_through.pop(0) if self.let_through else count
        number = min(number, count)
        for place in range(number):
            assert inputs[place].type == 1
            key = inputs[place].u.ki
            assert key.time == 0, "a made up time"
            self._event(key.wVk, key.wScan, key.dwFlags)
        return number

    def _event(self, key: int, scan: int, flags: int) -> None:
        ours = self.processes[OUR_PID].integrity
        if self.foreground and self.processes[self.foreground.pid].integrity > ours:
            return  # UIPI: dropped, and the result does not tell
        if flags & UNICODE:
            assert key == 0 and not flags & EXTENDED
            self._packet(scan, down=not flags & KEYUP)
            return
        if key != 0xE8:
            assert (scan, bool(flags & EXTENDED)) == self._scan(key), "scan code of another key"
        self._key(key, down=not flags & KEYUP)

    def _packet(self, unit: int, down: bool) -> None:
        if not down:
            assert self.packet_down == unit, "released what was not pressed"
            self.packet_down = None
            return
        assert self.packet_down is None
        self.packet_down = unit
        self.alone = None
        if self.down & (CONTROLS | ALTS | WINS):
            self.commands.append("packet")
        elif unit < 0x20:
            self.commands.append("a control character as text: moves no focus, presses no button")
        elif self.menus:
            self.commands.append("menu")
        elif self.foreground:
            self.foreground.units.append(unit)

    def _key(self, key: int, down: bool) -> None:
        if not down:
            if key in (ALTS | WINS) and self.alone == key:
                self.menus += 1
            self.down.discard(key)
            self.alone = None
            return
        self.down.add(key)
        self.alone = key if key in (ALTS | WINS) else None
        window = self.foreground
        if window is None:
            return
        modifiers = self.down & (SHIFTS | CONTROLS | ALTS | WINS)
        if key in (0x0D, 0x09):
            if modifiers:
                self.commands.append("line end or tab with a modifier")
            else:
                window.units.append(0x0A if key == 0x0D else 0x09)
        elif key == 0x56:
            if modifiers and modifiers <= CONTROLS:
                window.insert(self.clipboard_text() or "")
            else:
                self.commands.append("v")

    def GetAsyncKeyState(self, key: int) -> int:
        return -0x8000 if key in self.down else 0

    @staticmethod
    def _scan(key: int) -> tuple[int, bool]:
        # USB HID to PS/2 scan code translation table
        codes = {0x09: 0x0F, 0x0D: 0x1C, 0x56: 0x2F, 0xA0: 0x2A, 0xA1: 0x36, 0xA2: 0x1D, 0xA4: 0x38}
        extended = {0xA3: 0x1D, 0xA5: 0x38, 0x5B: 0x5B, 0x5C: 0x5C}
        return (extended[key], True) if key in extended else (codes[key], False)

    def MapVirtualKeyW(self, key: int, kind: int) -> int:
        assert kind == 4
        scan, extended = self._scan(key)
        return scan | (0xE000 if extended else 0)

    # -- windows and processes

    def GetForegroundWindow(self) -> int:
        return self.foreground.handle if self.foreground else 0

    def _window(self, handle: int) -> Window | None:
        return next((w for w in (self.first, self.second) if w.handle == handle), None)

    def GetWindowThreadProcessId(self, handle: int, pid: Any) -> int:
        window = self._window(handle)
        if window is None:
            return 0
        pid[0] = window.pid
        return 1000 + window.pid

    def _write(self, text: str, place: Any, size: int) -> int:
        data = text.encode("utf-16-le")[: 2 * (size - 1)]
        for at in range(0, len(data), 2):
            place[at // 2] = int.from_bytes(data[at : at + 2], "little")
        place[len(data) // 2] = 0
        return len(data) // 2

    def GetWindowTextW(self, handle: int, place: Any, size: int) -> int:
        window = self._window(handle)
        return self._write(window.title, place, size) if window else 0

    def GetClassNameW(self, handle: int, place: Any, size: int) -> int:
        window = self._window(handle)
        return self._write(window.kind, place, size) if window else 0

    def OpenInputDesktop(self, flags: int, inherit: int, access: int) -> int:
        return self.new_handle() if self.desktop_opens and access else 0

    def CloseDesktop(self, handle: int) -> int:
        self.handles.remove(handle)
        return 1

    def GetCurrentProcessId(self) -> int:
        return OUR_PID

    def OpenProcess(self, access: int, inherit: int, pid: int) -> int:
        assert access == 0x1000, "more rights than needed are refused for other people's processes"
        process = self.processes.get(pid)
        if process is None or not process.opens:
            return 0
        handle = self.new_handle()
        self.sids[handle] = process
        return handle

    def CloseHandle(self, handle: int) -> int:
        self.handles.remove(handle)
        self.sids.pop(handle)
        return 1

    def QueryFullProcessImageNameW(self, handle: int, flags: int, place: Any, size: Any) -> int:
        path = self.sids[handle].path
        if size[0] <= len(path):
            return 0
        size[0] = self._write(path, place, size[0])
        return 1

    def OpenProcessToken(self, handle: int, access: int, place: Any) -> int:
        process = self.sids[handle]
        if access != 8 or not process.token_opens:
            return 0
        token = self.new_handle()
        self.sids[token] = process
        place[0] = token
        return 1

    def GetTokenInformation(self, token: int, kind: int, place: int, size: int, needed: Any) -> int:
        assert kind == 25
        needed[0] = 28
        if size < 28:
            return 0
        # TOKEN_MANDATORY_LABEL {PSID, attributes} and behind it the SID: revision, count, authority, parts
        sid = bytes([1, 1, 0, 0, 0, 0, 0, 16]) + self.sids[token].integrity.to_bytes(4, "little")
        label = (place + 16).to_bytes(8, "little") + (0x60).to_bytes(8, "little") + sid
        ctypes.memmove(place, label, len(label))
        return 1

    def GetSidSubAuthorityCount(self, sid: int) -> int:
        return sid + 1

    def GetSidSubAuthority(self, sid: int, index: int) -> int:
        assert index == 0
        return sid + 8

    # -- clipboard

    def CreateWindowExW(self, style: int, kind: Any, name: Any, *rest: Any) -> int:
        parent = rest[5]
        assert parent == 2**64 - 3, "not a message-only window"
        assert bytes(ctypes.string_at(kind, 14)).decode("utf-16-le") == "STATIC\0"
        return self.new_handle()

    def DestroyWindow(self, handle: int) -> int:
        self.handles.remove(handle)
        if self.owner == handle:
            self.owner = None
        return 1

    def OpenClipboard(self, window: int | None) -> int:
        if self.refuse_open:
            self.refuse_open -= 1
            return 0
        if self.opened:
            return 0
        self.opened, self.open_window = True, window
        return 1

    def CloseClipboard(self) -> int:
        assert self.opened
        self.opened = False
        text = self.clipboard_text()
        if text is not None:
            self._watchers(text)
        return 1

    def _watchers(self, text: str) -> None:
        def has(name: str) -> bytes | None:
            handle = self.formats.get(self.names.get(name, -1))
            return None if handle is None else bytes(self.memory[handle])

        # Stricter than Windows, where the first is enough: each watcher looks at its own format alone.
        if has("ExcludeClipboardContentFromMonitorProcessing") is None:
            self.monitors.append(text)
        if has("CanIncludeInClipboardHistory") != bytes(4):
            self.history.append(text)
        if has("CanUploadToCloudClipboard") != bytes(4):
            self.cloud.append(text)

    def _free_formats(self) -> None:
        for handle in self.formats.values():
            del self.memory[handle]
        self.formats.clear()

    def EmptyClipboard(self) -> int:
        if not self.opened:
            return 0
        self._free_formats()
        self.owner = self.open_window
        return 1

    def RegisterClipboardFormatW(self, name: Any) -> int:
        units = []
        while name[len(units)]:
            units.append(name[len(units)])
        text = "".join(map(chr, units))
        return self.names.setdefault(text, 0xC000 + len(self.names))

    def IsClipboardFormatAvailable(self, kind: int) -> int:
        return int(kind in self.formats)

    def GetClipboardData(self, kind: int) -> int:
        return self.formats.get(kind, 0) if self.opened else 0

    def SetClipboardData(self, kind: int, handle: int) -> int:
        self.sets += 1
        if not self.opened or self.owner is None or self.refuse_set == kind:
            return 0
        assert not self.locked.get(handle), "still locked"
        self.formats[kind] = handle
        return handle

    def _block(self, size: int) -> int:
        self._next += 4
        self.memory[self._next] = (ctypes.c_char * size)()
        return self._next

    def GlobalAlloc(self, flags: int, size: int) -> int:
        assert flags == 2, "the clipboard takes only movable memory"
        return self._block(size)

    def GlobalLock(self, handle: int) -> int:
        self.locked[handle] = self.locked.get(handle, 0) + 1
        return ctypes.addressof(self.memory[handle])

    def GlobalUnlock(self, handle: int) -> int:
        self.locked[handle] -= 1
        return 0

    def GlobalSize(self, handle: int) -> int:
        return len(self.memory[handle])

    def GlobalFree(self, handle: int | None) -> int:
        if handle:
            assert not any(bytes(self.memory[handle])), "freed with the text in it"
            del self.memory[handle]
        return 0
