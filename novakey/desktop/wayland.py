"""Wayland: the clipboard through `wl-copy`. Typing comes with a later release.

The text goes through a pipe, never through an argument or the environment.
"""

from __future__ import annotations

import shutil
import subprocess
import threading

from novakey.desktop import wayland_session
from novakey.desktop.base import Backend, CannotType, DesktopError, Focus, Permit, Unusable
from novakey.process import environment
from novakey.secret import Secret


class ClipboardBackend(Backend):
    """A Wayland session in which nobody may type; the person pastes."""

    name = "clipboard"

    def __init__(self) -> None:
        self._owner: subprocess.Popen[bytes] | None = None

    @classmethod
    def unavailable(cls) -> Unusable | None:
        """See `Backend.unavailable`."""
        found = wayland_session.probe()
        if isinstance(found, Unusable):
            return found
        if shutil.which("wl-copy") is None:
            return Unusable("wl-copy is missing", "install it, on Debian with: apt install wl-clipboard")
        return None

    def focus(self, deadline_s: float) -> Focus | None:
        """See `Backend.focus`: Wayland tells it to the compositor only."""
        return None

    def type_text(self, text: Secret, deadline_s: float, permit: Permit) -> None:
        """See `Backend.type_text`."""
        raise CannotType("this Wayland session lets no program type")

    def paste(self, text: Secret, deadline_s: float, permit: Permit) -> bool:
        """See `Backend.paste`: without typing there is no paste shortcut either."""
        raise CannotType("this Wayland session lets no program type")

    def copy(self, text: Secret, deadline_s: float) -> None:
        """See `Backend.copy`. `wl-copy` stays in the foreground and serves the text until replaced."""
        self.close()
        quiet = subprocess.DEVNULL
        argv = ["wl-copy", "--foreground", "--type", "text/plain;charset=utf-8"]
        owner = subprocess.Popen(  # noqa: S603
            argv,
            env=environment("WAYLAND_DISPLAY", "XDG_RUNTIME_DIR"),
            stdin=subprocess.PIPE,
            stdout=quiet,
            stderr=quiet,
        )
        assert owner.stdin is not None
        # A hung helper would block the write only beyond a pipe's 64 KiB; a secret is far below.
        try:
            with owner.stdin as pipe:
                pipe.write(text.reveal())
            code = owner.wait(timeout=min(0.3, deadline_s))
        except subprocess.TimeoutExpired:  # it runs on: it owns the selection
            self._owner = owner
            threading.Thread(target=owner.wait, daemon=True).start()
            return
        except OSError as error:
            raise DesktopError(f"wl-copy took no text: {error.strerror}") from None
        raise DesktopError(f"wl-copy ended at once with code {code}")

    def close(self) -> None:
        """End the helper, and with it our selection."""
        if self._owner is not None and self._owner.poll() is None:
            self._owner.terminate()
        self._owner = None
