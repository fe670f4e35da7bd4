"""Where each browser looks for the host of its extension, and what we write there.

A browser reads a small file, the manifest, from a folder of its user's. It names our start script and the one
extension that may use it. A manifest is ours by what it says; any other of that name is left alone.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from novakey.errors import ConfigError, NovaKeyError, StoreError
from novakey.pull.browser import CHROMIUM_ORIGIN, GECKO_ID, NAME
from novakey.system import files
from novakey.system.paths import Paths
from novakey.wire import Malformed, jsonline

_FILE = f"{NAME}.json"
_MAX_MANIFEST = 64 * 1024
_CHROMIUM_FOLDER, _GECKO_FOLDER = "NativeMessagingHosts", "native-messaging-hosts"
_FLATPAKS = (
    "org.chromium.Chromium",
    "com.google.Chrome",
    "com.brave.Browser",
    "com.microsoft.Edge",
    "com.vivaldi.Vivaldi",
    "org.mozilla.firefox",
    "io.gitlab.librewolf-community",
)
OURS, OTHER, NONE = "ours", "not ours", "none"


class Browser(NamedTuple):
    """A browser: its folder below the configuration or the home, on Linux and on macOS."""

    name: str
    linux: str
    macos: str
    is_gecko: bool = False

    @property
    def profile(self) -> Path:
        """The folder that it makes at its first start."""
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Application Support" / self.macos
        return (Path.home() if self.is_gecko else _config_home()) / self.linux

    @property
    def manifest(self) -> Path:
        """The file that names our host."""
        gecko_folder = _CHROMIUM_FOLDER if sys.platform == "darwin" else _GECKO_FOLDER
        return self.profile / (gecko_folder if self.is_gecko else _CHROMIUM_FOLDER) / _FILE


BROWSERS = {
    browser.name: browser
    for browser in (
        Browser("chromium", "chromium", "Chromium"),
        Browser("chrome", "google-chrome", "Google/Chrome"),
        Browser("brave", "BraveSoftware/Brave-Browser", "BraveSoftware/Brave-Browser"),
        Browser("edge", "microsoft-edge", "Microsoft Edge"),
        Browser("vivaldi", "vivaldi", "Vivaldi"),
        Browser("firefox", ".mozilla", "Mozilla", is_gecko=True),
        Browser("librewolf", ".librewolf", "librewolf", is_gecko=True),
    )
}


class Found(NamedTuple):
    """What is there for one browser. `manifest` is `OURS`, `OTHER` or `NONE`."""

    browser: Browser
    is_there: bool
    manifest: str


def status(paths: Paths) -> list[Found]:
    """Return what is there for each browser."""
    return [
        Found(browser, browser.profile.is_dir(), _whose(browser.manifest, paths))
        for browser in BROWSERS.values()
    ]


def sandboxed() -> list[str]:
    """Return the browsers of snap and flatpak packages that have run here, with the package system."""
    home = Path.home()
    places = [(f"{name} (snap)", home / "snap" / name) for name in ("chromium", "firefox", "brave")]
    places += [(f"{name} (flatpak)", home / ".var" / "app" / name) for name in _FLATPAKS]
    return [name for name, place in places if place.is_dir()]


def install(paths: Paths, names: Sequence[str], program: Sequence[str]) -> list[Browser]:
    """Write the manifests of these browsers, or of all that have run here; return which.

    `program` are the words that start this installation. `NovaKeyError` before anything is written where
    one cannot be.
    """
    if os.name != "posix":
        raise NovaKeyError("browsers of this system look for the host in its registry; this cannot write it")
    chosen = _chosen(names) if names else [found.browser for found in status(paths) if found.is_there]
    if not chosen:
        raise NovaKeyError(
            "no browser has run here",
            "start it once, or name one: novakey.py browser install chromium",
        )
    for browser in chosen:
        if _whose(browser.manifest, paths) == OTHER:
            raise NovaKeyError(
                f"{browser.manifest} is there already, and this installation did not write it",
                "remove it first, or leave that browser out",
            )
    files.private_folder(paths.data)
    _write_script(paths.browser_host, program)
    for browser in chosen:
        files.make_folders(browser.manifest.parent)
        files.replace_private(browser.manifest, _manifest(browser, paths))
    return chosen


def remove(paths: Paths, names: Sequence[str] = ()) -> list[Browser]:
    """Remove our manifests of these browsers, or of all; return which. The script goes with the last."""
    removed = []
    for browser in _chosen(names) if names else BROWSERS.values():
        if _whose(browser.manifest, paths) == OURS:
            manifest = browser.manifest
            files.remove(manifest)
            with contextlib.suppress(OSError):  # others are in it
                manifest.parent.rmdir()
            removed.append(browser)
    if not any(found.manifest == OURS for found in status(paths)):
        files.remove(paths.browser_host)
    return removed


def _chosen(names: Iterable[str]) -> list[Browser]:
    unknown = [name for name in names if name not in BROWSERS]
    if unknown:
        raise ConfigError(f"there is no browser {unknown[0]!r}", f"known are: {', '.join(BROWSERS)}")
    return [BROWSERS[name] for name in dict.fromkeys(names)]


def _manifest(browser: Browser, paths: Paths) -> bytes:
    members: dict[str, object] = {
        "name": NAME,
        "description": "NovaKey: a phone fills the field of a page",
        "path": str(paths.browser_host),
        "type": "stdio",
    }
    if browser.is_gecko:
        return jsonline.encode({**members, "allowed_extensions": [GECKO_ID]}) + b"\n"
    return jsonline.encode({**members, "allowed_origins": [CHROMIUM_ORIGIN]}) + b"\n"


def _whose(manifest: Path, paths: Paths) -> str:
    try:
        with open(manifest, "rb") as file:
            members = jsonline.decode(file.read(_MAX_MANIFEST))
    except FileNotFoundError:
        return NONE
    except (OSError, Malformed):
        return NONE if not os.path.lexists(manifest) else OTHER
    is_ours = members.get("name") == NAME and members.get("path") == str(paths.browser_host)
    return OURS if is_ours else OTHER


def _write_script(script: Path, program: Sequence[str]) -> None:
    """Write what browsers start: a manifest has room for a path, and none for arguments."""
    words = " ".join(map(shlex.quote, program))
    text = (
        "#!/bin/sh\n"
        "# Written by novakey.py browser install. A browser starts it for the NovaKey extension.\n"
        f'exec {words} browser host -- "$@"\n'
    )
    files.replace_private(script, text.encode())
    try:
        script.chmod(0o700)
    except OSError as error:
        raise StoreError(f"{script} cannot be made executable: {error.strerror}") from error


def _config_home() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME", "")
    return Path(home) if home.startswith("/") else Path.home() / ".config"
