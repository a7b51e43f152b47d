"""`nescord flows …`: what runs in the background, seen and steered from here, over the server's REST interface."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from nescord.cli.call import Call, DataDir, Json
from nescord.cli.output import Part, Screen, emit, say

if TYPE_CHECKING:
    from nescord.prefect_api import Deployment, LogLine, PrefectApi, Run

_INTERRUPTED = 130
_FAILED = 1
_PAUSE = 1.0
# A run sends its last lines when it ends, and the server takes a moment to keep them.
_LOGS_SETTLE = 1.0
# Lines of different processes arrive out of order by about as much as they are held back before they are sent.
_LATE = timedelta(seconds=15)
_CANCEL_SECONDS = 15.0
_RUNS_SHOWN = 3
# States whose message says why.
_WHY = frozenset({"FAILED", "CRASHED", "CANCELLED"})
_STYLES = {"COMPLETED": "green", "FAILED": "bold red", "CRASHED": "bold red", "RUNNING": "cyan", "CANCELLED": "yellow"}

RunName = Annotated[str, typer.Argument(metavar="RUN", help="The id or the name of the run.")]


def list_(context: typer.Context, data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the flows that can be run, with their parameters and whether a schedule begins them."""
    call = Call.of(context, data_dir, as_json)
    with _api(call) as api:
        found = api.deployments()
    if call.as_json:
        emit([_deployment_document(each) for each in found])
        return
    rows = [(each.full_name, _schedule(each), ", ".join(_parameters(each)), each.description) for each in found]
    Screen().table(("flow", "schedule", "parameters", ""), rows)


