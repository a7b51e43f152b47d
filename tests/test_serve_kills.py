"""Whatever is killed with -9 in the middle of a run: after what was killed is there again, all is as it should be.

No run stays Running, Pending or Cancelling, the slot of the run that was killed is free, and the next scheduled run
comes and completes. Each kill is shown to have hit a run in its middle.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flow_world import wait_for
from serve_world import (
    definitions,
    deployment_of,
    kill_group,
    runs_of_deployment,
    start_serving,
    state_of,
    triggered,
    unfinished,
    until_state,
)
from survival import SOAK

from flows.server import prefect_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200 if SOAK else 900)]

ROUNDS = 20 if SOAK else 1
SWEEP_SECONDS = 5
GRACE_SECONDS = 15
VICTIMS = ("server", "serve", "run", "serve and run", "everything")


class Services:
    """A Prefect server on one folder and `flows.serve` for it, each started anew after it was killed.

    As `nescord services` does it: serve is started again with the server, and whatever is told to stop may not linger.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "serve.log"
        self.marks = folder / "marks"
        self.marks.mkdir()
        parameters = {"parameters": {"marks": str(self.marks)}}
        limit = {"limit": 1, "collision_strategy": "CANCEL_NEW"}
        self._file = definitions(
            folder / "here",
            {**parameters, "entrypoint": "toys.py:slow", "concurrency_limit": limit},
            {**parameters, "entrypoint": "toys.py:outer"},
            {**parameters, "entrypoint": "toys.py:quick", "schedules": [{"slug": "often", "interval": 20}]},
        )
        self._server_life = ExitStack()
        self._served: list[subprocess.Popen[bytes]] = []

    def start_server(self) -> None:
        self._server_life.close()
        self.server = self._server_life.enter_context(prefect_server(self.folder / "prefect"))

    def start_serve(self) -> None:
        began = datetime.now(UTC).isoformat()
        self.serve = start_serving(self.server, self._file, "--sweep-every", str(SWEEP_SECONDS), log=self.log)
        self._served.append(self.serve)
        wait_for("it to serve", lambda: self._polled() > began, 120)

    def stop_serve(self) -> None:
        self.serve.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.serve.wait(GRACE_SECONDS)
        kill_group(self.serve)

    def stop(self) -> None:
        for process in self._served:
            kill_group(process)
        self._server_life.close()

    def _polled(self) -> str:
        assert self.serve.poll() is None, self.log.read_text(encoding="utf-8")
        with suppress(AssertionError):  # not there yet
            return deployment_of(self.server, "slow/toy")["last_polled"] or ""
        return ""


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    running = Services(tmp_path)
    try:
        running.start_server()
        running.start_serve()
        yield running
    finally:
        running.stop()


# One test, since whatever it starts has to end with it.
def test_after_a_kill_nothing_is_stuck(services: Services) -> None:
    for round_ in range(ROUNDS):
        for victim in VICTIMS:
            took = _killed_and_mended(services, victim)
            print(f"round {round_}, {victim}: nothing was stuck {took:.1f} s after it was there again")


def _killed_and_mended(services: Services, victim: str) -> float:
    runs = _begun(services, "slow", "outer")
    _kill(services, victim, [process for _, process in runs])
    mended = datetime.now(UTC).isoformat()

    if victim == "serve":  # what it began goes on, and is left alone
        time.sleep(2 * SWEEP_SECONDS)
        assert [state_of(services.server, run) for run, _ in runs] == ["RUNNING"] * len(runs)
        (services.marks / "enough").touch()
    began = time.monotonic()
    wait_for("all to be over", lambda: not [run for run in unfinished(services.server) if _since(run) < mended], 90)
    took = time.monotonic() - began
    # Prefect's log ends a process whose output nobody reads any more, at the next line that it writes.
    wanted = {"COMPLETED", "CRASHED"} if victim == "serve" else {"CRASHED"}
    assert {state_of(services.server, run) for run, _ in runs} <= wanted, victim
    (services.marks / "enough").unlink(missing_ok=True)

    limit = deployment_of(services.server, "slow/toy")["global_concurrency_limit"]
    assert (limit["limit"], limit["active_slots"]) == (1, 0)
    again = triggered(services.server, "slow/toy", {"marks": str(services.marks), "seconds": 0})
    until_state(services.server, again, "COMPLETED")
    wait_for("the next scheduled run", lambda: _next_scheduled(services, mended), 120)
    assert all(each["active"] for each in deployment_of(services.server, "quick/toy")["schedules"])
    return took


def _begun(services: Services, *flows: str) -> list[tuple[str, int]]:
    """Runs in their middle: their ids and their processes."""
    for mark in services.marks.iterdir():
        mark.unlink()
    started = [triggered(services.server, f"{flow}/toy") for flow in flows]
    runs = []
    for flow, run in zip(flows, started, strict=True):
        name = "inner" if flow == "outer" else flow
        (mark,) = wait_for(f"{flow} to run", lambda name=name: list(services.marks.glob(f"{name}-*")), 120)
        runs.append((run, int(mark.name.rpartition("-")[2])))
        assert state_of(services.server, run) == "RUNNING"
    return runs


def _kill(services: Services, victim: str, processes: list[int]) -> None:
    """Kill, see that it hit, and start again what is gone."""
    assert all(map(_lives, processes))
    if victim == "server":
        os.kill(services.server.pid, signal.SIGKILL)
        wait_for("the server's end", lambda: not _lives(services.server.pid))
        assert all(map(_lives, processes))
        services.start_server()
        services.stop_serve()
        services.start_serve()
    elif victim == "serve":
        services.serve.kill()
        services.serve.wait()
        assert all(map(_lives, processes))
        services.start_serve()
    elif victim == "run":
        for process in processes:
            os.kill(process, signal.SIGKILL)
    elif victim == "serve and run":
        kill_group(services.serve)
        services.start_serve()
    else:  # the machine
        kill_group(services.serve)
        os.kill(services.server.pid, signal.SIGKILL)
        services.start_server()
        services.start_serve()
    assert services.serve.poll() is None
    if victim != "serve":
        wait_for("the end of the runs' processes", lambda: not any(map(_lives, processes)), 10)


def _next_scheduled(services: Services, since: str) -> list[str]:
    runs = runs_of_deployment(services.server, "quick/toy", "COMPLETED")
    return [run["id"] for run in runs if run["auto_scheduled"] and run["expected_start_time"] > since]


def _since(run: dict[str, Any]) -> str:
    return str(run["state"]["timestamp"])


def _lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
