"""A real Firefox without a window, steered by Marionette, which is part of it.

The extension's shortcut is pressed as keys that the browser's own window gets, so the browser itself starts
the extension. Text comes out of a page by `evaluate`, in a sandbox beside the page.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from support.chromium import EXTENSION, HOST_NAME, CallError
from support.x11 import end, wait_until

EXTENSION_ID = "novakey@novakey.invalid"
START_S = 400  # a busy machine
CALL_S = 120
CONTROL, SHIFT, ESCAPE = "\ue009", "\ue008", "\ue00c"
# No call home; and the browser's own question about a frame's site is answered with yes.
_PREFERENCES = {
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
    "app.update.enabled": False,
    "app.normandy.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "extensions.webextOptionalPermissionPrompts": False,
    "extensions.background.idle.timeout": 3000,
}


class Firefox:
    """The browser with the extension, in a home and a profile of its own."""

    def __init__(self, host: Path | None = None, env: dict[str, str] | None = None) -> None:
        self._host, self._env = host, env or {}

    def __enter__(self) -> Firefox:
        self._folder = tempfile.TemporaryDirectory(prefix="novakey-firefox-", ignore_cleanup_errors=True)
        self.home = Path(self._folder.name)
        self.profile = self.home / "profile"
        self.profile.mkdir()
        if self._host:
            place = self.home / ".mozilla/native-messaging-hosts"
            place.mkdir(parents=True)
            manifest = {
                "name": HOST_NAME,
                "description": "NovaKey",
                "path": str(self._host),
                "type": "stdio",
                "allowed_extensions": [EXTENSION_ID],
            }
            (place / f"{HOST_NAME}.json").write_text(json.dumps(manifest))
        lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in _PREFERENCES.items()]
        (self.profile / "user.js").write_text("".join(lines) + 'user_pref("marionette.port", 0);\n')
        words = ["firefox-esr", "--headless", "--marionette", "--remote-allow-system-access", "--no-remote"]
        self.process = subprocess.Popen(
            [*words, "--profile", str(self.profile), "about:blank"],
            env={**os.environ, "HOME": str(self.home), "MOZ_CRASHREPORTER_DISABLE": "1", **self._env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.home / "stderr").open("w"),
            start_new_session=True,
        )
        try:
            port = int(wait_until(self._port, "Marionette", START_S))
            self._sock = socket.create_connection(("127.0.0.1", port), timeout=START_S)
            self._file, self._number = self._sock.makefile("rb"), 0
            self._read()
            self.call("WebDriver:NewSession", capabilities={})
            self._sock.settimeout(CALL_S)
            self.call("Addon:Install", path=str(EXTENSION), temporary=True)
            self.page = Page(self, self.call("WebDriver:GetWindowHandle")["value"])
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()
        if hasattr(self, "_sock"):
            self._file.close()
            self._sock.close()
        self._folder.cleanup()

    def _port(self) -> str:
        file = self.profile / "MarionetteActivePort"
        return file.read_text() if file.exists() else ""

    def kill(self) -> None:
        """End it and its children at once, as a crash does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        end(self.process)

    def close(self) -> None:
        """Let it end as a person ends it: what it keeps in memory goes to its profile."""
        self.call("Marionette:Quit", flags=["eForceQuit"])
        self.process.wait(30)

    def _read(self) -> Any:
        length = b""
        while not length.endswith(b":"):
            length += self._file.read(1) or _ended()
        return json.loads(self._file.read(int(length[:-1])))

    def call(self, command: str, **parameters: Any) -> Any:
        """Send one command and return its result."""
        self._number += 1
        data = json.dumps([0, self._number, command, parameters]).encode()
        self._sock.sendall(f"{len(data)}:".encode() + data)
        _, number, error, result = self._read()
        assert number == self._number
        if error:
            raise CallError(f"{command}: {error['message'][:300]}")
        return result

    def keys(self, *names: str) -> None:
        """Press keys together, as the keyboard does, in the page or in the window."""
        actions = [{"type": "keyDown", "value": name} for name in names]
        actions += [{"type": "keyUp", "value": name} for name in reversed(names)]
        self.call("WebDriver:PerformActions", actions=[{"type": "key", "id": "keys", "actions": actions}])

    @contextmanager
    def chrome(self) -> Iterator[None]:
        """Speak to the browser's own window in place of the page."""
        self.call("Marionette:SetContext", value="chrome")
        try:
            yield
        finally:
            self.call("Marionette:SetContext", value="content")

    def open(self, url: str) -> Page:
        """Open a tab."""
        page = Page(self, self.call("WebDriver:NewWindow", type="tab", focus=True)["handle"])
        page.go(url)
        return page

    def pages(self) -> list[Page]:
        """Return the pages that are open."""
        return [Page(self, handle) for handle in self.call("WebDriver:GetWindowHandles")]


def _ended() -> bytes:
    raise CallError("Firefox ended")


class Page:
    """One tab."""

    def __init__(self, browser: Firefox, handle: str) -> None:
        self.browser, self.handle = browser, handle

    def call(self, command: str, **parameters: Any) -> Any:
        """Send one command to this page."""
        self.browser.call("WebDriver:SwitchToWindow", handle=self.handle, focus=False)
        return self.browser.call(command, **parameters)

    def go(self, url: str) -> None:
        """Load another page in this tab."""
        self.call("WebDriver:Navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, as the page's own scripts would have it."""
        script = (
            "const [text, done] = arguments; Promise.resolve(window.wrappedJSObject.eval(text)).then(done);"
        )
        # The page's objects are not of this sandbox, so they come as text.
        wrapped = f"(async () => JSON.stringify(await ({expression})) ?? 'null')()"
        options = {"args": [wrapped], "sandbox": "default", "newSandbox": False}
        value = self.call("WebDriver:ExecuteAsyncScript", script=script, **options)["value"]
        return json.loads(value)

    @property
    def url(self) -> str:
        """The address that the browser shows."""
        return str(self.call("WebDriver:GetCurrentURL")["value"])

    def press_button(self) -> None:
        """Press the extension's shortcut."""
        self.call("WebDriver:GetCurrentURL")  # this tab is the one in front
        with self.browser.chrome():
            self.browser.keys(CONTROL, SHIFT, "f")

    def escape(self) -> None:
        """Press Esc in the page."""
        self.call("WebDriver:GetCurrentURL")
        self.browser.keys(ESCAPE)

    def click(self, selector: str) -> None:
        """Click in the middle of an element, as the mouse does."""
        middle = "({x, y, width, height}) => [x + width / 2, y + height / 2]"
        box = f"({middle})({selector}.getBoundingClientRect())"
        x, y = self.evaluate(box)
        actions = [
            {"type": "pointerMove", "x": round(x), "y": round(y), "origin": "viewport"},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        self.call(
            "WebDriver:PerformActions", actions=[{"type": "pointer", "id": "mouse", "actions": actions}]
        )

    def close(self) -> None:
        """Close the tab."""
        self.call("WebDriver:CloseWindow")
