"""Notifications to the person at the computer (Desktop Notifications Specification 1.2).

The service is the desktop's own; there may be none, and it may end at
any moment. What a notification says is seen by everybody who sees the screen
and kept by some services, so it never holds a secret.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from queue import Empty, Queue
from typing import Any, TypeVar

import gevent
from gevent.lock import BoundedSemaphore
from jeepney import DBusAddress, HeaderFields, MatchRule, Message

from novakey.log.format import one_line
from novakey.session.dbus import CALL_S, NO_ANSWER, Bus, BusError

log = logging.getLogger(__name__)

T = TypeVar("T")

NAME = "org.freedesktop.Notifications"
SERVICE = DBusAddress("/org/freedesktop/Notifications", NAME, NAME)
_DAEMON = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
_APP = "NovaKey"
_CRITICAL = 2  # stays until it is answered, and is shown over full-screen programs
_NORMAL = 1
_TOLD_MS = 8000
_BY_THE_PERSON = 2  # why a notification was closed (the specification's NotificationClosed)

DISMISSED = ""


class Notifier:
    """Shows notifications over one connection, which is made when it is needed.

    The connection is kept: some services take a notification away when its sender hangs up.
    """

    def __init__(self, connect: Callable[[], Bus] = Bus) -> None:
        self._connect = connect
        self._bus: Bus | None = None
        self._lock = BoundedSemaphore()

    def tell(self, summary: str, body: str) -> None:
        """Show it and go on; a service that is not there is no reason to stop."""
        gevent.spawn(self._tell, summary, body)

    def ask(self, summary: str, body: str, choices: Mapping[str, str], seconds: float) -> str | None:
        """Show it with a button for each of `choices` (key: label); the key that was pressed.

        `DISMISSED` when the person put it away, None when `seconds` went by. It is taken away in any
        case, also when the greenlet is killed. `BusError` when there is no service, or it ends before.
        """
        until = time.monotonic() + seconds
        bus = self._connection()
        bus.call(SERVICE, "GetCapabilities")  # some services are only started when they are called
        owner = _first(bus.call(_DAEMON, "GetNameOwner", "s", (NAME,)), str)
        # Only the service itself may say what was pressed; others on the bus are not listened to.
        pressed = MatchRule(type="signal", sender=owner, interface=NAME, path=SERVICE.object_path)
        ended = MatchRule(
            type="signal", sender=_DAEMON.bus_name, interface=_DAEMON.interface, member="NameOwnerChanged"
        )
        ended.add_arg_condition(0, NAME)
        with bus.signals(pressed, ended) as signals:
            # A greenlet of its own: a caller that is killed must still learn the number, to take it away.
            showing = gevent.spawn(
                self._attempt, bus, summary, body, choices, _CRITICAL, int(seconds * 1000), seconds
            )
            try:
                number = showing.get(timeout=CALL_S)
                if isinstance(number, BusError):
                    raise number
                return _wait(signals, number, choices, until)
            except gevent.Timeout:
                raise BusError(NO_ANSWER) from None
            finally:
                if showing.ready():
                    self._take_away(bus, showing.value)
                else:
                    showing.link(lambda shown: self._take_away(bus, shown.value))

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._bus is not None:
                self._bus.close()
                self._bus = None

    def unavailable(self) -> str | None:
        """None when a service is there to show something; else one line that says why not."""
        try:
            self._connection().call(SERVICE, "GetCapabilities")
        except BusError as error:
            return str(error)
        return None

    def _tell(self, summary: str, body: str) -> None:
        try:
            self._show(self._connection(), summary, body, {}, _NORMAL, _TOLD_MS)
        except BusError as error:
            log.info("no notification is shown: %s", error)

    def _connection(self) -> Bus:
        with self._lock:
            if self._bus is None or not self._bus.serves:
                old, self._bus = self._bus, None
                if old is not None:
                    old.close()
                self._bus = self._connect()
            return self._bus

    def _attempt(self, *shown: Any) -> int | BusError:
        """Return the number, or the reason for none; gevent would print it if raised."""
        try:
            return self._show(*shown)
        except BusError as error:
            return error

    def _show(
        self,
        bus: Bus,
        summary: str,
        body: str,
        choices: Mapping[str, str],
        urgency: int,
        expire_ms: int,
        timeout: float = CALL_S,
    ) -> int:
        actions = [part for pair in choices.items() for part in pair]
        hints = {"urgency": ("y", urgency), "transient": ("b", True), "category": ("s", "device")}
        shown = (_APP, 0, "dialog-password", one_line(summary), _plain(body), actions, hints, expire_ms)
        return _first(bus.call(SERVICE, "Notify", "susssasa{sv}i", shown, timeout), int)

    @staticmethod
    def _take_away(bus: Bus, number: int | BusError) -> None:
        if isinstance(number, BusError):
            return  # it was not shown
        try:
            bus.call(SERVICE, "CloseNotification", "u", (number,), timeout=1.0)
        except BusError:
            return  # it is gone already, or the service is


def _wait(
    signals: Queue[Message | None], number: int, choices: Mapping[str, str], until: float
) -> str | None:
    """Return the key pressed on notification `number`, `DISMISSED`, or None when the time is over.

    A click on the body comes as the action `default`, which is none of `choices`, so it is no answer.
    """
    while True:
        try:
            signal = signals.get(timeout=max(0.0, until - time.monotonic()))
        except Empty:
            return None
        member = "hung up" if signal is None else signal.header.fields.get(HeaderFields.member)
        if signal is None or member == "NameOwnerChanged":
            raise BusError("the notification service ended")
        if signal.body[:1] != (number,):
            continue
        if member == "ActionInvoked" and signal.body[1:2] and signal.body[1] in choices:
            return str(signal.body[1])
        if member == "NotificationClosed":
            return DISMISSED if signal.body[1:2] == (_BY_THE_PERSON,) else None


def _first(values: tuple[Any, ...], kind: type[T]) -> T:
    """Return the first value of a service's answer, of any type."""
    if not values or not isinstance(values[0], kind):
        raise BusError("the notification service answered what it must not")
    return values[0]


def _plain(text: str) -> str:
    """Text that no service takes for markup (the specification's section on it)."""
    return one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
