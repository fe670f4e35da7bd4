"""The addresses and networks that this computer is attached to. A leaf.

Linux tells them through getifaddrs(3). Elsewhere only the kind of an address is
known: a private, link-local or loopback one counts as attached.
"""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import sys
from collections.abc import Iterator

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Where an address lies in struct sockaddr_in and sockaddr_in6, and its length in bytes.
_LAYOUT = {socket.AF_INET: (4, 4), socket.AF_INET6: (8, 16)}


class _IfAddrs(ctypes.Structure):
    """The head of struct ifaddrs; what follows the mask is not read."""


_IfAddrs._fields_ = [
    ("next", ctypes.POINTER(_IfAddrs)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
    ("mask", ctypes.c_void_p),
]


def interfaces() -> list[Interface] | None:
    """Return each address of this computer with its network; None where the system does not tell."""
    if not sys.platform.startswith("linux"):
        return None
    library, first = ctypes.CDLL(None), ctypes.POINTER(_IfAddrs)()
    if library.getifaddrs(ctypes.byref(first)) != 0:
        return None
    try:
        return list(_walk(first))
    finally:
        library.freeifaddrs(first)


def parse(host: str) -> Address | None:
    """Return an address without zone or length, an IPv4 one also where it is mapped; None for a name."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0].partition("/")[0].strip("[]"))
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if isinstance(mapped, ipaddress.IPv4Address) else address


def is_attached(host: str, known: list[Interface] | None) -> bool:
    """Return whether the address is in a network of `known`, which is what `interfaces` returned."""
    address = parse(host)
    if address is None:
        return False
    if address.is_loopback:
        return True
    if known is None:
        return address.is_private or address.is_link_local
    return any(address.version == each.version and address in each.network for each in known)


def is_own(host: str, known: list[Interface] | None) -> bool:
    """Return whether the address is one of this computer's; True where that is not known, or for a name."""
    address = parse(host)
    if address is None or known is None:
        return True
    return address.is_loopback or any(address == each.ip for each in known)


def _walk(entry: ctypes._Pointer[_IfAddrs]) -> Iterator[Interface]:
    while entry:
        each = entry.contents
        if each.address and each.mask:
            family = ctypes.c_ushort.from_address(each.address).value
            if family in _LAYOUT:
                at, size = _LAYOUT[socket.AddressFamily(family)]
                address = ipaddress.ip_address(ctypes.string_at(each.address + at, size))
                mask = int.from_bytes(ctypes.string_at(each.mask + at, size), "big")
                yield ipaddress.ip_interface((address, mask.bit_count()))
        entry = each.next
