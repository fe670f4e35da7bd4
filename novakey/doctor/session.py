"""Whether a text can reach the focused window, and the person be asked and told."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import Any

import gevent

from novakey import __version__
from novakey.config.settings import Settings
from novakey.control import client
from novakey.desktop.base import OUTSIDE_SESSION, NoDisplayError
from novakey.desktop.select import Chooser, candidates, in_short
from novakey.desktop.wayland.clipboard_only import ClipboardBackend
from novakey.doctor.finding import About, Check, Finding
from novakey.errors import NovaKeyError
from novakey.session import screen_lock
from novakey.session.notifications import Notifier
from novakey.system.folder_lock import FolderLock
from novakey.system.paths import Paths

FOCUS_S = 2.0
SYSTEMCTL_S = 3.0
UNIT = "novakey.service"
_ENVIRONMENT = ("PATH", "HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "LC_ALL")


def _display(paths: Paths, settings: Settings) -> Finding:
    about = About("display", "a secret is typed through it")
    if settings.desktop_backend == "none":
        return about.note("desktop_backend is none: nothing is typed", "to type, set desktop_backend: auto")
    found = candidates(settings.desktop_backend)
    others = in_short({backend.name: backend.reason for backend in found if not backend.usable})
    cures = _each_once({backend.name: backend.cure for backend in found if not backend.usable})
    chosen = next((backend.name for backend in found if backend.usable), None)
    daemon = _display_of_daemon(paths)
    if daemon is not None:
        if daemon["backend"] is None and chosen is not None:
            problem = f"{chosen} can be used from here, but not by the daemon: {daemon['problem']}"
            return about.fault(problem, OUTSIDE_SESSION)
        chosen = daemon["backend"]
    if chosen is None:
        return about.fault(
            f"no display can be used: {others}",
            "; or ".join([*cures, "without a display: set desktop_backend: none"]),
        )
    if chosen == ClipboardBackend.name:
        return about.note(
            f"this session lets no program type, only use its clipboard ({others})",
            "; or ".join(cures) or "set allow_clipboard_on_inject_failure: true",
        )
    return about.ok(f"{chosen} can be used" + ("" if daemon is None else " by the daemon"))


def _display_of_daemon(paths: Paths) -> dict[str, Any] | None:
    """Return a running daemon's word on its display, which may be in another session."""
    if FolderLock.holder(paths.data) is None:
        return None
    try:
        display: dict[str, Any] = client.ask(paths, "status")["display"]
    except NovaKeyError:  # the line about the owner's socket says why
        return None
    return display


def _each_once(cures: dict[str, str]) -> list[str]:
    """Each cure with the backends that it makes usable, which are left out where it is the only one."""
    different = dict.fromkeys(cures.values())
    if len(different) == 1:
        return list(different)
    of = {cure: ", ".join(name for name in cures if cures[name] == cure) for cure in different}
    return [f"for {of[cure]}: {cure}" for cure in different]


def _focus(paths: Paths, settings: Settings) -> Finding:
    about = About("focus", "the target policy and the owner's approval are about the focused window")
    needed = settings.target_policy_enabled and settings.desktop_backend != "none"
    try:
        backend = Chooser(settings.desktop_backend)()
    except NoDisplayError:
        return about.note("there is no display to look at")
    focus = backend.focus(FOCUS_S)
    if focus is None:
        cure = "put the focus into a window and look again"
        found = f"{backend.name} does not tell what has the focus"
        return (
            about.fault(f"{found}, so the target policy refuses everything", cure)
            if needed
            else about.note(found, cure)
        )
    return about.ok(f"{focus.program or 'a window of an unknown program'} has it")


