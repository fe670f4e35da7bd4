"""What deliveries, `status` and `doctor` leave open: nothing, in a daemon that may have 256 descriptors."""

from __future__ import annotations

from pathlib import Path

import pytest
from jeepney import DBusAddress
from support.daemon import Daemon, command, run, say
from support.dbus import message_bus
from support.x11 import RecordingXterm, XServer, wait_until

from novakey.session.dbus import Bus
from novakey.wire.message import MessageType

MOST = 256
_BUS = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")


def held(daemon: Daemon) -> tuple[int, int]:
    """How many descriptors and threads it has."""
    proc = Path(f"/proc/{daemon.process.pid}")
    return len(list((proc / "fd").iterdir())), len(list((proc / "task").iterdir()))


@pytest.mark.parametrize("rounds", [200, pytest.param(2000, marks=pytest.mark.long)])
def test_deliveries_on_x11_with_a_bus_leave_nothing_open(tmp_path: Path, rounds: int) -> None:
    open_gates = {"two_man_enabled": False, "arm_consume_on_inject": False, "arm_max_ms": 600_000}
    settings = {"desktop_backend": "x11", "max_requests_per_min": 100_000, "delivery_timeout_s": 15}
    with XServer() as screen, message_bus() as bus, RecordingXterm(screen) as window, Bus() as watching:
        env = {"DISPLAY": screen.display, "DBUS_SESSION_BUS_ADDRESS": bus.address}
        launch = ["prlimit", f"--nofile={MOST}:{MOST}", *command()]
        with Daemon(tmp_path / "d", env=env, launch=launch, **settings, **open_gates) as daemon:
            phone = daemon.pair()
            folder = ("--data-dir", daemon.folder)

            def deliver(number: int) -> None:  # another text each time: the same one is not typed again
                assert say(phone, MessageType.INJECT, b"%04d" % number).outcome.success

            say(phone, MessageType.ARM, b'{"ms": 600000}')
            deliver(0)
            assert run(*folder, "status", env=env).returncode == 0
            before, names = held(daemon), watching.call(_BUS, "ListNames")
            for number in range(1, rounds):
                if not number % 120:
                    say(phone, MessageType.ARM, b'{"ms": 600000}')
                    run(*folder, "status" if number % 240 else "doctor", env=env)
                deliver(number)
            text = "".join(f"{number:04d}" for number in range(rounds))
            assert window.wait_for(text) == text
            wait_until(lambda: held(daemon) <= before, "what is open is closed", 5)
            assert watching.call(_BUS, "ListNames") == names
