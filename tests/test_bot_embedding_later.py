"""What is kept through the bot is embedded soon: one run a minute, and no reply waits for it or fails with it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bot.embedding_later import EmbeddingLater, asked
from nescord import Settings
from nescord.errors import ServiceUnavailableError
from tests.command_world import bot_world

FLOW = {"id": "f1", "name": "ingest"}
DEPLOYMENT = {"id": "d1", "flow_id": "f1", "name": "nescord", "status": "READY"}
RUN = {"id": "r1", "name": "able-owl", "flow_id": "f1"}


@contextmanager
def prefect_server() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """As much of Prefect's REST interface as asking for a run needs; and what was asked for."""
    runs: list[dict[str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer: object = {"/api/flows/filter": [FLOW], "/api/deployments/filter": [DEPLOYMENT]}.get(self.path)
            if self.path == "/api/deployments/d1/create_flow_run":
                runs.append(body)
                answer = RUN
            content = json.dumps(answer).encode()
            self.send_response(404 if answer is None else 201)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/api", runs
        finally:
            server.shutdown()
            thread.join()


class Minutes:
    """A clock that stands, and rests that end when the test says so."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 12, 0, 20, tzinfo=UTC)
        self.rests: list[float] = []
        self.asked: list[str] = []
        self.has_asked = threading.Semaphore(0)
        self.is_over = threading.Semaphore(0)
        self.fails = False

    def ask(self, _: Settings, minute: str) -> None:
        self.asked.append(minute)
        self.has_asked.release()
        if self.fails:
            raise ServiceUnavailableError("no server")

    def rest(self, seconds: float) -> None:
        self.rests.append(seconds)
        assert self.is_over.acquire(timeout=10)

    def later(self, folder: Path) -> EmbeddingLater:
        return EmbeddingLater(Settings(data_dir=folder), ask=self.ask, rest=self.rest, now=lambda: self.now)

    def wait_asked(self) -> None:
        assert self.has_asked.acquire(timeout=10)


def test_however_many_notes_are_kept_one_run_a_minute_is_asked_for(tmp_path: Path) -> None:
    minutes = Minutes()
    later = minutes.later(tmp_path)
    later.soon()
    minutes.wait_asked()
    for _ in range(100):
        later.soon()
    assert minutes.asked == ["2026-01-31T12:00Z"]
    minutes.now = datetime(2026, 1, 31, 12, 1, tzinfo=UTC)
    minutes.is_over.release()
    minutes.wait_asked()
    assert minutes.asked == ["2026-01-31T12:00Z", "2026-01-31T12:01Z"]
    assert minutes.rests[0] == 40
    minutes.is_over.release(2)


def test_that_there_is_no_server_stops_nothing(tmp_path: Path) -> None:
    minutes = Minutes()
    minutes.fails = True
    later = minutes.later(tmp_path)
    later.soon()
    minutes.wait_asked()
    later.soon()
    minutes.is_over.release()
    minutes.wait_asked()
    minutes.is_over.release(2)
    assert len(minutes.asked) == 2


def test_a_run_of_ingest_is_asked_for_with_the_minute_as_its_key(tmp_path: Path) -> None:
    with prefect_server() as (url, runs):
        asked(Settings(data_dir=tmp_path / "kb", prefect_api_url=url), "2026-01-31T12:00Z")
    assert runs == [{"parameters": {}, "idempotency_key": "discord-ingest-2026-01-31T12:00Z"}]


def test_a_note_kept_in_discord_asks_for_a_run_and_is_answered_without_a_server_too(tmp_path: Path) -> None:
    with prefect_server() as (url, runs), bot_world(tmp_path) as world, world.bot(prefect_api_url=url):
        world.answer(world.ada, "note add", text="one")
        world.answer(world.ada, "note add", text="two")
        until = time.monotonic() + 10
        while not runs:
            assert time.monotonic() < until
            time.sleep(0.02)
        assert runs[0]["parameters"] == {}
    with bot_world(tmp_path / "without") as world, world.bot(prefect_api_url="http://127.0.0.1:9/api"):
        assert "Kept" in world.answer(world.ada, "note add", text="three").text
