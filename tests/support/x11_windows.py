"""Windows of more toolkits that write down what they are typed: Qt, Tk and Chromium."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from support.x11 import Recorder, RecordingGtkEntry, end, wait_until

_COMMON = """
import os, sys
path, title = sys.argv[1:3]

def number():
    return os.read(0, 4096).split()[-1].decode()

def cleared(which):
    open(path + "." + which, "w").close()

def write(text):
    with open(path + ".new", "w", encoding="utf-8", errors="surrogatepass", newline="") as file:
        file.write(text)
    os.replace(path + ".new", path)
"""

_QT = (
    _COMMON
    + """
from PyQt5.QtCore import QSocketNotifier, QTimer
from PyQt5.QtWidgets import QApplication, QLineEdit
app = QApplication([])
entry = QLineEdit()
entry.setWindowTitle(title)
entry.textChanged.connect(lambda text: later.start(0))
later = QTimer(singleShot=True)
later.timeout.connect(lambda: write(entry.text()))

def clear():  # a new test
    which = number()
    entry.clear()
    write("")
    cleared(which)

told = QSocketNotifier(0, QSocketNotifier.Read)
told.activated.connect(clear)
entry.show()
write("")
open(path + ".ready", "w").close()
app.exec_()
"""
)

_TK = (
    _COMMON
    + """
import tkinter
window = tkinter.Tk()
window.title(title)
text = tkinter.StringVar()
entry = tkinter.Entry(window, textvariable=text)
entry.pack()
entry.focus_set()
waiting = []

def changed(*_):
    if not waiting:
        waiting.append(window.after_idle(now))

def now():
    waiting.clear()
    write(text.get())

def clear(*_):
    which = number()
    text.set("")
    write("")
    cleared(which)

text.trace_add("write", changed)
write("")
window.update()
window.createfilehandler(0, tkinter.READABLE, clear)
open(path + ".ready", "w").close()
window.mainloop()
"""
)


class RecordingQtEntry(RecordingGtkEntry):
    """A Qt 5 line edit."""

    title = "recording-qt"
    script = _QT


class RecordingTkEntry(RecordingGtkEntry):
    """A Tk 8.6 entry."""

    title = "recording-tk"
    script = _TK


_PAGE = """<!doctype html><meta charset=utf-8><title>recording-page</title><input id=field autofocus>
<script>
const field = document.getElementById("field");
let round = 0, sending = false, again = false;
async function send() {  // many keys at once are sent once
  if (sending) { again = true; return; }
  sending = true;
  do { again = false; await fetch("/typed/" + round, {method: "POST", body: field.value}); } while (again);
  sending = false;
}
async function listen() {
  for (;;) {  // answered when a new round begins
    round = Number(await (await fetch("/round/" + round)).text());
    field.value = "";
    field.focus();
    await fetch("/typed/" + round, {method: "POST", body: ""});
  }
}
field.addEventListener("input", send);
listen();
</script>"""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing when the browser has ended: it does so during a request."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class RecordingPage(Recorder):
    """An input of a page in Chromium, which posts its value to this process over loopback."""

    title = "recording-page"

    def __enter__(self) -> RecordingPage:
        self._round = 1
        self._typed: tuple[int, str] = (0, "")
        self._begun = threading.Condition()
        self._http = _Server(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self._folder = tempfile.TemporaryDirectory(prefix="novakey-window-", ignore_cleanup_errors=True)
        argv = [
            *("chromium", "--no-sandbox", "--no-first-run", "--disable-gpu", "--ozone-platform=x11"),
            *("--disable-dev-shm-usage", "--password-store=basic", f"--user-data-dir={self._folder.name}"),
            *("--disable-component-update", "--disable-background-networking", "--disable-sync"),
            f"--app=http://127.0.0.1:{self._http.server_address[1]}/",
        ]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(argv, env={**self.server.env, "HOME": self._folder.name}, **quiet)
        try:
            wait_until(lambda: self._typed[0] == self._round, "the page", 60)
            wait_until(self._found, "its window")
            self.window = self._found()[-1]
            self._focus()
            self.clear()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end(self.process)
        self._http.shutdown()
        self._http.server_close()
        self._folder.cleanup()

    def text(self) -> str:
        """See `Recorder.text`."""
        return self._typed[1]

    def clear(self) -> None:
        """See `Recorder.clear`."""
        with self._begun:
            self._round += 1
            self._begun.notify_all()
        wait_until(lambda: self._typed == (self._round, ""), "an empty input")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not self.path.startswith("/round/"):
                    return self._answer(_PAGE.encode(), "text/html; charset=utf-8")
                with recorder._begun:
                    recorder._begun.wait_for(lambda: str(recorder._round) != self.path.split("/")[2], 60)
                    return self._answer(str(recorder._round).encode(), "text/plain")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                if self.path == f"/typed/{recorder._round}":
                    recorder._typed = (recorder._round, body)
                self._answer(b"", "text/plain")

            def _answer(self, body: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Nothing is printed."""

        return Handler
