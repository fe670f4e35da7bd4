"""The X11 backend against what every desktop backend must do."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from support.desktop_conformance import Conformance, Stage
from support.x11 import Recorder, RecordingGtkEntry, RecordingXterm, XServer, display_of

from novakey.desktop.x11.backend import X11Backend


class X11Stage(Stage):
    """Xvfb with windows of one kind."""

    def __init__(self, server: XServer, window: type[Recorder]) -> None:
        self._server = server
        self._window = window

    def backend(self) -> X11Backend:
        return X11Backend()

    def window(self) -> AbstractContextManager[Recorder]:
        return self._window(self._server)

    def focus(self, window: Recorder) -> None:
        self._server.focus(window.window)

    def clipboard(self, kind: str = "UTF8_STRING") -> bytes:
        argv = ("xclip", "-o", "-selection", "clipboard", "-t", kind)
        return subprocess.run(argv, env=self._server.env, capture_output=True, timeout=10, check=False).stdout

    def copy_elsewhere(self, text: bytes) -> None:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        argv = ("xclip", "-i", "-selection", "clipboard")
        subprocess.run(argv, input=text, env=self._server.env, timeout=10, check=True, **quiet)

    @contextmanager
    def hung(self) -> Iterator[None]:
        os.kill(self._server.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._server.process.pid, signal.SIGCONT)

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        with display_of(None):
            os.environ["DISPLAY"] = ":59535"
            yield


class TestIntoATerminal(Conformance):
    CHUNK = 0
    LONG = 1000

    @pytest.fixture(scope="class")
    @classmethod
    def stage(cls, server: XServer) -> Stage:
        server.layout("us")
        return X11Stage(server, RecordingXterm)


class TestIntoAnEntry(TestIntoATerminal):
    @pytest.fixture(scope="class")
    @classmethod
    def stage(cls, server: XServer) -> Stage:
        server.layout("us")
        return X11Stage(server, RecordingGtkEntry)
