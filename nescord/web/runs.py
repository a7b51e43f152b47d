"""The latest runs of the flows, asked of Prefect over REST."""

from __future__ import annotations

from dataclasses import dataclass

from nescord.errors import NescordError
from nescord.prefect_api import PrefectApi, find_server
from nescord.settings import Settings

_SHOWN = 8
_BEGUN = ["RUNNING", "PENDING", "COMPLETED", "FAILED", "CRASHED", "CANCELLING", "CANCELLED"]


@dataclass(frozen=True, slots=True)
class FlowRun:
    """One run. `began` is as the server writes it, "" where it has not begun."""

    flow: str
    state: str
    began: str
    seconds: float


def latest_runs(settings: Settings) -> tuple[FlowRun, ...] | None:
    """The latest first, without those that a run has begun itself; None when the server is away."""
    where = {"state": {"type": {"any_": _BEGUN}}, "parent_task_run_id": {"is_null_": True}}
    try:
        with PrefectApi(find_server(settings)) as api:
            flows = {each.id: each.flow for each in api.deployments()}
            found = api.runs(where, sort="START_TIME_DESC", limit=_SHOWN)
    except (NescordError, ValueError, KeyError):  # the last two: it is another server than Prefect's
        return None
    return tuple(FlowRun(flows.get(run.deployment_id, run.name), run.state, run.started, run.seconds) for run in found)
