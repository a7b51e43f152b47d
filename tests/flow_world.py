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

from flows.server import PrefectServer, prefect_server

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
    return {artifact["key"]: artifact | {"data": _decoded(artifact)} for artifact in found if artifact["key"]}


def _decoded(artifact: dict[str, Any]) -> Any:
    return json.loads(artifact["data"]) if artifact["type"] == "table" else artifact["data"]


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


def called(
    server: PrefectServer, *calls: tuple[str, Mapping[str, object]], settings: Mapping[str, str] | None = None
) -> list[dict[str, str]]:
    """Call flows (name, parameters) one after the other in a process; `type` and `message` of each state."""
    with started("flow_calls.py", server, calls, settings) as process:
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    states: list[dict[str, str]] = json.loads(output.splitlines()[-1])
    return states


def triggered(server: PrefectServer, name: str, parameters: Mapping[str, object]) -> dict[str, Any]:
    """A run of the flow that `flow_deployed.py` serves, as soon as it does."""

    def deployment() -> Any:
        with contextlib.suppress(AssertionError):
            return ask(server, "GET", f"/deployments/name/{name}/by-hand")

    path = f"/deployments/{wait_for('the deployment', deployment)['id']}/create_flow_run"
    run: dict[str, Any] = ask(server, "POST", path, {"parameters": parameters})
    return run


def cancelled(server: PrefectServer, run: Mapping[str, Any]) -> float:
    """Cancel a run, as the button in the UI does; seconds until it has ended."""
    began = time.monotonic()
    ask(server, "POST", f"/flow_runs/{run['id']}/set_state", {"state": {"type": "CANCELLING"}})
    path = f"/flow_runs/{run['id']}"
    wait_for("it to be cancelled", lambda: ask(server, "GET", path)["state"]["type"] == "CANCELLED", seconds=40)
    return time.monotonic() - began


def events_of(server: PrefectServer, name: str) -> list[dict[str, Any]]:
    """The events of that name, latest first."""
    found = ask(server, "POST", "/events/filter", {"filter": {"event": {"name": [name]}}})
    events: list[dict[str, Any]] = found["events"]
    return events


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


@contextlib.contextmanager
def served_by(script: str, folder: Path, *, deployments: int) -> Iterator[PrefectServer]:
    """A server, and a helper script that serves so many deployments and runs them; its runs have ended at the end."""
    quick = {"PREFECT_RUNNER_POLL_FREQUENCY": "2", "PYTHONPATH": os.environ["PYTHONPATH"]}
    with (
        prefect_server(folder / "prefect") as server,
        (folder / "serve.log").open("w", encoding="utf-8") as output,
        started(script, server, {}, quick, output) as process,
    ):
        wait_for("all to be served", lambda: ask(server, "POST", "/deployments/count") == deployments, seconds=120)
        yield server
        process.terminate()
        process.wait(timeout=60)
        wait_for("its runs to end", lambda: processes_naming(server.env["PREFECT_HOME"]) == [server.pid])


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
