"""A message bus of its own for a test, by the real dbus-daemon; stopped by its process id."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import gevent
from jeepney import Message, MessageType, new_error, new_method_return
from jeepney.bus_messages import message_bus as messages
from jeepney.io.common import RouterClosed
from jeepney.io.threading import ReceiveStopped, open_dbus_connection
from support import reaper

_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={folder}/bus</listen>{services}
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/></policy></busconfig>"""


class MessageBus:
    """A running bus. `address` is what `DBUS_SESSION_BUS_ADDRESS` is set to."""

    def __init__(self, folder: Path) -> None:
        config = folder / "bus.conf"
        config.write_text(_CONFIG.format(folder=folder, services=""))
        self.address = f"unix:path={folder}/bus"
        self.env = {**os.environ, "DBUS_SESSION_BUS_ADDRESS": self.address}
        self._children: list[subprocess.Popen[bytes]] = []
        self.process = self.start(
            ["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile", "--print-address=1"],
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline(), "the bus did not start"

    def start(
        self, argv: Sequence[str], env: dict[str, str] | None = None, stdout: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """Return a program on this bus, ended with it."""
        child = subprocess.Popen(
            argv, env=env or self.env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.DEVNULL
        )
        self._children.append(child)
        return child

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def close(self) -> None:
        for child in reversed(self._children):
            below = reaper.descendants(child.pid)  # the launcher of the accessibility bus starts a bus
            for pid in (child.pid, *below) if child.poll() is None else below:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
                    os.kill(pid, signal.SIGKILL)
            child.wait()


@contextmanager
def message_bus(name: str = "DBUS_SESSION_BUS_ADDRESS") -> Iterator[MessageBus]:
    """Return a bus that this process takes for its own inside."""
    before = os.environ.get(name)
    with tempfile.TemporaryDirectory() as folder:
        bus = MessageBus(Path(folder))
        os.environ[name] = bus.address
        try:
            yield bus
        finally:
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before
            bus.close()
            gevent.sleep(0)


Answer = tuple[str, tuple[object, ...]] | None


@contextmanager
def double(
    address: str, name: str, answer: Callable[[str, Message], Answer]
) -> Iterator[Callable[[Message], None]]:
    """Return a service of this process under `name`, where the real one does not run here.

    `answer` gets "interface.member" and the call; it gives signature and values, or None for an error.
    The value is a function that sends a signal of the service.
    """
    connection = open_dbus_connection(address)

    def serve() -> None:
        while True:
            try:
                call = connection.receive()
            except (OSError, EOFError, ReceiveStopped, RouterClosed):
                return
            if call.header.message_type is not MessageType.method_call:
                continue
            found = answer(f"{call.header.fields.get(2)}.{call.header.fields.get(3)}", call)
            if found is None:
                connection.send(new_error(call, "org.freedesktop.DBus.Error.UnknownMethod"))
            else:
                connection.send(new_method_return(call, *found))

    connection.send(messages.RequestName(name))
    connection.receive(timeout=5)
    serving = gevent.spawn(serve)
    try:
        yield connection.send
    finally:
        connection.close()
        serving.kill()
