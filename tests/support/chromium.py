"""A real Chromium without a window, steered by the DevTools protocol over a socket that it inherits.

No port is open, and no driver program is needed. The toolbar's button is pressed by the browser itself
(`Extensions.triggerAction`), which calls the extension as a click or its shortcut does. Text comes out of a
page by `evaluate`, in the page's own world.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from support.daemon import ROOT
from support.x11 import end, wait_until

EXTENSION = ROOT / "browser"
EXTENSION_ID = "jbplfndohnifiagikigniiokadlmhibk"
HOST_NAME = "org.novakey.browser"
START_S = 180  # a busy machine
CALL_S = 30

# A descriptor of ours becomes the two that `--remote-debugging-pipe` uses. sh knows those of one digit only.
_WITH_PIPE = 'fd=$1; shift; exec "$@" 3<&"$fd" 4>&"$fd"'
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage", "--password-store=basic"),
    *("--disable-component-update", "--disable-background-networking", "--disable-sync", "--disable-quic"),
    *("--remote-debugging-pipe", "--enable-unsafe-extension-debugging"),
)


class CallError(Exception):
    """What Chromium answered in place of a result."""


class Chromium:
    """The browser with the extension, in a home and a profile of its own."""

    def __init__(self, host: Path | None = None, env: dict[str, str] | None = None) -> None:
        self._host, self._env = host, env or {}

    def __enter__(self) -> Chromium:
        self._folder = tempfile.TemporaryDirectory(prefix="novakey-chromium-", ignore_cleanup_errors=True)
        self.home = Path(self._folder.name)
        self.profile = self.home / "profile"
        if self._host:
            (self.profile / "NativeMessagingHosts").mkdir(parents=True)
            manifest = {
                "name": HOST_NAME,
                "description": "NovaKey",
                "path": str(self._host),
                "type": "stdio",
                "allowed_origins": [f"chrome-extension://{EXTENSION_ID}/"],
            }
            (self.profile / f"NativeMessagingHosts/{HOST_NAME}.json").write_text(json.dumps(manifest))
        self._number, self._answers, self._rest = 0, {}, b""
        self._sock, theirs = socket.socketpair()
        os.set_blocking(theirs.fileno(), True)  # as gevent's are not, and Chromium waits in it
        headless = [] if "DISPLAY" in self._env else ["--headless=new"]
        words = ["chromium", *headless, *_FLAGS, f"--user-data-dir={self.profile}", "about:blank"]
        self.process = subprocess.Popen(
            ["bash", "-c", _WITH_PIPE, "bash", str(theirs.fileno()), *words],
            env={**os.environ, "HOME": str(self.home), **self._env},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.home / "stderr").open("w"),
            start_new_session=True,
        )
        theirs.close()
        try:
            self._sock.settimeout(START_S)
            self.call("Browser.getVersion")
            self._sock.settimeout(CALL_S)
            assert self.call("Extensions.loadUnpacked", path=str(EXTENSION))["id"] == EXTENSION_ID
            self.page = self.pages()[0]
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill() if self.process.poll() is None else None
        self._sock.close()
        self._folder.cleanup()

    def kill(self) -> None:
        """End it and its children at once, as a crash does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        end(self.process)

    def close(self) -> None:
        """Let it end as a person ends it: what it keeps in memory goes to its profile."""
        self.call("Browser.close")
        self.process.wait(30)

    def call(self, method: str, session: str = "", **parameters: Any) -> Any:
        """Send one command and return its result."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        self._sock.sendall(json.dumps(message).encode() + b"\0")
        while number not in self._answers:
            self._read()
        answer = self._answers.pop(number)
        if "error" in answer:
            raise CallError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _read(self) -> None:
        data = self._sock.recv(1 << 16)
        if not data:
            raise CallError(f"Chromium ended: {self._said()}")
        *messages, self._rest = (self._rest + data).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self._answers[message["id"]] = message

    def _said(self) -> str:
        return (self.home / "stderr").read_text()[-300:]

    def targets(self, kind: str) -> list[dict[str, Any]]:
        """Return what there is of this kind: `page`, `tab`, `service_worker`, `iframe`."""
        every = self.call("Target.getTargets", filter=[{}])["targetInfos"]
        return [target for target in every if target["type"] == kind]

    def pages(self) -> list[Page]:
        """Return the pages that are open, the newest first."""
        return [Page(self, target["targetId"]) for target in self.targets("page")]

    def open(self, url: str) -> Page:
        """Open a tab."""
        page = Page(self, self.call("Target.createTarget", url=url)["targetId"])
        page.wait_loaded()
        return page

    def worker(self, expression: str) -> Any:
        """Evaluate in the extension's service worker."""
        workers = [t for t in self.targets("service_worker") if EXTENSION_ID in t["url"]]
        return Page(self, workers[0]["targetId"]).evaluate(expression)


class Page:
    """One tab, or another target that runs scripts."""

    def __init__(self, browser: Chromium, target: str) -> None:
        self.browser, self.target = browser, target
        self._session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method: str, **parameters: Any) -> Any:
        """Send one command to this page."""
        return self.browser.call(method, self._session, **parameters)

    def go(self, url: str) -> None:
        """Load another page in this tab."""
        self.call("Page.navigate", url=url)
        self.wait_loaded()

    def wait_loaded(self) -> None:
        """Wait until the page and its frames are there."""
        wait_until(lambda: self.evaluate("document.readyState") == "complete", "the page", 30)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, as the page's own scripts would have it."""
        options = {"returnByValue": True, "awaitPromise": True, "userGesture": False}
        done = self.call("Runtime.evaluate", expression=expression, **options)
        if "exceptionDetails" in done:
            raise CallError(str(done["exceptionDetails"].get("exception", {}).get("description", ""))[:300])
        return done["result"].get("value")

    def press_button(self) -> None:
        """Press the extension's button in the toolbar, for this tab."""
        (tab,) = (
            t["targetId"]
            for t in self.browser.targets("tab")
            if t["url"] == self.url or len(self.browser.targets("tab")) == 1
        )
        self.browser.call("Extensions.triggerAction", id=EXTENSION_ID, targetId=tab)

    @property
    def url(self) -> str:
        """The address that the browser shows."""
        return str(self.evaluate("location.href"))

    def key(self, key: str, code: int) -> None:
        """Press a key in the page, as the keyboard does."""
        for kind in ("rawKeyDown", "keyUp"):
            options = {"key": key, "code": key, "windowsVirtualKeyCode": code}
            self.call("Input.dispatchKeyEvent", type=kind, **options)

    def escape(self) -> None:
        """Press Esc in the page."""
        self.key("Escape", 27)

    def click(self, selector: str) -> None:
        """Click in the middle of an element, as the mouse does."""
        middle = "({x, y, width, height}) => [x + width / 2, y + height / 2]"
        box = f"({middle})({selector}.getBoundingClientRect())"
        x, y = self.evaluate(box)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def close(self) -> None:
        """Close the tab."""
        self.browser.call("Target.closeTarget", targetId=self.target)
