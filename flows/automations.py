"""The automations that we want on the server, as code: applied at each start of `flows.serve`, any number of times.

Ours are known by their names: `nescord-…` that belongs to no deployment. One that differs is updated in place, one that
is no longer declared goes; all others are somebody else's. Triggers that start a deployment stand in `prefect.yaml`.
`python -m flows.automations` applies them to a server that flows are only deployed to.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import timedelta

from prefect.automations import AutomationCore, EventTrigger, Posture
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import Automation
from prefect.events.schemas.events import ResourceSpecification

PREFIX = "nescord-"
# Three beats at PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30.
SILENCE = timedelta(seconds=90)

_PAGE = 200  # the most that the server gives at once

# https://docs.prefect.io/v3/advanced/detect-zombie-runs, narrowed to runs with our tag: those of others may beat at
# another pace. Whatever ends or pauses a run ends the waiting for its next beat.
_CRASHED_WITHOUT_HEARTBEAT = AutomationCore(
    name=f"{PREFIX}crashed-without-heartbeat",
    description="A run that stops beating without an end was killed: it is marked as crashed, and its slot is free.",
    trigger=EventTrigger(
        after={"prefect.flow-run.heartbeat"},
        expect={
            "prefect.flow-run.heartbeat",
            *(f"prefect.flow-run.{name}" for name in ("Completed", "Failed", "Cancelled", "Crashed")),
            *(f"prefect.flow-run.{name}" for name in ("TimedOut", "Paused", "Suspended", "AwaitingRetry", "Scheduled")),
        },
        match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
        match_related=ResourceSpecification(
            {"prefect.resource.id": ["prefect.tag.nescord"], "prefect.resource.role": ["tag"]}
        ),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=SILENCE,
    ),
    actions=[
        ChangeFlowRunState(
            name=None,
            state=StateType.CRASHED,
            force=False,
            message=f"No heartbeat for {SILENCE.seconds} s: the process of this run is gone. Run it again; there is "
            "nothing to clean up.",
        )
    ],
)

DECLARED: tuple[AutomationCore, ...] = (_CRASHED_WITHOUT_HEARTBEAT,)


@dataclass(slots=True)
class Applied:
    """The names of what was done."""

    created: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


def apply(client: SyncPrefectClient, declared: tuple[AutomationCore, ...] = DECLARED) -> Applied:
    """Make the server's automations those that are declared."""
    applied = Applied()
    wanted = {automation.name: automation for automation in declared}
    for found in _ours(client):
        automation = wanted.pop(found.name, None)
        if automation is None:  # no longer declared, or there a second time
            client.delete_automation(found.id)
            applied.removed.append(found.name)
        elif _said(found) != _said(automation):
            # Whoever switched it off in the UI meant it.
            said = automation.model_dump(exclude={"owner_resource"}) | {"enabled": found.enabled}
            client.update_automation(found.id, AutomationCore(**said))
            applied.updated.append(found.name)
    for automation in wanted.values():
        client.create_automation(automation)
        applied.created.append(automation.name)
    return applied


def _ours(client: SyncPrefectClient) -> list[Automation]:
    found: list[Automation] = []
    while page := client.read_automations(limit=_PAGE, offset=len(found)):
        found += page
    return [each for each in found if each.name.startswith(PREFIX) and each.owner_resource is None]


def _said(automation: AutomationCore) -> dict[str, object]:
    said: dict[str, object] = automation.model_dump(exclude={"id", "enabled"})
    return said


if __name__ == "__main__":
    with get_client(sync_client=True) as server:
        sys.stdout.write(f"{apply(server)}\n")
