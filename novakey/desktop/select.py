"""Which desktop backend serves the session that is here now."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import NamedTuple

from novakey.desktop.base import Backend, NoDisplayError, RestoreTokenStore

OFF = "desktop_backend is none"


class Candidate(NamedTuple):
    """One backend as people are told about it; `reason` and `cure` when it cannot run here."""

    name: str
    usable: bool
    reason: str = ""
    cure: str = ""


class Chooser:
    """Finds the backend for `desktop_backend`, and keeps it while it can run.

    A daemon may start before its session and outlive it, so the choice is made
    at each delivery; it costs a look at the environment and a round trip.
    """

    def __init__(
        self, wanted: str, permission: RestoreTokenStore | None = None, signing_key: bytes | None = None
    ) -> None:
        self._wanted = wanted
        self._permission = permission
        self._signing_key = signing_key
        self._backends: dict[str, Backend] = {}

    def __call__(self) -> Backend:
        """Return the backend to use now; `NoDisplayError` names why none can be."""
        kind = self.kind()
        backend = self._backends.get(kind.name)
        if backend is None:
            backend = self._backends[kind.name] = kind()
            if self._permission is not None:
                backend.keep_restore_token_in(self._permission)
            if self._signing_key is not None:
                backend.sign_with(self._signing_key)
        return backend

    def kind(self) -> type[Backend]:
        """Which backend that would be, without making it; `NoDisplayError` as above."""
        if self._wanted == "none":
            raise NoDisplayError(OFF)
        reasons: dict[str, str] = {}
        for kind in _kinds(self._wanted):
            why_not = kind.unavailable()
            if why_not is None:
                return kind
            reasons[kind.name] = why_not.reason
        raise NoDisplayError(in_short(reasons))

    def close(self) -> None:
        """Give back what the backends hold."""
        for backend in self._backends.values():
            backend.close()


def in_short(texts: Mapping[str, str]) -> str:
    """Join what stands for each backend, each text once with the names of its backends."""
    names: dict[str, list[str]] = {}
    for name, text in texts.items():
        names.setdefault(text, []).append(name)
    return ", ".join(f"{text} ({', '.join(of)})" for text, of in names.items())


def candidates(wanted: str) -> list[Candidate]:
    """Every backend that `wanted` allows, in the order of choice: the first usable one is taken."""
    found = []
    for kind in _kinds(wanted):
        why_not = kind.unavailable()
        if why_not is None:
            found.append(Candidate(kind.name, True))
        else:
            found.append(Candidate(kind.name, False, why_not.reason, why_not.cure))
    return found


def _kinds(wanted: str) -> list[type[Backend]]:
    # Only what is asked for is imported: the others may need modules that this system lacks.
    if wanted == "windows" or (wanted == "auto" and sys.platform == "win32"):
        from novakey.desktop.windows.backend import WindowsBackend

        return [WindowsBackend]
    if wanted == "macos" or (wanted == "auto" and sys.platform == "darwin"):
        from novakey.desktop.macos.backend import MacBackend

        return [MacBackend]
    from novakey.desktop.remote.gnome import MutterBackend
    from novakey.desktop.remote.portal import PortalBackend
    from novakey.desktop.wayland.clipboard_only import ClipboardBackend
    from novakey.desktop.wayland.wlroots import WlrootsBackend
    from novakey.desktop.x11.backend import X11Backend

    # Wayland first: under Xwayland an X11 client reaches only other X11 clients.
    wayland: list[type[Backend]] = [WlrootsBackend, MutterBackend, PortalBackend, ClipboardBackend]
    everywhere: list[type[Backend]] = [*wayland, X11Backend]
    if wanted == "auto":
        return everywhere
    if wanted == "wayland":
        return wayland
    return [kind for kind in everywhere if kind.name == wanted]
