"""A double of the portal for remote desktops, made from the portal's own interface description.

The real portal wants a person and a desktop's own dialog. This one takes its methods and their
signatures from the description that Debian installs, so that a call which the real one would
not understand is refused here too; the keys that it is given it presses as it is told.
"""

from __future__ import annotations

import secrets
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import gevent.event
from jeepney import (
    DBusAddress,
    HeaderFields,
    Message,
    MessageType,
    new_error,
    new_method_call,
    new_method_return,
    new_signal,
)
from jeepney.bus_messages import message_bus
from jeepney.io.common import RouterClosed
from jeepney.io.threading import DBusConnection, ReceiveStopped, open_dbus_connection

INTERFACES = Path("/usr/share/dbus-1/interfaces")
NAME = "org.freedesktop.portal.Desktop"
REMOTE = "org.freedesktop.portal.RemoteDesktop"
BEHIND = "org.freedesktop.impl.portal.desktop.double"
_BEHIND_REMOTE = "org.freedesktop.impl.portal.RemoteDesktop"
_SESSIONS = ("org.freedesktop.portal.Session", "org.freedesktop.impl.portal.Session")
_ENDS = (OSError, EOFError, ValueError, ReceiveStopped, RouterClosed)


def _serve(connection: DBusConnection, handle: Callable[[Message], None]) -> None:
    while True:
        try:
            call = connection.receive()
            if call.header.message_type is MessageType.method_call:
                handle(call)
        except _ENDS:
            return


class Behind:
    """The desktop's own part: it presses the keys that the portal hands on, which waits for no answer."""

    def __init__(self, address: str, press: Callable[[int, bool], None]) -> None:
        self.sessions: set[str] = set()
        self.alive = True
        self._press = press
        self._goes_on = gevent.event.Event()
        self._goes_on.set()
        self._connection = open_dbus_connection(address)
        self._connection.send(message_bus.RequestName(BEHIND))
        self._connection.receive(timeout=5)
        self._server = gevent.spawn(_serve, self._connection, self._handle)

    def pause(self) -> None:
        """As when it is stopped by a signal."""
        self._goes_on.clear()

    def close(self) -> None:
        """End it; its sessions are gone with it."""
        self.alive = False
        self._connection.close()
        self._server.kill()

    def _handle(self, call: Message) -> None:
        self._goes_on.wait()
        fields = call.header.fields
        if fields[HeaderFields.path] not in self.sessions:
            self._connection.send(new_error(call, "org.freedesktop.DBus.Error.UnknownObject"))
        elif fields[HeaderFields.member] == "Get":
            self._connection.send(new_method_return(call, "v", (("u", 1),)))
        else:
            self._press(*call.body)


def signatures(interface: str) -> dict[str, tuple[str, str]]:
    """Return the methods of an interface: what goes in and what comes out."""
    root = ElementTree.parse(INTERFACES / f"{interface}.xml").getroot()
    found = {}
    for method in root.iterfind("interface/method"):
        kinds: dict[str, str] = {"in": "", "out": ""}
        for argument in method.iterfind("arg"):
            kinds[argument.get("direction", "in")] += argument.get("type", "")
        found[method.get("name", "")] = (kinds["in"], kinds["out"])
    return found


class Portal:
    """Answers on the bus at `address` until closed. `answer` is the person's: 0 yes, 1 no, None nothing."""

    behind: Behind | None = None

    def __init__(self, address: str, press: Callable[[int, bool], None], version: int = 2) -> None:
        self.answer: int | None = 0
        self.version = version
        self.devices = 1
        self.calls: list[str] = []
        self.tokens: list[str | None] = []
        self.given: list[str] = []
        self.options: dict[str, Any] = {}
        self._press = press
        self._methods = signatures(REMOTE)
        self._sessions: set[str] = set()
        self._connection = open_dbus_connection(address)
        self._connection.send(message_bus.RequestName(NAME))
        self._connection.receive(timeout=5)
        self._server = gevent.spawn(_serve, self._connection, self._handle)

    def close(self) -> None:
        """Leave the bus."""
        self._connection.close()
        self._server.kill()

    def end_sessions(self) -> None:
        """As when the person stops it."""
        self._sessions.clear()

    def _handle(self, call: Message) -> None:
        fields = call.header.fields
        interface, member = fields[HeaderFields.interface], fields[HeaderFields.member]
        if member == "Get" and call.body[0] in _SESSIONS:
            if fields[HeaderFields.path] in self._sessions:
                self._connection.send(new_method_return(call, "v", (("u", 1),)))
            else:
                self._connection.send(new_error(call, "org.freedesktop.DBus.Error.UnknownObject"))
        elif member == "Get":
            value = {"version": self.version, "AvailableDeviceTypes": self.devices}[call.body[1]]
            self._connection.send(new_method_return(call, "v", (("u", value),)))
        elif interface == REMOTE:
            self._remote(call, member)
        else:
            self._sessions.discard(fields[HeaderFields.path])
            self._connection.send(new_method_return(call))

    def _remote(self, call: Message, member: str) -> None:
        self.calls.append(member)
        takes, gives = self._methods.get(member, ("?", ""))
        if call.header.fields.get(HeaderFields.signature, "") != takes:
            self._connection.send(new_error(call, "org.freedesktop.DBus.Error.InvalidArgs"))
            return
        if member == "NotifyKeyboardKeycode":
            session, _, code, state = call.body
            if session not in self._sessions:
                self._connection.send(new_error(call, "org.freedesktop.portal.Error.NotFound"))
                return
            if self.behind is None:
                self._press(code, bool(state))
            else:
                where = DBusAddress(session, BEHIND, _BEHIND_REMOTE)
                self._connection.send(new_method_call(where, member, "ub", (code, bool(state))))
            self._connection.send(new_method_return(call))
            return
        self._request(call, member, gives)

    def _request(self, call: Message, member: str, gives: str) -> None:
        options = call.body[-1]
        sender = call.header.fields[HeaderFields.sender]
        base = f"/org/freedesktop/portal/desktop/%s/{sender[1:].replace('.', '_')}/%s"
        request = base % ("request", options["handle_token"][1])
        self._connection.send(new_method_return(call, gives, (request,)))
        results: dict[str, tuple[str, object]] = {}
        response = 0
        match member:
            case "CreateSession":
                session = base % ("session", options["session_handle_token"][1])
                self._sessions.add(session)
                results["session_handle"] = ("s", session)
            case "SelectDevices":
                self.options = options
                token = options.get("restore_token", ("s", None))[1]
                self.tokens.append(token)
            case "Start":
                if self.answer is None:
                    return
                if self.behind is not None:
                    self.behind.sessions |= self._sessions
                # A token is good once; with it no question is shown.
                known = bool(self.given) and self.tokens[-1] == self.given[-1]
                response = 0 if known else self.answer
                if self.behind is not None and not self.behind.alive:
                    response = 2
                results["devices"] = ("u", self.devices)
                if self.version >= 2 and not response:
                    self.given.append(secrets.token_hex(8))
                    results["restore_token"] = ("s", self.given[-1])
        emitter = DBusAddress(request, interface="org.freedesktop.portal.Request")
        self._connection.send(new_signal(emitter, "Response", "ua{sv}", (response, results)))
