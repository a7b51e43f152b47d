"""What the tests of the status page share: a knowledge base, a supervisor's word for it, and the page in a process."""

from __future__ import annotations

import base64
import contextlib
import http.client
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flow_world import wait_for

from nescord import service_state
from nescord.home import DataFolder, boot_id
from nescord.locks import LockName, Locks
from nescord.service_state import Finding, Phase, ServiceState, State, SupervisorState
from nescord.settings import Settings
from nescord.times import utc_text

TOKEN = "tok-0123456789-ünïcode"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Web:
    """The page in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port

    def ask(self, path: str, *, method: str = "GET", **headers: str) -> Answer:
        """One request on a connection of its own; header names are written with underscores."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.headers.items()), answer.read().decode("utf-8"))

    def ask_with_token(self, path: str, **headers: str) -> Answer:
        return self.ask(path, Authorization=basic(TOKEN), **headers)


def basic(password: str, user: str = "me") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


@contextlib.contextmanager
def serving(data: Path, **environment: str) -> Iterator[Web]:
    """The page on a socket that was bound for it, as the supervisor starts it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "nescord.parent", "5", "nescord.web", str(fd)],
            stdin=subprocess.PIPE,
            pass_fds=(fd,),
            env={**os.environ, "NESCORD_DATA_DIR": str(data), "MALLOC_ARENA_MAX": "2", **environment},
            process_group=0,
        ) as process:
            try:
                yield Web(process, listener.getsockname()[1])
            finally:
                process.kill()


def service(
    name: str, state: State = "ready", *, required: bool = False, reason: str = "", restarts: int = 0, pid: int = 0
) -> ServiceState:
    since = utc_text(datetime.now(UTC) - timedelta(minutes=20))
    return ServiceState(name, state, pid or None, since, restarts, reason, required)


HTTP = service("http", required=True)
WELL = (HTTP, service("chroma"), service("prefect"), service("serve"))


class Supervised:
    """A supervisor's word about a data folder, and the lock for which it counts."""

    def __init__(self, data: Path) -> None:
        self.folder = DataFolder.at(Settings(data_dir=data))
        self.locks = Locks(self.folder.run, timeout=5)

    def says(self, *services: ServiceState, phase: Phase = "running", findings: tuple[Finding, ...] = ()) -> None:
        """Write run/state.json."""
        begun = datetime.now(UTC) - timedelta(hours=3)
        ready = utc_text(begun + timedelta(seconds=40)) if phase == "running" else None
        state = SupervisorState(boot_id(), os.getpid(), phase, utc_text(begun), ready, services, findings)
        service_state.write(self.folder, state)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with self.locks.exclusive(LockName.SERVICE):
            yield


def wait_until(web: Web, path: str, status: int) -> Answer:
    """The answer with that status: what the page knows may be two seconds old."""
    return wait_for(f"{status} at {path}", lambda: answer if (answer := web.ask(path)).status == status else None, 10)


@contextlib.contextmanager
def prefect_with(runs: list[dict[str, Any]], *, hang: float = 0) -> Iterator[str]:
    """A server that speaks as much of Prefect's REST as the page asks; its URL. It knows the deployment `ingest`."""
    answers = {
        "/api/flows/filter": [{"id": "f1", "name": "ingest"}],
        "/api/deployments/filter": [{"id": "d1", "flow_id": "f1", "name": "nescord"}],
        "/api/flow_runs/filter": runs,
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(hang)
            body = json.dumps(answers[self.path]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):  # whoever asked does not wait for ever
                self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/api"
        finally:
            server.shutdown()
