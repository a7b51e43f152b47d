"""An HTTP proxy on the loopback, in front of an S3 server, whose answers go wrong as told.

It passes requests on as they are (the signature covers the Host header, too) and answers with what came back, but for
the requests that a fault strikes. `struck` counts those, so that a test can assert that its fault happened.
"""

from __future__ import annotations

import http.client
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["reset", "slow", "error", "unavailable", "full", "lost answer", "truncated", "wrong bytes"]
"""reset: the connection breaks before anything is done. slow: `delay` seconds before the answer and before each 64 KiB
of the bodies, both ways.
error, unavailable: 500, 503. full: the bucket takes no more, 400 QuotaExceeded as of several vendors.
lost answer: it was done, and the connection breaks before the answer. truncated: it breaks half-way through the answer.
wrong bytes: one byte of the body is another, its length and headers stay."""

_PIECE = 64 * 1024
_WRITES = frozenset({"PUT", "POST"})
_METHODS: dict[Fault, frozenset[str]] = {
    "full": _WRITES,
    "truncated": frozenset({"GET"}),
    "wrong bytes": frozenset({"GET"}),
}
_ANSWERS: dict[Fault, tuple[int, str]] = {
    "error": (500, "InternalError"),
    "unavailable": (503, "SlowDown"),
    "full": (400, "QuotaExceeded"),
}


@dataclass(slots=True)
class _Plan:
    fault: Fault
    times: int | None
    after: int
    methods: frozenset[str] | None
    key: str
    delay: float

    def strikes(self, method: str, path: str) -> bool:
        """Whether this request is one of those it was made for; counts it."""
        if (self.methods and method not in self.methods) or self.key not in path or self.times == 0:
            return False
        if self.fault == "wrong bytes" and path.strip("/").count("/") == 0:
            return False  # a listing, not an object
        if self.after:
            self.after -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


class FaultyProxy:
    """A context manager. One fault at a time; without any it only passes on."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.struck: Counter[Fault] = Counter()
        """How many requests each fault has struck."""

        self.requests: Counter[str] = Counter()
        """How many requests came, by method."""

        self._plan: _Plan | None = None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server: _Server | None = None
        self._port = 0

    def __enter__(self) -> FaultyProxy:
        self._start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def cause(
        self,
        fault: Fault,
        *,
        times: int | None = None,
        after: int = 0,
        methods: frozenset[str] | None = None,
        key: str = "",
        delay: float = 0.1,
    ) -> None:
        """From now on this fault strikes, in place of any other: all requests, or `times` of them, `after` so many.

        Only those with one of the `methods` count (by default all that the fault makes sense for), and only those
        with `key` in their path.
        """
        with self._lock:
            self._plan = _Plan(fault, times, after, methods or _METHODS.get(fault), key, delay)

    def heal(self) -> None:
        with self._lock:
            self._plan = None

    @contextmanager
    def outage(self) -> Iterator[None]:
        """While the block runs nobody listens, and open connections are broken."""
        self._stop()
        try:
            with socket.socket() as client:
                assert client.connect_ex(("127.0.0.1", self._port)) != 0, "somebody else listens there"
            yield
        finally:
            self._start()

    def struck_by(self, method: str, path: str) -> tuple[Fault | None, float]:
        """The fault of this request, if any, and the delay."""
        with self._lock:
            self.requests[method] += 1
            plan = self._plan
            if plan is None or not plan.strikes(method, path):
                return None, 0
            self.struck[plan.fault] += 1
            return plan.fault, plan.delay if plan.fault == "slow" else 0

    def wait(self, seconds: float) -> None:
        """Sleep; ConnectionResetError when the proxy ends or an outage begins meanwhile."""
        if self._closing.wait(seconds):
            raise ConnectionResetError("the proxy ends")

    def _start(self) -> None:
        self._closing.clear()
        self._server = _Server(self, self._port)
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def _stop(self) -> None:
        assert self._server is not None
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.break_connections()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for them

    def __init__(self, proxy: FaultyProxy, port: int) -> None:
        self.proxy = proxy
        self._open: set[socket.socket] = set()
        self._opening = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:  # type: ignore[override]
        with self._opening:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        with self._opening:
            self._open.discard(request)
        super().shutdown_request(request)

    def break_connections(self) -> None:
        with self._opening:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up, or a server that is gone: the client sees it, nobody else needs to."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_any(self) -> None:
        proxy = self.server.proxy
        fault, delay = proxy.struck_by(self.command, self.path)
        if fault == "reset":
            self.close_connection = True
            return
        body = self._read_body(delay)
        if fault in _ANSWERS:
            self._answer(*_ANSWERS[fault])
            return
        upstream = http.client.HTTPConnection(proxy.upstream, timeout=30)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                upstream.putheader(name, value)
            upstream.endheaders(body)
            answer = upstream.getresponse()
            content = answer.read()
        finally:
            upstream.close()
        if fault == "lost answer":
            self.close_connection = True
            return
        self._pass_on(answer, content, fault, delay)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_any  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _read_body(self, delay: float) -> bytes:
        left = int(self.headers.get("Content-Length") or 0)
        pieces = []
        while left:
            self.server.proxy.wait(delay)
            pieces.append(self.rfile.read(min(left, _PIECE)))
            if not pieces[-1]:
                raise ConnectionResetError("the client hung up")
            left -= len(pieces[-1])
        return b"".join(pieces)

    def _answer(self, status: int, code: str) -> None:
        content = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>by order</Message></Error>'.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _pass_on(self, answer: http.client.HTTPResponse, content: bytes, fault: Fault | None, delay: float) -> None:
        if fault == "wrong bytes" and content:
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        self.server.proxy.wait(delay)
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        if length is not None and answer.status != 204:
            self.send_header("Content-Length", length)
        self.end_headers()
        if fault == "truncated":
            content = content[: len(content) // 2]
            self.close_connection = True
        for start in range(0, len(content), _PIECE):
            self.server.proxy.wait(delay)
            self.wfile.write(content[start : start + _PIECE])
