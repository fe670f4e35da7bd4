"""Pages for the browsers of the tests, served on loopback; `127.0.0.1` and `localhost` are two sites."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

LOGIN = """<!doctype html><meta charset=utf-8><title>login</title>
<form action="/login" method=post>
<label>Password <input type=password id=field></label><button>In</button></form>
"""


class Pages:
    """A server of pages that a test puts there by path."""

    def __enter__(self) -> Pages:
        self.text = {"/": LOGIN}
        self.policy = ""
        pages = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = pages.text.get(self.path)
                self.send_response(200 if text is not None else 404)
                kind = "text/javascript" if self.path.endswith(".js") else "text/html; charset=utf-8"
                self.send_header("Content-Type", kind)
                if pages.policy:
                    self.send_header("Content-Security-Policy", pages.policy)
                self.end_headers()
                self.wfile.write((text or "").encode())

            def log_message(self, *args: object) -> None:
                """Print nothing: a test's output has no requests."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        self.other = f"http://localhost:{self.port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()

    def put(self, path: str, body: str) -> str:
        """Serve this page and return its address."""
        self.text[path] = f"<!doctype html><meta charset=utf-8><title>page</title>{body}"
        return self.origin + path
