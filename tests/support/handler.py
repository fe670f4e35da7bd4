"""A handler in this process, put together as the daemon does it, for tests of what it decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from novakey.config.settings import Settings
from novakey.desktop.base import Backend, NoDisplayError
from novakey.devices.store import Device, DeviceStore
from novakey.messages.approvals import Approvals
from novakey.messages.handler import Handler
from novakey.messages.inject import Injector
from novakey.messages.output import Output
from novakey.messages.permissions import Permissions
from novakey.messages.replay import ReplayGuard
from novakey.messages.requests import SecretRequests
from novakey.pairing.refusal import RefusedPhone
from novakey.system.clock import CLOCK, Clock
from novakey.wire import crypto


def no_display() -> NoReturn:
    raise NoDisplayError("none in this test")


def handler(
    settings: Settings,
    devices: DeviceStore,
    choose: Callable[[], Backend] = no_display,
    server: crypto.Decapsulator | None = None,
    clock: Clock = CLOCK,
    **options: Any,
) -> Handler:
    """Build a handler; the options are parameters of `Handler`."""
    permissions = Permissions()
    approvals = Approvals(settings, permissions, clock=clock)
    injector = Injector(
        settings,
        devices,
        Output(settings, choose),
        permissions,
        approvals,
        SecretRequests(permissions),
        clock=clock,
    )
    keys = server or crypto.ExpandedKey.generate()
    options.setdefault("replays", ReplayGuard())
    return Handler(settings, devices, keys, injector, clock=clock, **options)


class Heard:
    """What a handshake tells of: the ids of the devices that paired, and the phones that were refused."""

    def __init__(self) -> None:
        self.devices: list[str] = []
        self.phones: list[RefusedPhone] = []

    def paired(self, device: Device, again: bool) -> None:
        self.devices.append(device.id)

    def refused(self, phone: RefusedPhone) -> None:
        self.phones.append(phone)

    def changed(self) -> None:
        pass
