"""Showing a window to its owner, and taking it away again."""

from __future__ import annotations

import ipaddress
import logging
import socket
import sys
import textwrap
import time
from enum import Enum, auto
from pathlib import Path

from novakey.errors import StoreError
from novakey.log import output
from novakey.pairing.model import PairingWindow
from novakey.system import files
from novakey.terminal import Screen, printable
from novakey.wire.uri import PairingUri, listener, plain_host

log = logging.getLogger(__name__)

# Documentation addresses (RFC 5737, RFC 3849): connecting a UDP socket sends nothing,
# it only makes the kernel choose the source address of the default route.
_ROUTES = {4: (socket.AF_INET, "192.0.2.1"), 6: (socket.AF_INET6, "2001:db8::1")}


class Lack(Enum):
    """Why the QR can only name this computer itself."""

    NETWORK = auto()
    IPV4 = auto()  # listened on, but the network has only IPv6
    LISTENER = auto()  # on loopback, or `advertise_host` says so


class Display:
    """The QR of the open window: a picture in the data folder and, on a terminal, a drawing."""

    def __init__(self, picture: Path, advertise_host: str, fingerprint: str) -> None:
        self.picture = picture
        self._advertise_host = advertise_host
        self._fingerprint = fingerprint
        self._lack = Lack.LISTENER

    def host(self, bound_host: str) -> str:
        """Return the host that the QR names, for a daemon that listens on `bound_host`."""
        host = advertised_as(self._advertise_host, bound_host)
        if host is None:
            log.warning(
                "no mDNS responder answers for this computer, so the QR has its address: "
                "start avahi-daemon, or set advertise_host"
            )
        measured = host is None or self._advertise_host in ("", "auto")
        self._lack = lack(bound_host) if measured else Lack.LISTENER
        return host or plain_host(advertised(bound_host))

    def uri(self, window: PairingWindow, host: str, port: int) -> PairingUri:
        """Return what the QR of this window says; the token is in it and nowhere else."""
        return PairingUri(host, port, window.token, self._fingerprint, window.expires)

    def show(self, uri: PairingUri, now: int) -> None:
        """Show the QR; `StoreError` when its picture cannot be written."""
        from novakey.pairing import qr  # drawing needs a library: only where a window is shown

        qr.write_picture(self.picture, uri)
        log.info("waiting for a phone: scan the QR in %s", self.picture)
        log.info("in the app add a listener first: Host %s, Port %d, exactly so", uri.host, uri.port)
        if is_loopback(uri.host):
            self._say_unreachable(uri.host)
        if sys.stdout.isatty():
            screen = Screen.of(sys.stdout)
            output.of(sys.stdout).write("\n".join(page(uri, self.picture, now, screen)) + "\n")

    def _say_unreachable(self, host: str) -> None:
        match self._lack:
            case Lack.NETWORK:
                log.warning(
                    "the QR says %s, which no phone can reach: "
                    "connect this computer to a network, and the QR is drawn again",
                    host,
                )
            case Lack.IPV4:
                log.warning(
                    "the QR says %s, which no phone can reach: "
                    'the network has IPv6 only, so set listen_addr: "[::]:60768"',
                    host,
                )
            case Lack.LISTENER:
                log.warning(
                    "the QR says %s, which no phone can reach: listen on an address of the network "
                    "or set advertise_host",
                    host,
                )

    def hide(self) -> None:
        """Take the picture away; its token is worth nothing any more."""
        try:
            files.remove(self.picture, durable=False)
        except StoreError as error:
            log.error("%s", error.in_one_line)


def page(uri: PairingUri, picture: Path, now: int, screen: Screen, note: str = "") -> list[str]:
    """Return what a terminal shows of an open window: the QR where it fits, and the time left.

    At most as many lines as the screen has, so that nothing scrolls; `note` is
    shown before what is only nice to know.
    """
    from novakey.pairing import qr

    drawing = qr.draw(uri, screen)
    left, notes = time_left(uri, now), [printable(note, screen)] if note else []
    if not screen.fits(drawing.width, len(drawing.lines) + 1):
        return [
            f"The QR needs {drawing.width} x {len(drawing.lines) + 1} characters,",
            f"this terminal has {screen.columns} x {screen.rows}.",
            "Make it larger, or open the picture:",
            printable(str(picture), screen),
            *notes,
            *textwrap.wrap(listener(uri.host, uri.port), screen.columns),
            left,
        ]
    more = [listener(uri.host, uri.port), *notes]
    more += [f"Fingerprint: {uri.fingerprint}", f"Picture: {printable(str(picture), screen)}"]
    room = screen.rows - len(drawing.lines) - 1 if screen.moves else len(more)
    if room < 1:  # the last row has both
        left = f"{left} Host {uri.host}, Port {uri.port}."
    return [*drawing.lines, left, *more[:room]]


def time_left(uri: PairingUri, now: int) -> str:
    """Return a line for people."""
    minutes, seconds = divmod(max(0, uri.expires - now), 60)
    until = time.strftime("%H:%M:%S", time.localtime(uri.expires))
    return f"Time left: {minutes}:{seconds:02d}, until {until}."


def advertised_as(advertise_host: str, bound_host: str) -> str | None:
    """Return the host that the setting chooses; None for `mdns` where no responder runs."""
    match advertise_host:
        case "" | "auto":
            return plain_host(advertised(bound_host))
        case "mdns":
            from novakey.session import mdns

            return mdns.local_name()
    return plain_host(advertise_host)


def advertised(bound_host: str) -> str:
    """Return the address that a phone should use: the bound one, or that of the default route.

    An address of IPv6 only where that is listened on: `0.0.0.0` is IPv4 alone.
    """
    bound = _any_version(bound_host)
    if bound is None:
        return bound_host
    return (_of_route(4) or (_of_route(6) if bound == 6 else None)) or "127.0.0.1"


def lack(bound_host: str) -> Lack:
    """Return what is missing where `advertised` can only name this computer itself."""
    bound = _any_version(bound_host)
    if bound is None:
        return Lack.LISTENER
    return Lack.IPV4 if bound == 4 and _of_route(6) else Lack.NETWORK


def _any_version(bound_host: str) -> int | None:
    """4 or 6 for `0.0.0.0` and `::`; None for one address or a name."""
    try:
        address = ipaddress.ip_address(bound_host)
    except ValueError:
        return None
    return address.version if address.is_unspecified else None


def _of_route(version: int) -> str | None:
    """Return the address that the default route of that version goes out from, if there is one."""
    family, elsewhere = _ROUTES[version]
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((elsewhere, 9))
            return str(sock.getsockname()[0])
    except OSError:
        return None


def is_loopback(host: str) -> bool:
    """Return whether the host is this computer itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
