"""A server that never ends its answer: a byte that says nothing comes again and again, as from a proxy gone wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Dripping:
    """`sent` counts the bytes that said nothing."""

    url: str = ""
    sent: int = 0
    ending: threading.Event = field(default_factory=threading.Event)


@contextmanager
def dripping(beginning: bytes = b"", every: float = 0.1) -> Iterator[Dripping]:
    """It answers each POST with `beginning` and then with blanks."""
    state = Dripping()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            try:
                self.wfile.write(beginning)
                while not state.ending.wait(every):
                    self.wfile.write(b" ")
                    state.sent += 1
            except OSError:
                pass  # who asked has gone

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        state.ending.set()
        server.shutdown()
        thread.join()
        server.server_close()
