"""What the tests of serving share: a prefect.yaml with toy flows, serving it, and asking what became of runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from flow_world import ROOT, ask, wait_for

from flows.server import PrefectServer

TOYS = Path(__file__).with_name("toy_flows.py")


def definitions(folder: Path, *deployments: Mapping[str, object]) -> Path:
    """A prefect.yaml in `folder`, beside the toy flows as `toys.py`."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(TOYS, folder / "toys.py")
    common = {"name": "toy", "tags": ["nescord"], "work_pool": {"name": "nescord"}}
    content = {"name": "toys", "deployments": [{**common, **deployment} for deployment in deployments]}
    (folder / "prefect.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder / "prefect.yaml"


def start_serving(
    server: PrefectServer,
    file: Path,
    *arguments: str,
    log: Path,
    settings: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
) -> subprocess.Popen[bytes]:
    """`flows.serve` as a process with a group of its own, in which its runs are, too."""
    quick = {"PREFECT_RUNNER_POLL_FREQUENCY": "1", "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.serve", "--file", str(file), *arguments],
            env={**server.env, **quick, "NESCORD_DATA_DIR": str(file.parent / "kb"), **(settings or {})},
            cwd=cwd,
            stdout=output,
            stderr=output,
            process_group=0,
        )


@contextmanager
def serving(
    server: PrefectServer, file: Path, *arguments: str, log: Path, settings: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """`flows.serve` for the length of a block; it and all runs that it began are killed at the end."""
    process = start_serving(server, file, *arguments, log=log, settings=settings)
    try:
        yield process
    finally:
        kill_group(process)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it started, with no chance to say anything."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


def insist(server: PrefectServer, method: str, path: str, body: object = None) -> Any:
    """Ask as Prefect's own clients do: a server whose SQLite is busy says 503, and is asked again."""
    for _ in range(20):
        try:
            return ask(server, method, path, body)
        except json.JSONDecodeError:  # a good answer without a body
            return None
        except AssertionError as error:
            if ": 503 " not in str(error):
                raise
            time.sleep(0.5)
    raise AssertionError(f"{method} {path}: 503 again and again")


def deployment_of(server: PrefectServer, name: str) -> dict[str, Any]:
    """The deployment `flow/name` as the server reports it."""
    found: dict[str, Any] = insist(server, "GET", f"/deployments/name/{name}")
    return found


def is_served(server: PrefectServer, process: subprocess.Popen[bytes], log: Path, name: str) -> bool:
    """Whether the process has registered this deployment and asks for its runs: the server notes when it was asked."""
    assert process.poll() is None, log.read_text(encoding="utf-8")
    flow, _, deployment = name.partition("/")
    wanted = {"flows": {"name": {"any_": [flow]}}, "deployments": {"name": {"any_": [deployment]}}}
    return any(each["last_polled"] for each in insist(server, "POST", "/deployments/filter", wanted))


def runs_of_deployment(server: PrefectServer, name: str, *states: str, late: bool = False) -> list[dict[str, Any]]:
    """The runs of `flow/deployment`, those in certain states, or those among them whose time has come."""
    flow, _, deployment = name.partition("/")
    flow_runs: dict[str, Any] = {}
    if states:
        flow_runs["state"] = {"type": {"any_": list(states)}}
    if late:
        flow_runs["expected_start_time"] = {"before_": datetime.now(UTC).isoformat()}
    wanted = {
        "flows": {"name": {"any_": [flow]}},
        "deployments": {"name": {"any_": [deployment]}},
        "flow_runs": flow_runs,
        "sort": "EXPECTED_START_TIME_ASC",
    }
    found: list[dict[str, Any]] = insist(server, "POST", "/flow_runs/filter", wanted)
    return found


def triggered(server: PrefectServer, name: str, parameters: Mapping[str, object] | None = None) -> str:
    """Start a run by hand; its id."""
    deployment = deployment_of(server, name)
    wanted = {"parameters": parameters or {}, "idempotency_key": str(uuid.uuid4())}
    run = insist(server, "POST", f"/deployments/{deployment['id']}/create_flow_run", wanted)
    return str(run["id"])


def state_of(server: PrefectServer, run: str) -> str:
    """The type of the state of a run."""
    return str(insist(server, "GET", f"/flow_runs/{run}")["state_type"])


def until_state(server: PrefectServer, run: str, *wanted: str, seconds: float = 120) -> str:
    """Wait for one of these states."""
    return wait_for(
        f"{' or '.join(wanted)}", lambda: state if (state := state_of(server, run)) in wanted else "", seconds
    )


def unfinished(server: PrefectServer) -> list[dict[str, Any]]:
    """All runs that somebody should be working on."""
    wanted = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}}
    found: list[dict[str, Any]] = insist(server, "POST", "/flow_runs/filter", wanted)
    return found
