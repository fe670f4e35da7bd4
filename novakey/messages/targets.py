"""What a secret may be for, and what an approval is tied to: a window, or the request of a program."""

from __future__ import annotations

from dataclasses import dataclass, field

from novakey.desktop.base import Focus


@dataclass(frozen=True)
class WindowTarget:
    """The window with the focus; `window` is None if it could not be read. Two such are equal."""

    window: int | str | None
    focus: Focus | None = field(default=None, compare=False)

    @classmethod
    def of(cls, focus: Focus | None) -> WindowTarget:
        """Return the target that a focus stands for."""
        return cls(None if focus is None else focus.window, focus)

    @property
    def program(self) -> str:
        """The program of the window; empty if it is not known."""
        return program_of(self.focus)

    @property
    def purpose(self) -> str:
        """What a device wants to do with it, for people."""
        return f"type into {self.program or 'a window'}"


@dataclass(frozen=True)
class RequestTarget:
    """The request of a program. `called` is its name for people."""

    number: int
    program: str = field(default="", compare=False)
    called: str = field(default="", compare=False)

    @property
    def purpose(self) -> str:
        """What a device wants to do with it, for people."""
        return f"answer {self.called or f'request {self.number}'}"


Target = WindowTarget | RequestTarget


def program_of(focus: Focus | None) -> str:
    """Return the program with the focus; empty if it is not known."""
    return (focus.program or "") if focus is not None else ""
