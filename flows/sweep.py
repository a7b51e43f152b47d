"""Runs that nobody works on any more come to an end, and their slots are free.

A run whose process was killed together with `flows.serve` stays Running on the server for ever, one that was taken and
not yet started stays Pending, a cancellation that nobody carries out stays Cancelling. Prefect's heartbeats catch the
first kind only, and only where events are processed. So `flows.serve` sweeps: before it takes its first run, then every
few minutes.

Whether a run lives is asked of the kernel: its process has `PREFECT__FLOW_RUN_ID` in its environment. That says nothing
of other machines, so runs of deployments to a work pool are left to their workers, and with a server elsewhere a run
that beat lately is left alone, too.

The sweep also drops slots that were missed: of several late runs of one deployment only the newest is of use.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter, EventResourceFilter
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow
from prefect.logging import get_logger
from prefect.states import Cancelled, Crashed

from flows.automations import SILENCE

# Between taking a run and the first line of its process lie 4 s, and more than a minute on a machine that is busy.
GRACE = timedelta(minutes=3)

_LOG = get_logger("nescord.sweep")
_PROCESSES = Path("/proc")
_RUN_ID = b"PREFECT__FLOW_RUN_ID="
_PAGE = 200  # the most that the server gives at once
_MENDED = "Run it again; there is nothing to clean up."
_UNFINISHED = (StateType.RUNNING, StateType.PENDING, StateType.CANCELLING)


@dataclass(slots=True)
class Swept:
    """The runs that were brought to an end."""

    crashed: list[FlowRun] = field(default_factory=list)
    cancelled: list[FlowRun] = field(default_factory=list)
    skipped: list[FlowRun] = field(default_factory=list)

    def __str__(self) -> str:
        told = [
            f"{len(runs)} {what} ({', '.join(run.name for run in runs)})"
            for what, runs in (("crashed", self.crashed), ("cancelled", self.cancelled), ("skipped", self.skipped))
            if runs
        ]
        return "; ".join(told) or "nothing"


def sweep(client: SyncPrefectClient, flows: Mapping[str, Flow[..., object]], *, grace: timedelta = GRACE) -> Swept:
    """End the dead runs of these flows, which are served under the names given (`flow/name`), and drop what was missed.

    `grace` is how long a run may be without a process; none at all where nobody is taking runs yet.
    """
    served = _served(client, flows)
    now = datetime.now(UTC)
    processes = _processes()
    kernel_knows = _PROCESSES.is_dir() and _is_here(str(client.api_url))
    swept = Swept()
    for run in _unfinished(client):
        root = run if run.deployment_id else _root(client, run)
        flow = served.get(root.deployment_id) if root and root.deployment_id else None
        if root is None or flow is None or run.state is None:
            continue
        is_over = root is not run and root.state is not None and root.state.is_final()
        lives = not is_over and (
            root.id in processes
            or now - run.state.timestamp < grace
            or (not kernel_knows and _beat_lately(client, root, now))
        )
        if run.state.type == StateType.CANCELLING:
            if now - run.state.timestamp >= grace:  # who began it would have ended it by now
                _end(processes.get(run.id, {}))
            if not lives and _set(client, run, Cancelled(message="Its process is gone.")):
                swept.cancelled.append(run)
            continue
        crash: State[object] = Crashed(message=f"The process of this run is gone. {_MENDED}")
        if not lives and _set(client, run, crash):
            swept.crashed.append(run)
            if run is root:
                _tell(flow, run, crash)
    for run, newest in _missed(client, served, now):
        reason = f"Missed, since nothing was there to run it; the run {newest.name} does its work."
        if _set(client, run, Cancelled(name="Skipped", message=reason)):
            swept.skipped.append(run)
    return swept


def _served(client: SyncPrefectClient, flows: Mapping[str, Flow[..., object]]) -> dict[UUID, Flow[..., object]]:
    """The flows by their deployments, as far as these exist and belong to no work pool."""
    found = {}
    for name, flow in flows.items():
        with suppress(ObjectNotFound):
            deployment = client.read_deployment_by_name(name)
            if deployment.work_pool_name is None:
                found[deployment.id] = flow
    return found


def _unfinished(client: SyncPrefectClient) -> list[FlowRun]:
    found: list[FlowRun] = []
    wanted = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(_UNFINISHED))))
    while page := client.read_flow_runs(flow_run_filter=wanted, limit=_PAGE, offset=len(found)):
        found += page
    return found


def _root(client: SyncPrefectClient, run: FlowRun) -> FlowRun | None:
    """The run in whose process this sub-flow runs."""
    while run.parent_task_run_id is not None:
        try:
            task = client.read_task_run(run.parent_task_run_id)
            if task.flow_run_id is None:
                return None
            run = client.read_flow_run(task.flow_run_id)
        except ObjectNotFound:
            return None
        if run.deployment_id is not None:
            return run
    return None


def _missed(client: SyncPrefectClient, served: Iterable[UUID], now: datetime) -> Iterator[tuple[FlowRun, FlowRun]]:
    """Runs whose time has come and gone, each with the newest such run that does the same."""
    for deployment in served:
        wanted = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])))
        due: dict[str, list[FlowRun]] = {}
        for run in client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])),
            flow_run_filter=wanted,
            limit=_PAGE,
        ):
            if run.auto_scheduled and run.expected_start_time is not None and run.expected_start_time <= now:
                # Not by schedule, which is a new one whenever serving starts: equal parameters are the same work.
                due.setdefault(repr(run.parameters), []).append(run)
        for runs in due.values():
            *older, newest = sorted(runs, key=lambda run: run.expected_start_time or now)
            yield from ((run, newest) for run in older)


def _tell(flow: Flow[..., object], run: FlowRun, state: State[object]) -> None:
    """Run the hooks that the process of the run could not."""
    for hook in flow.on_crashed_hooks:
        try:
            hook(flow, run, state)
        except Exception as error:  # as Prefect does: a hook that fails changes nothing about the run
            _LOG.warning("The hook %r of the run %s failed: %r", hook, run.name, error)


def _set(client: SyncPrefectClient, run: FlowRun, state: State[object]) -> bool:
    """Propose a state; false where the run has ended by itself meanwhile."""
    return client.set_flow_run_state(run.id, state).status == SetStateStatus.ACCEPT


def _processes() -> dict[UUID, dict[int, int]]:
    """The processes of each run that lives on this machine: their numbers and their parents'."""
    found: dict[UUID, dict[int, int]] = {}
    for entry in _PROCESSES.iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError, ValueError):  # it ended meanwhile, or belongs to somebody else
            for variable in (entry / "environ").read_bytes().split(b"\0"):
                if variable.startswith(_RUN_ID):
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    found.setdefault(UUID(variable.removeprefix(_RUN_ID).decode()), {})[int(entry.name)] = parent
    return found


def _end(processes: Mapping[int, int]) -> None:
    """Tell the process of a run to end; what it started ends with it."""
    for process, parent in processes.items():
        if parent not in processes:
            with suppress(OSError):
                os.kill(process, signal.SIGTERM)


def _beat_lately(client: SyncPrefectClient, run: FlowRun, now: datetime) -> bool:
    wanted = EventFilter(
        event=EventNameFilter(name=["prefect.flow-run.heartbeat"]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{run.id}"]),
        occurred=EventOccurredFilter.model_validate({"since": now - SILENCE, "until": now}),
    )
    return bool(client.read_events(wanted, limit=1).events)


def _is_here(url: str) -> bool:
    """Whether the server runs on this machine, as far as its address tells."""
    host = httpx.URL(url).host
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"