def _clipboard(paths: Paths, settings: Settings) -> Finding:
    about = About("clipboard", "any program of the session can read what lies there")
    names = (
        "allow_clipboard_when_disarmed",
        "allow_clipboard_on_inject_failure",
        *(("macos_prefer_clipboard",) if sys.platform == "darwin" else ()),
    )
    allowed = [name for name in names if getattr(settings, name)]
    if not allowed:
        return about.ok("no key allows it, so nothing is put there")
    found = candidates(settings.desktop_backend) if settings.desktop_backend != "none" else []
    backend = next((backend.name for backend in found if backend.usable), None)
    if backend is None:
        return about.fault(
            f"{allowed[0]} is on, and there is no display whose clipboard could be used",
            f"see the line about the display, or set {allowed[0]}: false",
        )
    if backend == "x11" and _clipboard_manager():
        return about.note(
            f"{allowed[0]} is on, and a clipboard manager runs, which may keep what passes through",
            "let it leave out what is marked as a password, or end it",
        )
    return about.ok(
        f"{backend} has one; what is put there is taken back after {settings.clipboard_clear_s} s"
    )


def _clipboard_manager() -> bool:
    """Whether a program has taken that part (freedesktop.org's clipboard manager specification)."""
    from novakey.desktop.x11.connection import ERRORS
    from novakey.desktop.x11.display import GuardedDisplay

    owner = None
    with contextlib.suppress(*ERRORS), gevent.Timeout(FOCUS_S, False):
        display = GuardedDisplay()
        try:
            owner = display.get_selection_owner(display.get_atom("CLIPBOARD_MANAGER"))
        finally:
            display.close()
    return bool(owner)


def _notifications(paths: Paths, settings: Settings) -> Finding:
    about = About(
        "notifications", "they tell of pairings and deliveries, and ask for approval on the computer"
    )
    notifier = Notifier()
    try:
        why_not = notifier.unavailable()
    finally:
        notifier.close()
    if why_not is None:
        return about.ok("a notification service answers")
    return about.note(
        why_not, "start one inside the session, for instance dunst; until then use: novakey.py approve"
    )


def _screen_lock(paths: Paths, settings: Settings) -> Finding:
    about = About("screen lock", "nothing is typed while the screen is locked")
    state = screen_lock.locked()
    if state is None:
        return about.note("no service tells whether the screen is locked, so it counts as unlocked")
    return about.ok("the screen is locked" if state else "the screen is not locked")


def _socket(paths: Paths, settings: Settings) -> Finding:
    about = About("owner's socket", "the commands to a running daemon go over it")
    pid = FolderLock.holder(paths.data)
    if pid is None:
        return about.note("no daemon runs", "start it: novakey.py serve")
    try:
        version = str(client.ask(paths, "status")["version"])
    except NovaKeyError as error:
        return about.fault(error.problem, error.cure or "start the daemon again")
    if version != __version__:
        return about.note(
            f"the daemon (process {pid}) is version {version}, and this is {__version__}",
            "start the daemon again",
        )
    return about.ok(f"the daemon (process {pid}) answers on it")


def _service(paths: Paths, settings: Settings) -> Finding:
    from novakey.setup import autostart

    about = About("service", "it starts the daemon with the session")
    entry = autostart.path()
    if entry.is_file():
        return about.ok(f"{entry} starts it with the session")
    env = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    argv = ["systemctl", "--user", "is-enabled", UNIT]
    try:
        done = subprocess.run(  # noqa: S603
            argv,
            env=env,
            capture_output=True,
            text=True,
            timeout=SYSTEMCTL_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return about.note("systemd does not answer here; start the daemon in another way")
    state = done.stdout.strip()
    if state == "enabled" and autostart.needed():
        return about.fault(f"{UNIT} is enabled, but this session starts no services", "novakey.py setup")
    if state == "enabled":
        return about.ok(f"{UNIT} is enabled")
    return about.note(f"{UNIT} is not enabled", "novakey.py setup")


CHECKS: tuple[Check, ...] = (_display, _focus, _clipboard, _notifications, _screen_lock, _socket, _service)
