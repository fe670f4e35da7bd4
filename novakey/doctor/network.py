"""Whether a phone can reach the daemon, and whether their clocks agree."""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import time
from pathlib import Path

from novakey.config.settings import Settings
from novakey.config.validate import parse_listen_addr
from novakey.doctor.finding import About, Check, Finding
from novakey.errors import NovaKeyError
from novakey.messages.replay import MAX_AGE_S, MAX_AHEAD_S
from novakey.pairing.display import Lack, advertised_as, lack
from novakey.system.folder_lock import FolderLock
from novakey.system.paste import command
from novakey.system.paths import Paths
from novakey.wire.uri import listener

CONNECT_S = 2.0
_MADE_IN = 2026  # a clock that says an earlier year is wrong
_UFW = Path("/etc/ufw/ufw.conf")
_FIREWALLD = Path("/run/firewalld")
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised


def _port(paths: Paths, settings: Settings) -> Finding:
    about = About("port", "phones connect to it")
    host, port = parse_listen_addr(settings.listen_addr)
    pid = FolderLock.holder(paths.data)
    if pid is not None and port:
        if _connects(_local(host), port):
            return about.ok(f"the daemon (process {pid}) answers on port {port}")
        return about.fault(
            f"a daemon runs (process {pid}), but nothing answers on port {port}",
            "was it started with another listen_addr? see: novakey.py status",
        )
    from novakey.net.listener import listen

    try:
        listen(settings.listen_addr).close()
    except NovaKeyError as error:
        return about.failed(error)
    return about.ok(f"{settings.listen_addr} is free to listen on")


def _address(paths: Paths, settings: Settings) -> Finding:
    about = About("address", "the QR tells phones to connect to it")
    host, port = parse_listen_addr(settings.listen_addr)
    shown = advertised_as(settings.advertise_host, host)
    if shown is None:
        return about.fault(
            "advertise_host is mdns, but no mDNS responder answers for this computer",
            "start avahi-daemon, or set advertise_host to an address or a name",
        )
    if settings.advertise_host == "mdns":
        return about.ok(f"{shown}, by mDNS. {listener(shown, port)}")
    try:
        found = socket.getaddrinfo(shown, port or None, type=socket.SOCK_STREAM)[0][4][0]
    except OSError:
        return about.fault(
            f"the name {shown} has no address", "set advertise_host to a name or address that phones can find"
        )
    if ipaddress.ip_address(str(found).partition("%")[0]).is_loopback:
        if _is_any(host) and settings.advertise_host in ("", "auto"):
            if lack(host) is Lack.IPV4:
                return about.fault("the network has IPv6 only", 'set listen_addr: "[::]:60768"')
            return about.fault(
                "this computer has no network address", "connect it to a network, or set advertise_host"
            )
        return about.note(
            f"{shown} is this computer itself: no phone can reach it",
            "set listen_addr to an address of the network, or advertise_host",
        )
    running = port and FolderLock.holder(paths.data) is not None
    if running and not _connects(shown, port):
        return about.fault(
            f"the daemon does not answer at {shown} port {port}",
            'set listen_addr to "[::]:60768", or advertise_host to what is listened on, or open the firewall',
        )
    typed = f" answers. {listener(shown, port)}" if running else f". {listener(shown, port)}" if port else ""
    return about.ok(f"{shown} port {port}{typed}")


def _firewall(paths: Paths, settings: Settings) -> Finding:
    about = About("firewall", "a firewall in between makes a phone wait in vain")
    _, port = parse_listen_addr(settings.listen_addr)
    if _contains(_UFW, "ENABLED=yes"):
        return about.note("ufw is on", f"let phones in: {command('sudo', 'ufw', 'allow', f'{port}/tcp')}")
    if _FIREWALLD.exists():
        opening = command("sudo", "firewall-cmd", "--permanent", f"--add-port={port}/tcp")
        return about.note("firewalld is on", f"let phones in: {opening}")
    return about.ok("neither ufw nor firewalld is on")


def _clock(paths: Paths, settings: Settings) -> Finding:
    about = About(
        "clock", f"messages more than {MAX_AGE_S} s old or {MAX_AHEAD_S} s ahead of this clock are refused"
    )
    now = time.gmtime()
    said = time.strftime("%Y-%m-%d %H:%M UTC", now)
    cure = "set it, and keep it: sudo timedatectl set-ntp true"
    if now.tm_year < _MADE_IN:
        return about.fault(f"the clock says {said}", cure)
    if not _synchronised():
        return about.note(f"it is {said} here, and nothing keeps the clock right", cure)
    return about.ok(said)


def _synchronised() -> bool:
    """Whether the kernel's clock is disciplined; True where that cannot be told."""

    class Timex(ctypes.Structure):
        _fields_ = (("modes", ctypes.c_uint), ("rest", ctypes.c_long * 40))

    try:
        return bool(ctypes.CDLL(None).adjtimex(ctypes.byref(Timex())) != _TIME_ERROR)
    except (OSError, AttributeError):
        return True


def _contains(path: Path, line: str) -> bool:
    try:
        return line in path.read_text().splitlines()
    except OSError:
        return False


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _local(host: str) -> str:
    """Where to knock for a daemon that listens on `host`."""
    if _is_any(host):
        return "::1" if ":" in host else "127.0.0.1"
    return host


def _connects(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=CONNECT_S).close()
    except OSError:
        return False
    return True


CHECKS: tuple[Check, ...] = (_port, _address, _firewall, _clock)
