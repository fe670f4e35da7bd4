"""System calls of other systems as real function pointers with the declared signatures.

A double in Python stands behind each, so arguments and results go through ctypes as they
would there: a wrong declaration, a wrong structure or a wrong size is seen.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from support.random_text import ALL

SCRIPTS: Sequence[Sequence[int]] = (*ALL, range(0x20000, 0x20100))
LINES: Sequence[Sequence[int]] = (*SCRIPTS, [0x09, 0x0A])


def expect(got: str, wanted: str) -> None:
    """Fail, without quoting either, unless the two are the same."""
    __tracebackhide__ = True
    if got != wanted:
        pytest.fail(f"the text differs: {len(got)} characters in place of {len(wanted)}")


class Double:
    """A base for doubles. `errors` must be empty at the end of a test: ctypes swallows exceptions."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.count = 0
        self._at: dict[int, Callable[[], None]] = {}

    def at_call(self, number: int, then: Callable[[], None]) -> None:
        """Let something happen just before the `number`th call from now (1 is the next)."""
        self._at[self.count + number] = then

    def libraries(self, signatures: dict[str, dict[str, tuple[Any, tuple[Any, ...]]]]) -> dict[str, Any]:
        return {name: _Library(self, functions) for name, functions in signatures.items()}

    def guarded(self, name: str) -> Callable[..., Any]:
        function = getattr(self, name)

        def call(*arguments: Any) -> Any:
            try:
                self.count += 1
                if self.count in self._at:
                    self._at.pop(self.count)()
                return function(*arguments)
            except BaseException as error:  # noqa: BLE001
                self.errors.append(error)
                return 0

        return call


class DoubleWindow:
    """A window of a double as the conformance suite wants it: see `desktopbench.Recorder`."""

    def __init__(self, window: Any, pid: int) -> None:
        self.real = window
        self.process = SimpleNamespace(pid=pid)
        self.title = window.title

    def text(self) -> str:
        return str(self.real.text)

    def wait_for(self, text: str) -> str:
        return self.text()

    def clear(self) -> None:
        self.real.clear()


class _Library:
    def __init__(self, double: Double, functions: dict[str, tuple[Any, tuple[Any, ...]]]) -> None:
        for name, (result, arguments) in functions.items():
            setattr(self, name, ctypes.CFUNCTYPE(result, *arguments)(double.guarded(name)))
