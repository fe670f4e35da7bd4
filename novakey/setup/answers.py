"""The three questions that matter: who may reach it, how strict, and when it starts."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from novakey.config.settings import keys
from novakey.config.validate import parse_listen_addr
from novakey.errors import ConfigError

NETWORK, HERE = "network", "here"
PROFILES = {
    "relaxed": "one tap on the phone; the clipboard where nothing can be typed",
    "standard": "the phone arms and approves each secret",
    "strict": "and only into browsers, terminals and password prompts; needs the system's keyring",
    "vault": "somebody here approves each secret, only into password fields; a passphrase at each start",
}
# Asked for on a terminal at each start, which a service has not.
NEEDS_PASSPHRASE = frozenset({"vault"})


@dataclass(frozen=True)
class Answers:
    """What was answered. `reach` is `NETWORK`, `HERE` or an address of this computer."""

    reach: str = NETWORK
    strict: str = "standard"
    service: bool = True

    @property
    def listen_addr(self) -> str:
        """The configuration's key of that name."""
        _, port = parse_listen_addr(keys()["listen_addr"].default)
        host = {NETWORK: "0.0.0.0", HERE: "127.0.0.1"}.get(self.reach, self.reach)  # noqa: S104
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reach(text: str) -> str:
    """Who may reach it, as it was said; `ConfigError` for what is none of the answers."""
    if text in (NETWORK, HERE):
        return text
    try:
        address = ipaddress.ip_address(text)
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as trying:
            trying.bind((str(address), 0))
    except (ValueError, OSError):
        raise ConfigError(
            f"{text!r} is no address of this computer",
            f"answer {NETWORK}, {HERE}, or one of those that this shows: ip address",
        ) from None
    return str(address)


def strict(text: str) -> str:
    """How strict, as it was said; `ConfigError` for what is none of the answers."""
    if text not in PROFILES:
        raise ConfigError(f"{text!r} is no such choice", f"answer one of {', '.join(PROFILES)}")
    return text
