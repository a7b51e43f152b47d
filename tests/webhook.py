"""A server that takes what is posted to a webhook, and answers as it is told to: in place of Discord."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Webhook:
    """`answers` are (status, body, seconds to think) for the next requests, then it is 204 at once."""

    url: str
    answers: list[tuple[int, str, float]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        return [request["content"] for request in self.requests]


@contextmanager
def webhook() -> Iterator[Webhook]:
    """A webhook on a free port of the loopback, for the length of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.headers.append(dict(self.headers))
            hook.requests.append(json.loads(body))
            status, text, seconds = hook.answers.pop(0) if hook.answers else (204, "", 0.0)
            time.sleep(seconds)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def handle(self) -> None:
            with suppress(ConnectionError):  # who asked has given up
                super().handle()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook = Webhook(f"http://127.0.0.1:{server.server_port}/api/webhooks/1/s3cret")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
