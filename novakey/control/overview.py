"""How everything stands, as the owner is told by `status`. Nothing in it is a secret or a title."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from novakey import __version__
from novakey.config.settings import Settings
from novakey.desktop.base import NoDisplayError
from novakey.desktop.select import Chooser
from novakey.devices.store import DeviceStore
from novakey.messages.history import MessageHistory
from novakey.messages.inject import Injector
from novakey.pairing import status
from novakey.pairing.state import Pairing
from novakey.pairing.window import PairingWindows
from novakey.system import interfaces
from novakey.system.clock import Clock


class DaemonContext(NamedTuple):
    """The parts of a running daemon that its owner sees and commands."""

    settings: Settings
    devices: DeviceStore
    pairing: Pairing
    windows: PairingWindows
    injector: Injector
    history: MessageHistory
    chooser: Chooser
    bound: tuple[str, int]
    since: int
    clock: Clock


def of(context: DaemonContext) -> dict[str, object]:
    """Return the whole of it, for JSON."""
    permissions, requests = context.injector.permissions, context.injector.requests
    now_ms = context.clock.monotonic_ms()
    return {
        "pid": os.getpid(),
        "version": __version__,
        "since_unix": context.since,
        "host": context.bound[0],
        "port": context.bound[1],
        **_pairing(context),
        "devices": len(context.devices),
        "out_of_reach": status.out_of_reach(
            context.devices, context.settings.advertise_host, interfaces.interfaces()
        ),
        "armed": _until(context, permissions.armed(now_ms)),
        "approved": _until(context, permissions.approved(now_ms)),
        "two_man": context.settings.two_man_enabled,
        "paused": context.injector.is_paused,
        "approver": context.settings.two_man_approver,
        "questions": _questions(context),
        "asks": [
            {
                "number": request.number,
                "program": request.program,
                "pid": request.pid,
                "prompt": request.prompt,
            }
            for request in requests.waiting()
        ],
        "display": _display(context),
        "outcomes": _outcomes(context),
    }


def _until(context: DaemonContext, devices: dict[str, float]) -> list[dict[str, Any]]:
    """For which devices a gate is open, and until when."""
    now_ms, now = context.clock.monotonic_ms(), context.clock.unix()
    return [
        {
            "device": device_id,
            "name": name_of(context, device_id),
            "until_unix": round(now + (until - now_ms) / 1000, 3),
        }
        for device_id, until in devices.items()
    ]


def name_of(context: DaemonContext, device_id: str | None) -> str:
    """Return what the owner calls a device; empty where it has no name."""
    device = context.devices.get(device_id) if device_id else None
    return device.name if device else ""


def _pairing(context: DaemonContext) -> dict[str, object]:
    uri, window = context.windows.current(), context.pairing.window
    found = status.describe(
        context.pairing.record,
        len(context.devices),
        window=uri is not None,
        can_pair=context.windows.can_pair,
        running=True,
    )
    shown = None
    if uri is not None and window is not None:
        shown = {
            "expires_unix": uri.expires,
            "attempts_left": window.attempts,
            "picture": str(context.windows.picture),
            "refused": context.windows.refusal,
            "host": uri.host,
            "port": uri.port,
        }
    return {"pairing": found.pairing, "reason": found.reason, "way_out": found.way_out, "window": shown}


def _questions(context: DaemonContext) -> list[dict[str, object]]:
    approvals = context.injector.approvals
    return [
        {
            "device": request.device_id,
            "name": name_of(context, request.device_id),
            "program": request.program,
            "purpose": request.purpose,
        }
        for request in approvals.waiting()
    ]


def _display(context: DaemonContext) -> dict[str, object]:
    try:
        return {"backend": context.chooser.kind().name, "problem": ""}
    except NoDisplayError as error:
        return {"backend": None, "problem": str(error)}


def _outcomes(context: DaemonContext) -> list[dict[str, object]]:
    return [
        {
            "at_unix": answered.at,
            "req_id": answered.req_id,
            "from": answered.peer,
            "device": answered.device_id,
            "name": name_of(context, answered.device_id),
            "stage": answered.stage,
            "reason": answered.outcome.reason,
            "success": answered.outcome.success,
        }
        for answered in context.history.last()
    ]
