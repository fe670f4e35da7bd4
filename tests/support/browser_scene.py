"""A browser with the extension, pages, and an instrument as host, for the tests of the extension."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support import needs
from support.browser_host import Host, Hosts
from support.browser_pages import Pages
from support.chromium import Chromium
from support.firefox import Firefox
from support.x11 import wait_until

BROWSERS = {"chromium": ("chromium", Chromium), "firefox": ("firefox-esr", Firefox)}
FIELD = "document.querySelector('#field')"


class BrowserScene:
    """The three, and what a person does with them."""

    def __init__(self, browser: Any, pages: Pages, hosts: Hosts) -> None:
        self.browser, self.pages, self.hosts = browser, pages, hosts
        self.page = browser.page
        self._count = 0

    def show(self, body: str, field: str = FIELD) -> None:
        """Load a page of its own and put the focus into its field."""
        self._count += 1
        self.page.go(self.pages.put(f"/{self._count}", body))
        self.page.evaluate(f"{field}.focus()")

    def press(self) -> Host:
        """Press the button or the shortcut, and wait until the host of the browser says so."""
        self.page.press_button()
        host = self.hosts.accept()
        host.say("waiting")
        return host

    def value(self, field: str = FIELD) -> str:
        """Return what the page's own scripts read from the field."""
        return str(self.page.evaluate(f"{field}.value"))

    def nowhere(self, secret: str) -> bool:
        """Return whether no field of the page, and no text in it, has the secret."""
        return not self.page.evaluate(_HOLDS.replace("SECRET", json.dumps(secret)))


# Everything that is shown or typed, also in shadow roots and in frames that the page may read.
_HOLDS = """(function holds(root) {
  for (const each of root.querySelectorAll("*")) {
    if ([each.value, each.textContent].some((text) => String(text).includes(SECRET))) return true;
    if (each.shadowRoot && holds(each.shadowRoot)) return true;
    try { if (each.contentDocument && holds(each.contentDocument)) return true; } catch {}
  }
  return false;
})(document)"""


@contextmanager
def browser_scene(name: str) -> Iterator[BrowserScene]:
    """Start all of it; `name` is the browser."""
    program, kind = BROWSERS[name]
    needs.programs(program)
    with Hosts() as hosts, Pages() as pages, kind(hosts.script) as browser:
        yield BrowserScene(browser, pages, hosts)


def on_disk(folder: Path, secret: str) -> list[str]:
    """Return the files below a folder that have the secret, in UTF-8, UTF-16 or as JSON writes it."""
    forms = {secret.encode(), secret.encode("utf-16-le"), json.dumps(secret)[1:-1].encode()}
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and any(form in path.read_bytes() for form in forms)
    ]


def badge_is_there(page: Any) -> bool:
    """Return whether the page has an element that it did not make; its inside is closed to the page."""
    return bool(page.evaluate("[...document.documentElement.children].some((each) => each.popover)"))


def wait_for_badge(page: Any, there: bool) -> None:
    """Wait until it is there, or no more."""
    wait_until(lambda: badge_is_there(page) is there, "the badge", 30)
