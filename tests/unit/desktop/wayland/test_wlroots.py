"""The wlroots backend under a real sway, into real windows."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from support.desktop_conformance import Conformance, Stage
from support.wayland import QUIET, RecordingFoot, Sway, SwayGtkEntry, session_of
from support.x11 import Recorder

from novakey.desktop.wayland.wlroots import WlrootsBackend


class SwayStage(Stage):
    """sway with windows of one kind."""

    def __init__(self, server: Sway, window: type[Recorder]) -> None:
        self._server = server
        self._window = window

    def backend(self) -> WlrootsBackend:
        return WlrootsBackend()

    def window(self) -> AbstractContextManager[Recorder]:
        return self._window(self._server)

    def focus(self, window: Recorder) -> None:
        self._server.focus(window.window)

    def clipboard(self, kind: str = "UTF8_STRING") -> bytes:
        argv = ("wl-paste", "--no-newline", "--type", kind)
        return subprocess.run(argv, env=self._server.env, capture_output=True, timeout=10, check=False).stdout

    def copy_elsewhere(self, text: bytes) -> None:
        subprocess.run(
            ["wl-copy"],
            input=text,
            env=self._server.env,
            timeout=10,
            check=True,
            **{name: QUIET[name] for name in ("stdout", "stderr")},
        )

    @contextmanager
    def hung(self) -> Iterator[None]:
        os.kill(self._server.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._server.process.pid, signal.SIGCONT)

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        with session_of({"XDG_RUNTIME_DIR": "/nonexistent", "WAYLAND_DISPLAY": "wayland-0"}):
            yield


@pytest.fixture(scope="module")
def sway() -> Iterator[Sway]:
    with Sway() as running, session_of(running.session):
        yield running


class TestIntoATerminal(Conformance):
    @pytest.fixture(scope="class")
    @classmethod
    def stage(cls, sway: Sway) -> Stage:
        return SwayStage(sway, RecordingFoot)


class TestIntoAnEntry(Conformance):
    @pytest.fixture(scope="class")
    @classmethod
    def stage(cls, sway: Sway) -> Stage:
        return SwayStage(sway, SwayGtkEntry)
