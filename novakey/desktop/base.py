"""The contract of a desktop backend: one class for each way to reach a screen.

A backend says whether it can run here, what has the focus, types a text, and
puts a text on the clipboard. It never falls back to something else by itself:
which way was taken is decided in `novakey.messages.output`, where the policy
stands, so that the reply to the phone can name it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, Protocol

from novakey.secret import Secret


class DesktopError(Exception):
    """The text was not (or not wholly) delivered.

    `typed` is how many characters may have gone out when it stopped: 0 means that
    provably nothing was typed. `whole` means that every key went out, and only its
    arrival is not confirmed. The message never quotes the text or a window title.
    """

    def __init__(self, problem: str, typed: int = 0, whole: bool = False) -> None:
        super().__init__(problem)
        self.typed = typed
        self.whole = whole


class CannotType(DesktopError):
    """A session that lets no program type, for any text; nothing was typed."""


class NoDisplayError(Exception):
    """No desktop can be reached; the message says why."""


class Unusable(NamedTuple):
    """Why a backend cannot run here, and what a person can do about it; each one line."""

    reason: str
    cure: str

    def __str__(self) -> str:
        return self.reason


OUTSIDE_SESSION = (
    "start the daemon inside the session, or give the session's variables to the service: "
    "systemctl --user import-environment DISPLAY XAUTHORITY WAYLAND_DISPLAY XDG_RUNTIME_DIR"
    " && systemctl --user restart novakey.service"
)
"""The cure where a display server of any kind cannot be found or reached."""


class Focus(NamedTuple):
    """What has the keyboard focus. `window` identifies it for as long as it exists.

    `program` is the name of the process's executable, `classes` are the names
    that the window gives itself (WM_CLASS, app id). The title may say what a
    person is reading, so it is neither logged nor shown.
    """

    window: int | str
    pid: int | None = None
    program: str | None = None
    classes: tuple[str, ...] = ()
    title: str = ""

    def __repr__(self) -> str:
        return f"Focus({self.program}, pid {self.pid}, window {self.window})"


class Delivery(Protocol):
    """One text on its way, which knows what is still allowed."""

    def check_target(self, focus: Focus | None) -> None:
        """Raise `Refused` unless the text may go there; None is a focus that cannot be read."""


class RestoreTokenStore(Protocol):
    """Keeps what a desktop gave for not asking again whether we may type."""

    def load(self) -> str | None:
        """Return what was kept last, if anything."""

    def save(self, token: str | None) -> None:
        """Keep it in place of the last one; None keeps nothing."""


class Backend(ABC):
    """One way to reach a desktop. Every method ends within `deadline_s` seconds.

    Methods run in a greenlet, one delivery at a time (the caller holds the
    lock); they must not block the gevent hub for longer than the typing itself.
    """

    name: str
    typed_msg = "typed"
    """The reply's words for a text whose every key went out; others where nothing shows that it arrived."""

    @classmethod
    @abstractmethod
    def unavailable(cls) -> Unusable | None:
        """None when it can run here; else why not. Changes nothing and asks no person."""

    @abstractmethod
    def focus(self, deadline_s: float) -> Focus | None:
        """Return what has the focus now; None when that cannot be read."""

    @abstractmethod
    def type_text(self, text: Secret, deadline_s: float, delivery: Delivery) -> None:
        """Type all of the text into the focused window, or nothing.

        `delivery.check_target` is called for that very window before the first key goes out.
        When the focus changes after that, typing stops.
        Raises `CannotType`, `DesktopError` or `Refused`; the keyboard is left as it was.
        """

    @abstractmethod
    def paste(self, text: Secret, deadline_s: float, delivery: Delivery) -> bool:
        """Put the text on the clipboard and press the paste shortcut, where `delivery` allows it.

        True when the focused program fetched the text; False when it is on the
        clipboard and the person must paste. Raises `DesktopError` or `Refused`.
        """

    @abstractmethod
    def copy(self, text: Secret, deadline_s: float) -> None:
        """Put the text on the clipboard. Raises `DesktopError`."""

    def prepare(self) -> None:
        """Prepare for a delivery that is likely within the next seconds. Raises nothing."""
        return

    def recover(self) -> None:
        """Undo what a delivery that was killed has left changed (borrowed keys, locks). Raises nothing."""
        return

    def sign_with(self, key: bytes) -> None:
        """Sign with this key what a delivery notes where other programs write; most note nothing."""
        return

    def keep_restore_token_in(self, permission: RestoreTokenStore) -> None:
        """Where to keep a permission that the desktop gives; most give none."""
        return

    def clear_clipboard(self) -> None:
        """Take back the text that is on the clipboard, if it is still ours. Raises nothing."""
        self.close()

    def close(self) -> None:
        """Give back what is held (a clipboard selection, borrowed keys). It can be used again afterwards."""
        return
