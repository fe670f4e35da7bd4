"""A person's terminal: tmux with a shell in it, keys in, screens out as text."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

import png
from support.daemon import ROOT, clean_environment

WAIT_S = 40  # the machine may be busy with other tests


class Terminal:
    """One terminal of its own size; a context manager that ends its tmux server by its socket."""

    def __init__(self, data: Path, columns: int = 100, rows: int = 40, **env: str) -> None:
        self.data = data
        self._size = (columns, rows)
        self._env = {**clean_environment(), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **env}
        self._folder = Path(tempfile.mkdtemp(prefix="novakey-tmux-"))  # a socket's address is short

    def __enter__(self) -> Terminal:
        start = self._folder / "start"
        # What the terminal is, is said inside it: tmux sets TERM by itself.
        said = "".join(
            f"export {name}='{self._env[name]}'\n"
            for name in ("TERM", "LC_ALL", "NO_COLOR")
            if name in self._env
        )
        start.write_text(
            f"{said}PS1='$ '\n"
            f'novakey() {{ "{sys.executable}" "{ROOT}/novakey.py" --data-dir "{self.data}" "$@"; }}\n'
        )
        self._tmux(
            "-u", "-f", "/dev/null", "new-session", "-d", "-s", "t",
            "-x", str(self._size[0]), "-y", str(self._size[1]),
            f"bash --noprofile --rcfile '{start}' -i",
        )  # fmt: skip
        self._tmux("set-option", "-g", "status", "off")
        self._tmux("resize-window", "-t", "t", "-x", str(self._size[0]), "-y", str(self._size[1]))
        self.wait_for(r"^\$ $")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tmux("kill-server", check=False)
        shutil.rmtree(self._folder, ignore_errors=True)

    def type(self, line: str) -> None:
        """Type a line and the Enter key."""
        self._tmux("send-keys", "-t", "t", "-l", line)
        self._tmux("send-keys", "-t", "t", "Enter")

    def press(self, *keys: str) -> None:
        """Keys by their tmux names, such as `C-c`."""
        self._tmux("send-keys", "-t", "t", *keys)

    def resize(self, columns: int, rows: int) -> None:
        """Another size of the window."""
        self._tmux("resize-window", "-t", "t", "-x", str(columns), "-y", str(rows))

    def clear(self) -> None:
        """Return an empty screen with a prompt."""
        self.type(r"printf '\033[2J\033[H'")  # TERM=dumb knows no `clear`
        self.wait_for(r"\A\$ $\Z")

    def screen(self, *options: str) -> str:
        """Return what is on the screen, without the empty lines at its end."""
        return self._tmux("capture-pane", "-p", *options, "-t", "t").rstrip("\n")

    def wait_for(self, pattern: str) -> str:
        """Return the screen, once the pattern (a regular expression, by lines) is on it."""
        deadline = time.monotonic() + WAIT_S
        while re.search(pattern, screen := self.screen("-J"), re.MULTILINE) is None:
            assert time.monotonic() < deadline, f"{pattern!r} did not come:\n{screen}"
            time.sleep(0.1)
        return screen

    def wait_for_qr(self, text: str, dark_glyphs: bool) -> None:
        """Wait until the code on the screen says `text`; a screen may be taken while it is drawn."""
        deadline = time.monotonic() + WAIT_S
        while (seen := read_qr(self.screen(), dark_glyphs)) != text:
            assert time.monotonic() < deadline, f"the QR says {seen!r}:\n{self.screen()}"
            time.sleep(0.1)

    def run(self, line: str) -> str:
        """Run a command on an empty screen; the screen when its prompt is back."""
        self.clear()
        self.type(line)
        return self.wait_for(r"\n\$ $\Z")

    def _tmux(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self._folder / "socket"), *words],
            env=self._env | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=20,
            check=check,
        )
        return done.stdout


def bright_cells(screen: str) -> str:
    """Return a screen captured with its colours: `#` where the background is bright white, else as it is."""
    cells, bright = "", False
    for codes, cell in re.findall(r"\x1b\[([0-9;]*)m|([^\x1b])", screen):
        if cell:
            cells += "#" if bright and cell == " " else cell
        else:
            for code in codes.split(";"):
                bright = code == "107" if code in ("", "0", "49", "107") else bright
    return cells


def read_qr(screen: str, dark_glyphs: bool) -> str:
    """Return what a camera reads off the screen: the text of the QR in half blocks or `##`.

    Rows below the QR are left out; `dark_glyphs` is whether the glyphs are dark
    on a bright background.
    """
    rows: list[list[int]] = []
    for line in screen.split("Time left")[0].split("\n"):
        if "#" in line:
            rows.append([int(cell == "#") for cell in line[::2]])
        else:
            rows.append([int(cell in "█▀") for cell in line])
            rows.append([int(cell in "█▄") for cell in line])
    width = max(map(len, rows), default=0)
    light = 0 if dark_glyphs else 1
    scale, quiet = 4, 6
    plain = [[1] * (width + 2 * quiet)] * quiet
    body = [
        [1] * quiet + [int(cell == light) for cell in row + [0] * (width - len(row))] + [1] * quiet
        for row in rows
    ]
    pixels = [
        [cell for cell in row for _ in range(scale)] for row in plain + body + plain for _ in range(scale)
    ]
    picture = io.BytesIO()
    png.Writer(len(pixels[0]), len(pixels), greyscale=True, bitdepth=1).write(picture, pixels)
    done = subprocess.run(
        ["zbarimg", "-q", "--raw", "-"], input=picture.getvalue(), capture_output=True, timeout=20
    )
    return done.stdout.decode().strip()
