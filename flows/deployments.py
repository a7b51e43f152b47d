"""What `prefect.yaml` says, as deployments that can be served.

The file is written for `prefect deploy`; here it is read once more with the same models of Prefect, so that serving and
deploying mean the same (tests/test_deploy.py compares what the server reports after each). What either of the two would
pass over in silence is refused: unknown keys, templates, parameters that the flow does not have, entry points that are
not there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import yaml
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.client.schemas.schedules import construct_schedule
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentTriggerTypes, TriggerTypes
from prefect.exceptions import MissingFlowError, ScriptError
from prefect.flows import Flow, load_flow_from_entrypoint
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from nescord.errors import UsageError

DEFINITIONS = Path(__file__).resolve().parent.parent / "prefect.yaml"

_TRIGGER: TypeAdapter[DeploymentTriggerTypes] = TypeAdapter(DeploymentTriggerTypes)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True, arbitrary_types_allowed=True)


class Schedule(_Strict):
    """When a deployment runs by itself: exactly one of cron, interval and rrule. The slug says which it is."""

    slug: str
    cron: str | None = None
    interval: float | None = None
    rrule: str | None = None
    timezone: str | None = None
    active: bool | None = None
    parameters: dict[str, Any] = {}  # Any: whatever a flow takes

    @model_validator(mode="after")
    def _can_be_kept(self) -> Schedule:
        if sum(given is not None for given in (self.cron, self.interval, self.rrule)) != 1:
            raise ValueError(f"the schedule {self.slug!r} needs exactly one of cron, interval and rrule")
        self.created(None)  # Prefect knows what a cron line and a time zone are
        return self

    def created(self, timezone: str | None) -> DeploymentScheduleCreate:
        """As Prefect wants it. `timezone` wins over the file where the clock on the wall matters."""
        is_periodic = self.interval is not None
        schedule = construct_schedule(
            interval=timedelta(seconds=self.interval) if self.interval is not None else None,
            cron=self.cron,
            rrule=self.rrule,
            timezone=self.timezone if is_periodic else timezone or self.timezone,
        )
        created = DeploymentScheduleCreate(schedule=schedule, parameters=self.parameters, slug=self.slug)
        if self.active is not None:
            created.active = self.active
        return created


class Limit(ConcurrencyLimitConfig):
    """How many runs at once, and what becomes of one too many."""

    model_config = ConfigDict(extra="forbid")


class WorkPool(_Strict):
    """Where `prefect deploy` sends runs; serving ignores it."""

    name: str
    work_queue_name: str | None = None
    job_variables: dict[str, Any] = {}


class Deployment(_Strict):
    """One entry of `deployments`."""

    name: str
    entrypoint: str
    version: str | None = None
    description: str | None = None
    tags: list[str] = []
    schedules: list[Schedule] = []
    paused: bool | None = None
    parameters: dict[str, Any] = {}
    enforce_parameter_schema: Literal[True] = True
    concurrency_limit: int | Limit | None = None
    triggers: list[dict[str, Any]] = []
    work_pool: WorkPool | None = None

    def flow(self, folder: Path) -> Flow[..., object]:
        """The flow that the entry point names.

        Raises:
            UsageError: there is none.
        """
        file, _, function = self.entrypoint.rpartition(":")
        if not (folder / file).is_file():
            raise UsageError(f"{self.entrypoint!r}: there is no file {folder / file}; mend the entrypoint")
        try:
            # from_entrypoint would make do with a placeholder where the file does not even import.
            return load_flow_from_entrypoint(f"{folder / file}:{function}", use_placeholder_flow=False)
        except MissingFlowError:
            raise UsageError(f"{self.entrypoint!r}: there is no flow {function!r} in {folder / file}") from None
        except ScriptError as error:
            raise UsageError(f"{self.entrypoint!r} cannot be imported: {error.user_exc!r}") from error

    def served(self, flow: Flow[..., object], timezone: str | None = None) -> RunnerDeployment:
        """As `prefect.serve` takes it. `flow` is what the entry point names, seen from the working directory.

        Raises:
            UsageError: it has no such parameter.
        """
        self._parameters_exist(flow)
        deployment = RunnerDeployment.from_entrypoint(
            entrypoint=self.entrypoint,
            name=self.name,
            version=self.version or flow.version,
            description=self.description,
            tags=self.tags,
            schedules=[schedule.created(timezone) for schedule in self.schedules],
            paused=self.paused,
            parameters=self.parameters,
            enforce_parameter_schema=self.enforce_parameter_schema,
            concurrency_limit=self.concurrency_limit,
            triggers=[_trigger(trigger) for trigger in self.triggers],
        )
        # What is set is sent. A deployment that was in a work pool leaves it; one that was paused in the UI stays so.
        deployment.work_pool_name = None
        if self.paused is None:
            deployment.model_fields_set.discard("paused")
        return deployment

    def _parameters_exist(self, flow: Flow[..., object]) -> None:
        """Prefect takes any name, and each run would crash on it."""
        named = [self.parameters, *(schedule.parameters for schedule in self.schedules)]
        named += [trigger.get("parameters") or {} for trigger in self.triggers]
        known = set(flow.parameters.properties)
        if unknown := {name for parameters in named for name in parameters} - known:
            raise UsageError(
                f"{self.entrypoint!r} has no parameter {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}"
            )


class _File(_Strict):
    name: str
    prefect_version: str | None = Field(None, alias="prefect-version")
    deployments: list[Deployment]


def read_definitions(path: Path = DEFINITIONS) -> list[Deployment]:
    """The deployments of a `prefect.yaml`.

    Raises:
        UsageError: it cannot be read, or says what cannot be served.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it must hold a mapping with the keys name and deployments")
        _refuse_templates(content, ())
        deployments = _File.model_validate(content).deployments
        for trigger in (trigger for deployment in deployments for trigger in deployment.triggers):
            _trigger(trigger)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, line['loc']))}: {line['msg']}" for line in error.errors(include_url=False)]
        raise UsageError(f"{path} cannot be used: {'; '.join(lines)}") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{path} cannot be used: {error}") from None
    twice = [name for name, count in Counter((each.entrypoint, each.name) for each in deployments).items() if count > 1]
    if twice:
        raise UsageError(f"{path} cannot be used: {twice[0][0]} is deployed twice as {twice[0][1]!r}")
    return deployments


def _refuse_templates(value: object, place: tuple[object, ...]) -> None:
    if isinstance(value, str) and "{{" in value:
        raise ValueError(f"{'.'.join(map(str, place))}: templates such as {value!r} are not understood here")
    inside: Iterable[tuple[object, object]] = ()
    if isinstance(value, Mapping):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    for key, each in inside:
        _refuse_templates(each, (*place, key))


def _trigger(raw: dict[str, Any]) -> DeploymentTriggerTypes:
    """The trigger; ValueError for a key that Prefect's models would ignore."""
    trigger = _TRIGGER.validate_python(raw)
    if not raw.get("name"):
        raise ValueError("a trigger needs a name, under which the automations list it")
    _refuse_unknown(raw, trigger)
    return trigger


def _refuse_unknown(raw: Mapping[str, Any], trigger: DeploymentTriggerTypes | TriggerTypes) -> None:
    if unknown := set(raw) - set(type(trigger).model_fields):
        raise ValueError(f"a trigger of type {trigger.type} has no {', '.join(sorted(unknown))}")
    for inner_raw, inner in zip(raw.get("triggers", ()), getattr(trigger, "triggers", ()), strict=True):
        _refuse_unknown(inner_raw, inner)
