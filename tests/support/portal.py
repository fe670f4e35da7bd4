"""A double of the portal for remote desktops, made from the portal's own interface description.

The real portal wants a person and a desktop's own dialog. This one takes its methods and their
signatures from the description that Debian installs, so that a call which the real one would
not understand is refused here too; the keys that it is given it presses wherever it is told.
"""

from __future__ import annotations

import secrets
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from jeepney import (
    DBusAddress,
    HeaderFields,
    Message,
    MessageType,
    new_error,
    new_method_return,
    new_signal,
)
from jeepney.bus_messages import message_bus
from jeepney.io.common import RouterClosed
from jeepney.io.threading import ReceiveStopped, open_dbus_connection

INTERFACES = Path("/usr/share/dbus-1/interfaces")
NAME = "org.freedesktop.portal.Desktop"
REMOTE = "org.freedesktop.portal.RemoteDesktop"


def signatures(interface: str) -> dict[str, tuple[str, str]]:
    """The methods of an interface: what goes in and what comes out."""
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
        self._server = gevent.spawn(self._serve)

    def close(self) -> None:
        """Leave the bus."""
        self._connection.close()
        self._server.kill()

    def end_sessions(self) -> None:
        """As when the person stops it."""
        self._sessions.clear()

    def _serve(self) -> None:
        while True:
            try:
                call = self._connection.receive()
            except (OSError, EOFError, ReceiveStopped, RouterClosed):
                return
            if call.header.message_type is MessageType.method_call:
                self._handle(call)

    def _handle(self, call: Message) -> None:
        fields = call.header.fields
        interface, member = fields[HeaderFields.interface], fields[HeaderFields.member]
        if member == "Get":
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
            self._press(code, bool(state))
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
                # A token is good once; with it nobody is asked.
                known = bool(self.given) and self.tokens[-1] == self.given[-1]
                response = 0 if known else self.answer
                results["devices"] = ("u", self.devices)
                if self.version >= 2 and not response:
                    self.given.append(secrets.token_hex(8))
                    results["restore_token"] = ("s", self.given[-1])
        emitter = DBusAddress(request, interface="org.freedesktop.portal.Request")
        self._connection.send(new_signal(emitter, "Response", "ua{sv}", (response, results)))
