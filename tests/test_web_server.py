"""The HTTP server under the status page: what it refuses, and that nobody can keep it busy for long."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from flow_world import wait_for

from nescord.web.lookout import Lookout
from nescord.web.server import Answer, Request, StatusServer

GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"


def _echo(request: Request) -> Answer:
    if request.url.path == "/bug":
        raise ZeroDivisionError
    return Answer(200, f"{request.url.path} {request.url.query} {request.languages} あ\n")


@contextlib.contextmanager
def _serving(answer: Callable[[Request], Answer] = _echo, **limits: float) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    with StatusServer(listener, answer, **limits) as server:  # type: ignore[arg-type]  # most is an int
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def _connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        yield connection


def _said(connection: socket.socket) -> bytes:
    """Everything until the other side closes."""
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while some := connection.recv(65536):
            said += some
    return said


def _asked(port: int, request: bytes) -> tuple[int, bytes, bytes]:
    """Status, head and body of the answer to what is sent; the connection is closed by the server."""
    with _connected(port) as connection:
        connection.sendall(request)
        head, _, body = _said(connection).partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), head, body


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with _serving() as bound:
        yield bound


def test_two_requests_on_one_connection(port: int) -> None:
    last = GET.replace(b"\r\n\r\n", b"\r\nAccept-Language: ja\r\nConnection: close\r\n\r\n")
    _, _, said = _asked(port, GET + last)
    assert said.count(b"/a b=c") == 2
    assert "ja あ\n".encode() in said


def test_head_has_the_length_and_no_body(port: int) -> None:
    status, head, body = _asked(port, b"HEAD /a HTTP/1.0\r\n\r\n")
    assert (status, body) == (200, b"")
    assert b"Content-Length: 9" in head


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", 405),
        (b"DELETE / HTTP/1.1\r\n\r\n", 405),
        (b"CONNECT evil.example:443 HTTP/1.1\r\n\r\n", 405),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"GET http://[ HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET /bug HTTP/1.1\r\nConnection: close\r\n\r\n", 500),
    ],
)
def test_what_is_refused(request_line: bytes, status: int, port: int, capfd: pytest.CaptureFixture[str]) -> None:
    found, head, body = _asked(port, request_line)
    assert found == status
    assert b"Content-Type: text/plain" in head
    assert b"<" not in body
    assert (b"Allow: GET, HEAD" in head) is (status == 405)
    assert ("ZeroDivisionError" in capfd.readouterr().err) is (status == 500)


def test_a_body_is_not_taken_for_the_next_request(port: int) -> None:
    """Whoever stands before us may have let it through as a body."""
    hidden = b"GET /hidden HTTP/1.1\r\n\r\n"
    _, _, said = _asked(port, b"GET /a HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(hidden) + hidden)
    assert b"hidden" not in said


def test_who_says_nothing_is_sent_away() -> None:
    with _serving(idle=0.2) as port, _connected(port) as silent:
        begun = time.monotonic()
        assert _said(silent) == b""
        assert time.monotonic() - begun < 5


def test_who_drips_is_sent_away() -> None:
    with _serving(idle=5, longest=0.5) as port, _connected(port) as dripping:
        begun = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - begun < 10:
                dripping.sendall(b"G")
                time.sleep(0.05)
        assert time.monotonic() - begun < 5


def test_beyond_the_most_connections_it_says_busy_and_recovers() -> None:
    with _serving(most=2, idle=20) as port, contextlib.ExitStack() as held:
        for _ in range(2):
            held.enter_context(_connected(port))
        wait_for("busy", lambda: _asked(port, b"")[0] == 503, 5)
        held.close()
        close = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        wait_for("room again", lambda: _asked(port, close)[0] == 200, 5)


def test_a_look_that_hangs_is_waited_for_once_and_its_answer_counts_when_it_comes() -> None:
    go_on = threading.Event()
    looks = []

    def look() -> str:
        looks.append(1)
        go_on.wait(20)
        return "found"

    lookout = Lookout("test", look, keep=60, patience=0.4)
    begun = time.monotonic()
    assert lookout.latest() is None
    assert 0.4 <= time.monotonic() - begun < 5
    begun = time.monotonic()
    for _ in range(100):
        assert lookout.latest() is None
    assert time.monotonic() - begun < 0.4
    go_on.set()
    wait_for("the answer", lambda: lookout.latest() == "found", 5)
    assert looks == [1]


def test_many_at_once_are_all_answered(port: int) -> None:
    statuses = []
    close = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

    def ask() -> None:
        for _ in range(20):
            statuses.append(_asked(port, close)[0])

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert statuses == [200] * 200