def run(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The flow, as nescord flows list shows it.")],
    given: Annotated[
        list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="A parameter; may be repeated.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show states and logs until it ends; 1 if it failed.")] = False,
    key: Annotated[
        str | None, typer.Option("--key", metavar="TEXT", help="The same key gives the same run (default: a new one).")
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Do it in this process, without a server.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Run a flow now: by whoever serves it, or with --local in this process."""
    from nescord.errors import UsageError

    call = Call.of(context, data_dir, as_json)
    if local:
        if watch or key is not None:
            raise UsageError("--local runs it here and now: leave --watch and --key out")
        _run_here(call, name, given or ())
        return
    import uuid

    from nescord.flow_parameters import parse

    with _api(call) as api:
        deployment = api.deployment(name)
        parameters = parse(given or (), deployment.schema, deployment.defaults, deployment.flow)
        started, is_new = api.start(deployment, parameters, key if key is not None else str(uuid.uuid4()))
        if not is_new:
            say(f"note: the key was used before: this is the run of that time ({started.state_name})")
        if not deployment.is_served:
            say(f"note: nobody serves {deployment.full_name} at present: the run waits (nescord services)")
        if watch:
            started = _watched(api, started, call)
    if call.as_json:
        emit(_run_document(started) | {"new": is_new})
    elif not watch:
        Screen().line(
            Part(started.name, "bold"), f"  {started.state_name}  {started.id}: nescord flows logs {started.name}"
        )
    if watch and started.state != "COMPLETED":
        raise typer.Exit(_FAILED)


def status(context: typer.Context, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show the latest runs of each flow, when the next is due, and which schedules are paused."""
    call = Call.of(context, data_dir, as_json)
    documents = []
    rows: list[Sequence[str]] = []
    now = datetime.now(UTC)
    with _api(call) as api:
        for each in api.deployments():
            of_it = {"deployment_id": {"any_": [each.id]}}
            # A run that was asked for and waits for who serves it is due already: it is one of the latest.
            coming = {"state": {"type": {"any_": ["SCHEDULED"]}}, "expected_start_time": {"after_": now.isoformat()}}
            due = api.runs({**of_it, **coming}, sort="NEXT_SCHEDULED_START_TIME_ASC", limit=1)
            past = {"expected_start_time": {"before_": now.isoformat()}}
            latest = api.runs({**of_it, **past}, sort="EXPECTED_START_TIME_DESC", limit=_RUNS_SHOWN)
            documents.append(
                _deployment_document(each)
                | {"next": due[0].expected if due else None, "runs": [_run_document(one) for one in latest]}
            )
            rows += _status_rows(each, due, latest, now)
    if call.as_json:
        emit(documents)
    else:
        Screen().table(("flow", "next", "run", "state", "began", "took", ""), rows)


def logs(context: typer.Context, run: RunName, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Print what a run has said, its sub-flows included, and its state."""
    call = Call.of(context, data_dir, as_json)
    with _api(call) as api:
        found = api.run(run)
        lines = api.logs(api.family(found))
    if call.as_json:
        emit(_run_document(found) | {"logs": [_log_document(line) for line in lines]})
        return
    screen = Screen()
    for line in lines:
        _print_log(screen, line)
    _print_state(screen, found)


def cancel(context: typer.Context, run: RunName, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Stop a run and wait until it has stopped. What it has committed is kept; the next run does the rest."""
    from nescord.errors import UsageError

    call = Call.of(context, data_dir, as_json)
    with _api(call) as api:
        found = api.run(run)
        if found.has_ended:
            raise UsageError(f"the run {found.name} has ended already ({found.state_name})")
        refused = "" if found.state == "CANCELLING" else api.cancel(found)
        stopped = _stopped(api, found, refused)
    if call.as_json:
        emit(_run_document(stopped))
    else:
        _print_state(Screen(), stopped)


def _api(call: Call) -> PrefectApi:
    from nescord.prefect_api import PrefectApi, find_server

    return PrefectApi(find_server(call.settings()))


def _run_here(call: Call, name: str, given: Iterable[str]) -> None:
    from nescord import local_flows
    from nescord.flow_parameters import parse

    flow = local_flows.named(name)
    parameters = parse(given, flow.schema, {}, name)
    document, is_well = local_flows.run(name, local_flows.settings_for(call.settings(), parameters), parameters)
    if call.as_json:
        emit(document)
    else:
        screen = Screen()
        for key, value in document.items():
            screen.line(f"{key}: ", Part(_listed(value) if isinstance(value, list | tuple) else str(value), "bold"))
    if not is_well:
        raise typer.Exit(_FAILED)


def _listed(values: Sequence[object]) -> str:
    """Texts as they are; of whatever else how many."""
    return ", ".join(map(str, values)) if all(isinstance(each, str) for each in values) else str(len(values))


def _stopped(api: PrefectApi, run: Run, refused: str) -> Run:
    """The run when it has ended."""
    from nescord.errors import ServiceUnavailableError

    deadline = time.monotonic() + _CANCEL_SECONDS
    while not (run := api.run(run.id)).has_ended:
        if refused or time.monotonic() > deadline:
            raise ServiceUnavailableError(
                f"the run {run.name} ({run.state_name}) was told to stop and has not: "
                + (refused or f"{_CANCEL_SECONDS:g} s have passed; is it served by anybody? (nescord flows status)")
            )
        time.sleep(_PAUSE / 4)
    return run


def _watched(api: PrefectApi, run: Run, call: Call) -> Run:
    """Show a run until it has ended. Ctrl-C ends the showing only."""
    from nescord.prefect_api import patiently

    screen = Screen(sys.stderr if call.as_json else None)
    seen: dict[str, str] = {}
    shown = ""
    try:
        while True:
            if run.state_name != shown and not run.has_ended:
                _print_state(screen, run)
            shown = run.state_name
            if run.has_ended:
                time.sleep(_LOGS_SETTLE)
            for line in patiently(partial(_new_logs, api, run, seen)):
                _print_log(screen, line)
            if run.has_ended:
                break
            time.sleep(_PAUSE)
            run = patiently(partial(api.run, run.id))
    except KeyboardInterrupt:
        say(f"the run goes on: nescord flows logs {run.name}, nescord flows cancel {run.name}")
        raise typer.Exit(_INTERRUPTED) from None
    _print_state(screen, run)
    return run


def _new_logs(api: PrefectApi, run: Run, seen: dict[str, str]) -> list[LogLine]:
    """What was said since the last look; `seen` has the time of each line by its id."""
    after = ""
    if seen:
        after = (datetime.fromisoformat(max(seen.values())) - _LATE).isoformat()
    lines = [line for line in api.logs(api.family(run), after) if line.id not in seen]
    seen.update((line.id, line.at) for line in lines)
    return lines


def _print_log(screen: Screen, line: LogLine) -> None:
    style = "bold red" if line.level >= logging.ERROR else "yellow" if line.level >= logging.WARNING else ""
    screen.line(Part(_clock(line.at), "dim"), f"  {logging.getLevelName(line.level):<8} ", Part(line.message, style))


def _print_state(screen: Screen, run: Run) -> None:
    took = f"  {run.seconds:.1f} s" if run.has_ended else ""
    screen.line(
        Part(run.state_name, _STYLES.get(run.state, "")),
        f"  {run.name}{took}",
        *((f"  {run.message}",) if run.message and run.state in _WHY else ()),
    )


def _status_rows(each: Deployment, due: Sequence[Run], latest: Sequence[Run], now: datetime) -> list[Sequence[str]]:
    schedule = _schedule(each)
    expected = _away(due[0].expected, now) if due else schedule
    if due and schedule == "paused":
        expected += " (schedule paused)"
    begun = [
        (
            one.name,
            one.state_name,
            _away(one.started or one.expected, now),
            f"{one.seconds:.1f} s",
            one.message if one.state in _WHY else "",
        )
        for one in latest
    ]
    head, *others = begun or [("", "", "", "", "")]
    return [(each.full_name, expected, *head), *(("", "", *other) for other in others)]


def _schedule(each: Deployment) -> str:
    if not each.schedules:
        return "by hand or trigger"
    if not each.is_scheduled:
        return "paused"
    return ", ".join(_times(one["schedule"]) for one in each.schedules if one["active"])


def _times(schedule: Mapping[str, object]) -> str:
    zone = f" {schedule['timezone']}" if schedule.get("timezone") else ""
    if schedule.get("cron"):
        return f"{schedule['cron']}{zone}"
    if schedule.get("interval"):
        return f"every {_span(float(str(schedule['interval'])))}"
    return f"{schedule.get('rrule', '')}{zone}"


def _parameters(each: Deployment) -> list[str]:
    return list(each.schema.get("properties") or {})


def _away(moment: str, now: datetime) -> str:
    """A time as one says it."""
    if not moment:
        return ""
    seconds = (datetime.fromisoformat(moment) - now).total_seconds()
    return f"in {_span(seconds)}" if seconds > 0 else f"{_span(-seconds)} ago"


def _span(seconds: float) -> str:
    """A length of time in its largest unit of which there are two, or exactly one."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _clock(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone().strftime("%H:%M:%S")


def _deployment_document(each: Deployment) -> dict[str, object]:
    return {
        "flow": each.flow,
        "deployment": each.full_name,
        "description": each.description,
        "parameters": dict(each.schema.get("properties") or {}),
        "defaults": dict(each.defaults),
        "schedule": _schedule(each),
        "paused": bool(each.schedules) and not each.is_scheduled,
        "served": each.is_served,
    }


def _run_document(run: Run) -> dict[str, object]:
    return {
        "id": run.id,
        "name": run.name,
        "state": run.state,
        "state_name": run.state_name,
        "message": run.message,
        "parameters": dict(run.parameters),
        "expected": run.expected or None,
        "started": run.started or None,
        "ended": run.ended or None,
        "seconds": run.seconds,
    }


def _log_document(line: LogLine) -> dict[str, object]:
    return {"at": line.at, "level": logging.getLevelName(line.level), "message": line.message}
