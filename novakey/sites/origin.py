"""The origin of a web page (RFC 6454) as a site that a person can judge.

    https://login.xn--bcher-kva.example:8443   the origin, as a browser serialises it
    xn--bcher-kva.example                      the registrable domain: one label below the public suffix

Only `https` is taken. `http` is taken from this computer itself, and from hosts that the owner lists.
The host is punycode in the origin. A person reads it in Unicode, with the punycode beside it.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

MAX_ORIGIN = 300  # https:// and :65535 around the 253 characters of a name (RFC 1035, section 2.3.4)
_MAX_HOST = 253
_DEFAULT_PORTS = {"https": 443, "http": 80}
_ORIGIN = re.compile(r"(https?)://(\[[0-9a-f:.]{2,45}\]|[a-z0-9_.-]{1,254})(?::([1-9][0-9]{0,4}))?", re.ASCII)
# An underscore is no letter of a host name (RFC 952), but names with it exist and browsers open them.
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
# The last label of a name is no number: browsers read such a host as an IPv4 address (URL Standard, 3.5).
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


class SiteError(ValueError):
    """An origin that may have no secret; the text says why, for people."""


@dataclass(frozen=True)
class Site:
    """One origin. `host` and `domain` are ASCII, in punycode where they are international.

    `domain` is the registrable domain, or the whole host where it has none: an address, `localhost`, a
    public suffix itself. `port` is 0 for the scheme's own.
    """

    scheme: str
    host: str
    domain: str
    port: int = 0

    @property
    def key(self) -> str:
        """What counts as the same site: the domain, or an address with its scheme and port."""
        return self.domain if self.has_domain else f"{self.scheme}://{self.place}"

    @property
    def has_domain(self) -> bool:
        """Whether the host lies in a domain that somebody has registered."""
        return "." in self.domain and not _is_address(self.host)

    @property
    def place(self) -> str:
        """The host, with the port where it is not the scheme's own."""
        return f"{self.host}:{self.port}" if self.port else self.host

    def __str__(self) -> str:
        """For people: the registrable domain first, in Unicode, with its punycode where the two differ."""
        domain = readable(self.domain)
        shown = domain if domain == self.domain else f"{domain} [{self.domain}]"
        place = readable(self.host) + (f":{self.port}" if self.port else "")
        if self.scheme == "http":
            return f"{shown} (http://{place}, not encrypted)"
        return shown if place == domain else f"{shown} ({place})"


def parse(origin: str, allow_http: Collection[str] = ()) -> Site:
    """Return the site of an origin; `SiteError` where it may have no secret.

    `allow_http` are hosts that may be asked for without encryption.
    """
    found = _ORIGIN.fullmatch(origin.lower()) if len(origin) <= MAX_ORIGIN else None
    if found is None:
        raise SiteError("this page has no web address that can be shown")
    scheme, host, port_text = found[1], _host(found[2]), found[3]
    port = int(port_text or 0)
    if port > 65535:
        raise SiteError("there is no such port")
    if scheme == "http" and not _is_loopback(host) and host not in map(str.lower, allow_http):
        raise SiteError(
            "this page is not encrypted (http), so it gets no secret unless browser_allow_http lists its host"
        )
    domain = host if _is_address(host) else _suffixes().privatesuffix(host) or host
    return Site(scheme, host, domain, 0 if port == _DEFAULT_PORTS[scheme] else port)


def readable(host: str) -> str:
    """Return a host in Unicode. A label that is no valid international one stays in punycode."""
    return ".".join(map(_readable_label, host.split(".")))


def suffix(domain: str) -> str:
    """Return the public suffix of a name in ASCII: `co.uk`, `org`."""
    return _suffixes().publicsuffix(domain) or ""


def _readable_label(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    import idna  # for international names only

    try:
        return str(idna.decode(label))
    except (idna.IDNAError, UnicodeError):
        return label


def _host(text: str) -> str:
    """Return the host in its one form; `SiteError` where it is none."""
    if text.startswith("["):
        try:
            return f"[{ipaddress.IPv6Address(text[1:-1]).compressed}]"
        except ValueError:
            raise SiteError("this page has no address that can be shown") from None
    host = text.removesuffix(".")
    labels = host.split(".")
    if len(host) > _MAX_HOST or not all(map(_LABEL.fullmatch, labels)):
        raise SiteError("this page has no host name that can be shown")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise SiteError("this page has no address that can be shown") from None
    return host


def _is_address(host: str) -> bool:
    return host.startswith("[") or host.rpartition(".")[2].isdigit()


def _is_loopback(host: str) -> bool:
    if _is_address(host):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return host == "localhost" or host.endswith(".localhost")  # RFC 6761, section 6.3


@functools.cache
def _suffixes() -> PublicSuffixList:
    from publicsuffixlist import PublicSuffixList  # reading its list takes 30 ms, and most days need none

    return PublicSuffixList()
