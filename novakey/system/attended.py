"""Whether somebody sees what a process writes on its terminal, as far as the system tells it (Linux).

That is so for the foreground process group of a terminal that a person has before them: the
virtual console on the screen, a terminal program's window, a login over ssh, or a tmux pane on
the screen of an attached session. Of screen, mosh and all others it cannot be known.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from novakey.system import procfs
from novakey.system.procfs import Terminal

TMUX_S = 1.0
_MAX_NESTED = 4  # sudo in script in ssh
_CONSOLES, _MAX_CONSOLE = 4, 63  # device numbers, admin-guide/devices.txt in the kernel's documentation
_PTY_MAJORS = range(136, 144)
_LISTENS = "00010000"  # __SO_ACCEPTCON in /proc/net/unix

# The kernel's name of a process has at most 15 bytes.
_SHOWN_BY = frozenset(
    {
        *(
            "xterm",
            "uxterm",
            "urxvt",
            "urxvtd",
            "rxvt",
            "st",
            "foot",
            "alacritty",
            "kitty",
            "ghostty",
            "wezterm-gui",
        ),
        *(
            "gnome-terminal-",
            "gnome-terminal-server",
            "kgx",
            "gnome-console",
            "ptyxis-agent",
            "konsole",
            "yakuake",
        ),
        *(
            "xfce4-terminal",
            "mate-terminal",
            "lxterminal",
            "qterminal",
            "terminator",
            "tilix",
            "guake",
            "tilda",
        ),
        *("terminology", "deepin-terminal", "cool-retro-term", "contour", "rio", "code", "emacs"),
        *("sshd", "sshd-session", "dropbear"),
    }
)
_TMUX = ("tmux: server", "tmux")


def is_seen(pid: int) -> bool:
    """Whether a person sees the terminal of this process; False also where that cannot be known."""
    for _ in range(_MAX_NESTED):
        terminal = procfs.terminal(pid)
        if terminal is None or not terminal.is_foreground:
            return False
        if terminal.major == _CONSOLES:
            return terminal.minor <= _MAX_CONSOLE and _console_on_screen() == f"tty{terminal.minor}"
        if terminal.major not in _PTY_MAJORS:
            return False
        holder = procfs.parent(terminal.session)
        name = procfs.program_name(holder) if holder is not None else ""
        if holder is None or name in _SHOWN_BY:
            return holder is not None
        if name in _TMUX:
            return _is_on_screen_in_tmux(holder, terminal)
        pid = holder  # a program that passes another terminal on, as sudo and script do
    return False


def _console_on_screen() -> str:
    try:
        return Path("/sys/class/tty/tty0/active").read_text().strip()
    except OSError:
        return ""


def _is_on_screen_in_tmux(server: int, terminal: Terminal) -> bool:
    path = f"/dev/pts/{(terminal.major - _PTY_MAJORS.start) * 256 + terminal.minor}"
    form = "#{pane_tty} #{session_attached} #{window_active}"
    for socket in _listening(server):
        command = [f"/proc/{server}/exe", "-S", socket, "list-panes", "-a", "-F", form]
        try:
            told = subprocess.run(  # noqa: S603  (the program of the owner's own server)
                command, capture_output=True, text=True, errors="replace", timeout=TMUX_S, check=False
            )
        except (OSError, subprocess.SubprocessError):
            continue
        for tty, attached, active in (
            line.split() for line in told.stdout.splitlines() if line.count(" ") == 2
        ):
            if (tty, active) == (path, "1") and attached != "0":
                return True
    return False


def _listening(pid: int) -> list[str]:
    """Return the paths of the local sockets that a process listens on."""
    inodes = set()
    try:
        for number in Path(f"/proc/{pid}/fd").iterdir():
            inodes.add(str(number.readlink()).removeprefix("socket:[").removesuffix("]"))
        rows = [
            line.split(maxsplit=7) for line in Path("/proc/net/unix").read_text(errors="replace").splitlines()
        ]
    except OSError:
        return []
    return [row[7] for row in rows if len(row) == 8 and row[3] == _LISTENS and row[6] in inodes]
