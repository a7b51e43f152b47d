"""What the tests of the flows share: asking the server over its REST interface, and looking for processes."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

from flows.server import PrefectServer

ROOT = Path(__file__).resolve().parent.parent
VAULT = ROOT / "data" / "sample" / "vault"
T = TypeVar("T")


def ask(server: PrefectServer, method: str, path: str, body: object = None, *, password: str | None = None) -> Any:
    """The decoded answer of the server to one request, AssertionError unless it is a good one."""
    url = urlsplit(server.api_url)
    secret = server.env["PREFECT_API_AUTH_STRING"] if password is None else password
    headers = {"Authorization": "Basic " + base64.b64encode(secret.encode()).decode()}
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=30)
    with contextlib.closing(connection):
        connection.request(
            method, url.path + path, json.dumps(body or {}), headers | {"Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        text = answer.read().decode("utf-8")
    assert answer.status < 300, f"{method} {path}: {answer.status} {text}"
    return json.loads(text)


def runs_of(server: PrefectServer, data_dir: Path) -> list[dict[str, Any]]:
    """The flow runs into one data folder, oldest first."""
    runs = ask(server, "POST", "/flow_runs/filter", {"sort": "START_TIME_ASC"})
    return [run for run in runs if run["parameters"].get("data_dir") == str(data_dir)]


def tasks_of(server: PrefectServer, run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The task runs of a flow run, by the name of the task."""
    tasks = ask(server, "POST", "/task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    return {task["name"].rpartition("-")[0]: task for task in tasks}


def artifacts_of(server: PrefectServer, run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The artifacts of a flow run by key, their tables decoded."""
    found = ask(server, "POST", "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    return {artifact["key"]: artifact | {"data": json.loads(artifact["data"])} for artifact in found}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a process ended, what it printed, and of that what its runs returned and the slow modules it imported."""

    code: int
    output: str
    errors: str

    @property
    def summaries(self) -> list[dict[str, Any]]:
        summaries: list[dict[str, Any]] = json.loads(self.output.splitlines()[0])
        return summaries

    @property
    def imported(self) -> list[str]:
        imported: list[str] = json.loads(self.output.splitlines()[1])
        return imported


def ingest_once(
    server: PrefectServer, *parameters: Mapping[str, object], settings: Mapping[str, str] | None = None
) -> Outcome:
    """Run the flow in a process of its own, once for each set of parameters."""
    with started("flow_once.py", server, parameters, settings) as process:
        output, errors = process.communicate(timeout=120)
    return Outcome(process.returncode, output, errors)


@contextlib.contextmanager
def started(
    script: str,
    server: PrefectServer,
    parameters: object,
    settings: Mapping[str, str] | None = None,
    output: IO[str] | int = subprocess.PIPE,
) -> Iterator[subprocess.Popen[str]]:
    """A helper script as a client of a server; it and its children are killed if they still run at the end."""
    with subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / script), json.dumps(parameters)],
        env={**server.env, **(settings or {})},
        cwd=ROOT,
        text=True,
        stdout=output,
        stderr=output,
        process_group=0,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def wait_for(what: str, look: Callable[[], T], seconds: float = 60) -> T:
    """The first true answer of `look`."""
    deadline = time.monotonic() + seconds
    while not (answer := look()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.2)
    return answer


def processes_naming(text: str) -> list[int]:
    """The processes, but this one, whose command line or environment names `text`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                seen = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                # A zombie reads as empty: it is dead, whoever should reap it.
                if text.encode() in seen:
                    found.append(int(entry.name))
    return found
