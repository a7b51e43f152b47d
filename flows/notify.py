"""The hooks of every flow: a failure, a crash and a recovery are told to people (`nescord.notifying`).

Prefect calls a hook with `flow`, `flow_run` and `state`, by these names. That of a crash is called by the process that
serves the flows when the run's own was killed. A hook never fails a run; what it could not do is in the run's log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging.loggers import flow_run_logger

from flows.common import PartsFailedError, settings_of
from nescord import Settings, notifying
from nescord.notifying_texts import Told

# These see a backup that is too old, whoever should have made it.
_WATCHERS = frozenset({"verify", "nightly"})
AnyFlow = Flow[..., Any]  # Any: whatever a flow returns
AnyState = State[Any]


def on_failure(flow: AnyFlow, flow_run: FlowRun, state: AnyState) -> None:
    """Tell that a flow fails, if that is news."""
    error = _error_of(state)
    # Its sub-flows have told why themselves.
    if not isinstance(error, PartsFailedError):
        _tell(flow_run, lambda settings: notifying.failed(settings, Told(flow.name, error, run=flow_run.name)))
    _watch(flow, flow_run)


def on_crashed(flow: AnyFlow, flow_run: FlowRun, state: AnyState) -> None:
    """Tell that the process of a run ended in its midst, if that is news."""
    _tell(flow_run, lambda settings: notifying.failed(settings, Told(flow.name, crashed=True, run=flow_run.name)))


def on_completion(flow: AnyFlow, flow_run: FlowRun, state: AnyState) -> None:
    """Tell that a flow works again, if it was told that it does not."""
    _tell(flow_run, lambda settings: notifying.recovered(settings, flow.name))
    _watch(flow, flow_run)


def _watch(flow: AnyFlow, flow_run: FlowRun) -> None:
    if flow.name in _WATCHERS:
        _tell(flow_run, notifying.watch_backup_age)


def _tell(flow_run: FlowRun, tell: Callable[[Settings], str]) -> None:
    try:
        problem = tell(settings_of(flow_run.parameters.get("data_dir")))
    except Exception as error:  # whatever it is, the run's own ending counts
        problem = f"{type(error).__name__}: {error}"
    if problem:
        flow_run_logger(flow_run).warning("Discord was not told: %s", problem)


def _error_of(state: AnyState) -> object:
    """What a run of this process has failed with: in its result record, else as it is."""
    return getattr(state.data, "result", state.data)
