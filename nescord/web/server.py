"""HTTP for one small site: GET and HEAD, a few connections at a time, none of them for long.

The standard library's server, kept on a short leash: it is reachable from the internet, and its process must stay
small and answer the platform's health check whatever else is asked of it.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import SplitResult, urlsplit

MOST_CONNECTIONS = 32
# A connection that says nothing for so long is closed, in seconds; and any after so long, however it drips.
IDLE = 10.0
LONGEST = 60.0
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\nConnection: close\r\n\r\nbusy\n"
_TEXT = "text/plain; charset=utf-8"
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked: the address, and the header fields that matter here, "" where they are missing."""

    url: SplitResult
    authorization: str = ""
    languages: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered."""

    status: int
    body: str
    content_type: str = _TEXT
    headers: Mapping[str, str] = field(default_factory=dict)


class StatusServer(ThreadingHTTPServer):
    """Serves on a socket that listens already. A context manager."""

    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        listener: socket.socket,
        answer: Callable[[Request], Answer],
        *,
        most: int = MOST_CONNECTIONS,
        idle: float = IDLE,
        longest: float = LONGEST,
    ) -> None:
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.answer = answer
        self.idle = idle
        self._longest = longest
        self._most = most
        self._open: dict[socket.socket, float] = {}
        self._changing = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for it, unless there are enough."""
        with self._changing:
            has_room = len(self._open) < self._most
            if has_room:
                self._open[request] = time.monotonic()
        if has_room:
            super().process_request(request, client_address)
            return
        request.settimeout(0)
        try:
            request.sendall(_BUSY)
        finally:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """It is done with."""
        with self._changing:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called twice a second: close what has been open for too long."""
        old = time.monotonic() - self._longest
        with self._changing:
            late = [each for each, since in self._open.items() if since < old]
            for each in late:
                try:
                    each.shutdown(socket.SHUT_RDWR)  # its thread then meets the end, and closes it
                except OSError:
                    continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is nobody's fault; anything else is a bug, and is told."""
        if not isinstance(sys.exception(), OSError):
            sys.stderr.write(traceback.format_exc())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StatusServer

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.idle)

    def do_GET(self) -> None:
        # What comes after a body that nobody reads would be taken for the next request.
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True
        self._send(self._answer())

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self) -> Answer:
        try:
            url = urlsplit(self.path)
        except ValueError:
            return Answer(400, "bad address\n")
        request = Request(url, self.headers.get("Authorization", ""), self.headers.get("Accept-Language", ""))
        try:
            return self.server.answer(request)
        except Exception:  # whatever it is: who asks is told, and so is the log, and the next may be answered
            sys.stderr.write(traceback.format_exc())
            return Answer(500, "this page has failed; the log of the service says why\n")

    def _send(self, answer: Answer) -> None:
        body = answer.body.encode("utf-8")
        self.send_response(answer.status)
        for name, value in {**_HEADERS, **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the standard library refuses by itself, in plain words; it knows no 405."""
        self.close_connection = True
        self.request_version = self.protocol_version  # what was asked in no version is still answered in ours
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self._send(Answer(405, "only GET and HEAD\n", headers={"Allow": "GET, HEAD"}))
        else:
            self._send(Answer(code, f"{HTTPStatus(code).phrase.lower()}\n"))

    def version_string(self) -> str:
        return "nescord"

    def log_message(self, *arguments: object) -> None:
        """Health checks would fill the log."""
