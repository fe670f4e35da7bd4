"""One X server and one backend for the tests of a module; windows that come and go."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
from collections.abc import Iterator  # noqa: E402

import pytest  # noqa: E402
from support.x11 import Recorder, RecordingGtkEntry, RecordingXterm, XServer, display_of  # noqa: E402

from novakey.desktop.x11.backend import X11Backend  # noqa: E402


@pytest.fixture(scope="module")
def server() -> Iterator[XServer]:
    with XServer() as running, display_of(running):
        yield running


@pytest.fixture
def backend(server: XServer) -> Iterator[X11Backend]:
    server.layout("us")
    made = X11Backend()
    yield made
    made.close()
    assert os.environ["DISPLAY"] == server.display


@pytest.fixture(params=[RecordingXterm, RecordingGtkEntry], ids=["xterm", "gtk"])
def window(request: pytest.FixtureRequest, server: XServer) -> Iterator[Recorder]:
    with request.param(server) as recorder:
        yield recorder


@pytest.fixture
def entry(server: XServer) -> Iterator[Recorder]:
    with RecordingGtkEntry(server) as recorder:
        yield recorder


@pytest.fixture
def terminal(server: XServer) -> Iterator[Recorder]:
    with RecordingXterm(server) as recorder:
        yield recorder
