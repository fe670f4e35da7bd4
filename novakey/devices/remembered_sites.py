"""The sites that had a secret before, so that a new one, and one that looks like an old one, is noticed.

    {"sites":[{"site":MAC,"host":MAC,"sealed":…},…]}      in a file that is sealed like the store

What is kept of a name are hashes under a key of the store. The name itself is sealed once more, so that it
is in memory only while a question about another site is made. A file that cannot be read is no loss of a
secret: each site is new again.
"""

from __future__ import annotations

import base64
import hmac
import logging
import os
from pathlib import Path
from typing import NamedTuple

from novakey.devices import sealed_file
from novakey.errors import StoreError
from novakey.secret import Secret, erase
from novakey.sites import lookalike
from novakey.sites.lookalike import Remembered
from novakey.sites.origin import Site
from novakey.system import files
from novakey.wire import Malformed, ProtocolError, crypto, jsonline

log = logging.getLogger(__name__)

LABEL = b"NovaKey remembered sites v1"
_HASH_KEY, _NAME_KEY = b"NovaKey site hashes v1", b"NovaKey site names v1"
MOST = 2000  # of them the oldest is forgotten; each costs a comparison


class Judged(NamedTuple):
    """Whether a site never had a secret, and what to say loudly about its name."""

    first_time: bool
    warning: str


class _Row(NamedTuple):
    site: str
    host: str
    sealed: str


class RememberedSites:
    """The sites of one installation, in a file that `key` seals."""

    def __init__(self, path: Path, key: Secret) -> None:
        self._path = path
        self._key = key
        self._rows: list[_Row] | None = None  # read when a browser first asks

    def judge(self, site: Site) -> Judged:
        """Compare a site with those that had a secret."""
        rows, mac = self._read(), self._mac(site.key)
        if any(hmac.compare_digest(row.site, mac) for row in rows):
            return Judged(False, "")
        return Judged(True, lookalike.warning(site, self._names(rows)))

    def remember(self, site: Site) -> None:
        """Keep a site that has just had a secret. A failure is logged, and the site is new again."""
        rows, host = self._read(), self._mac(f"host {site.place}")
        if any(row.host == host for row in rows):
            return
        rows.append(_Row(self._mac(site.key), host, self._seal(f"{site.host} {site.domain}")))
        del rows[:-MOST]
        try:
            document = {"sites": [row._asdict() for row in rows]}
            sealed_file.write(self._path, self._key, LABEL, document)
        except StoreError as error:
            log.warning("a site is not remembered: %s", error.problem)

    def _read(self) -> list[_Row]:
        if self._rows is None:
            try:
                self._rows = _load(self._path, self._key)
            except (StoreError, Malformed) as error:
                log.warning("which sites had a secret before is lost: %s", error)
                self._rows = []
        return self._rows

    def _names(self, rows: list[_Row]) -> list[Remembered]:
        key, names = self._derived(_NAME_KEY), []
        for row in rows:
            data = base64.b64decode(row.sealed)
            nonce, sealed = data[: crypto.NONCE_SIZE], data[crypto.NONCE_SIZE :]
            try:
                host, _, domain = crypto.unseal(key, nonce, sealed, _NAME_KEY).decode().partition(" ")
            except (ProtocolError, UnicodeError):
                continue  # of another key: its hash means nothing either
            names.append(Remembered(host, domain))
        erase(key)
        return names

    def _seal(self, name: str) -> str:
        key, nonce = self._derived(_NAME_KEY), os.urandom(crypto.NONCE_SIZE)
        sealed = crypto.seal(key, nonce, name.encode(), _NAME_KEY)
        erase(key)
        return base64.b64encode(nonce + sealed).decode()

    def _mac(self, name: str) -> str:
        key = self._derived(_HASH_KEY)
        mac = hmac.digest(key, name.encode(), "sha256").hex()
        erase(key)
        return mac

    def _derived(self, label: bytes) -> bytes:
        key = self._key.reveal()
        try:
            return hmac.digest(key, label, "sha256")
        finally:
            erase(key)


def _load(path: Path, key: Secret) -> list[_Row]:
    data = files.read_private(path)
    document = {} if data is None else sealed_file.open_bytes(data, path, key, LABEL)
    rows = document.get("sites", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Malformed("it has no list of sites")
    return [_Row(*(jsonline.string(row, name) for name in _Row._fields)) for row in rows]
