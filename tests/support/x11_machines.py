"""Windows that pass key positions on to another machine: QEMU's own, a viewer of SPICE, a client of RDP."""

from __future__ import annotations

import random
import shutil
import socket
import struct
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from support.x11 import Recorder, RecordingXterm, XServer, end, wait_until

QUIET: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)

# What the other machine is: it sends a zero to the serial port when it runs, and then each scan code.
#   cli; mov dx, 0x3f8; mov al, 0; out dx, al
#   wait: in al, 0x64; test al, 1; jz wait; in al, 0x60; out dx, al; jmp wait
_BOOT = bytes.fromhex("fa baf803 b000 ee e464 a801 74fa e460 ee ebf5")
_SET_1 = {
    0x02: "1234567890-=",
    0x10: "qwertyuiop[]",
    0x1E: "asdfghjkl;'`",
    0x2B: "\\zxcvbnm,./",
    0x39: " ",
    0x56: "<",
}
_PLAIN = {first + at: sign for first, row in _SET_1.items() for at, sign in enumerate(row)}
_SHIFTED = dict(zip("1234567890-=[];'`\\,./<", '!@#$%^&*()_+{}:"~|<>?>', strict=True))
_SHIFT, _ALTGR, _RELEASED, _EXTENDED = 0x2A, 0xE038, 0x80, 0xE0


def signs(codes: bytes, german: bool = False) -> str:
    """Return what a US (or German) keyboard of the other machine gives for scan codes of set 1."""
    text, down, extended = "", set(), False
    for code in codes:
        if code == _EXTENDED:
            extended = True
            continue
        key, extended = (code & ~_RELEASED) | (_EXTENDED << 8 if extended else 0), False
        if code & _RELEASED:
            down.discard(key)
            continue
        down.add(key)
        plain = _PLAIN.get(key)
        if plain is not None:
            text += _sign(plain, _SHIFT in down or 0x36 in down, _ALTGR in down, german)
    return text


# Of a German keyboard: what the keys named by their US sign give, alone, with Shift and with AltGr.
_GERMAN = {
    **{us: (de, de.upper()) for us, de in zip("yz", "zy", strict=True)},
    "2": ("2", '"', "²"), "3": ("3", "§", "³"), "6": ("6", "&"), "7": ("7", "/", "{"), "8": ("8", "(", "["),
    "9": ("9", ")", "]"), "0": ("0", "=", "}"), "-": ("ß", "?", "\\"), "=": ("", ""),
    "[": ("ü", "Ü"), "]": ("+", "*", "~"), ";": ("ö", "Ö"), "'": ("ä", "Ä"), "\\": ("#", "'"),
    "`": ("^", "°"), ",": (",", ";"), ".": (".", ":"), "/": ("-", "_"), "<": ("<", ">", "|"),
    "q": ("q", "Q", "@"), "e": ("e", "E", "€"),
}  # fmt: skip


def _sign(plain: str, shift: bool, altgr: bool, german: bool) -> str:
    if german and plain in _GERMAN:
        levels = _GERMAN[plain]
        level = 2 if altgr else 1 if shift else 0
        return levels[level] if level < len(levels) else "\ufffd"
    if altgr:
        return "\ufffd"
    return _SHIFTED.get(plain, plain.upper()) if shift else plain


class MachineInQemu(Recorder):
    """A machine in QEMU's window, which writes down the scan codes that it gets."""

    title = "QEMU"
    programs: tuple[str, ...] = ("qemu-system-x86_64",)
    screen: tuple[str, ...] = ("-display", "gtk")
    _german = False
    _from = 0

    def _argv(self, folder: Path, output: Path) -> list[str]:
        image = folder / "boot"
        image.write_bytes(_BOOT.ljust(510, b"\0") + struct.pack("<H", 0xAA55))
        output.with_name("typed.ready").touch()
        return [
            *("qemu-system-x86_64", "-nodefaults", "-vga", "std", "-m", "16", "-no-user-config"),
            *("-drive", f"file={image},format=raw,if=ide", "-serial", f"file:{output}", *self.screen),
        ]

    def __enter__(self) -> MachineInQemu:
        super().__enter__()
        wait_until(lambda: b"\0" in self._output.read_bytes(), "the other machine")
        return self

    def layout(self, name: str) -> None:
        """Take the keys for those of such a keyboard."""
        self._german = name == "de"

    def text(self) -> str:
        """See `Recorder.text`."""
        return signs(self._output.read_bytes()[self._from :], self._german)

    def clear(self) -> None:
        """See `Recorder.clear`."""
        self._from = len(self._output.read_bytes())


class MachineInSpice(MachineInQemu):
    """The same in a viewer of SPICE, which holds the keyboard."""

    title = ".*SPICE.*"
    programs = ("qemu-system-x86_64", "spicy")

    def _argv(self, folder: Path, output: Path) -> list[str]:
        place = folder / "spice"
        self.screen = ("-spice", f"unix=on,addr={place},disable-ticketing=on")
        self._machine = subprocess.Popen(super()._argv(folder, output), env=self.server.env, **QUIET)
        wait_until(place.exists, "the server of SPICE")
        return ["spicy", f"--uri=spice+unix://{place}"]

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        end(self._machine)


class Remote(RecordingXterm):
    """A terminal on another X server, seen through RDP."""

    _third = "3" if shutil.which("xfreerdp3") else ""  # the version that Debian names so
    programs = (f"xfreerdp{_third}", f"freerdp-shadow-cli{_third}")

    def __init__(self, server: XServer) -> None:
        self._far = XServer()
        super().__init__(self._far)
        self._near = server

    def __enter__(self) -> Remote:
        with ExitStack() as stack:
            stack.enter_context(self._far)
            super().__enter__()
            stack.push(super().__exit__)
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix="novakey-rdp-"))
            port = str(random.randint(20000, 30000))
            self._start(stack, home, self._far, self.programs[1], f"/port:{port}", *_LOCAL)
            wait_until(lambda: _answers(int(port)), "the server of RDP")
            before = self._seen()
            client = (self.programs[0], f"/v:127.0.0.1:{port}", "/cert:ignore", "/u:x", "/p:x", "/sec:rdp")
            self._start(stack, home, self._near, *client, "/size:800x600", "-clipboard")
            (window,) = wait_until(lambda: self._seen() - before, "its window")
            self._near.focus(window)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def _seen(self) -> set[str]:
        return set(
            self._near.run("xdotool", "search", "--onlyvisible", "--name", "^FreeRDP", check=False).split()
        )

    @staticmethod
    def _start(stack: ExitStack, home: str, on: XServer, *argv: str) -> None:
        process = subprocess.Popen(argv, env={**on.env, "HOME": home}, **QUIET)
        stack.callback(end, process)

    def layout(self, name: str) -> None:
        """Set the keyboard of the other side."""
        self._far.layout(name)


_LOCAL = ("/bind-address:127.0.0.1", "-auth", "/sec:rdp")


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
