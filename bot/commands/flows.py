"""`/flow`: run one of the flows that a manager may run, and see what the last runs came to."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import discord
from discord import app_commands

from bot.desk import Desk
from bot.everywhere import everywhere, options
from bot.registry import handles
from bot.render import Choice, LinkButton, Reply, escape
from bot.texts import named
from bot.visit import Refused, Visit
from nescord.errors import NotFoundError, ServiceUnavailableError, SettingsError, UsageError
from nescord.prefect_api import OURS, PrefectApi, Run, find_server
from nescord.settings import Settings

T = TypeVar("T")

# What may be run from here, with the parameters that may be given. A restore is nothing to do with one hand.
_ALLOWED: Mapping[str, tuple[str, ...]] = {
    "ingest": (),
    "verify": ("deep",),
    "backup": (),
    "drill": (),
    "maintain": (),
    "nightly": (),
    "report": (),
}
_LOOK_SECONDS = 3.0
_LATEST = 5
_LONGEST_NAME = 100
_CLOUD = re.compile(r"https://api\.prefect\.cloud/api/accounts/([\w-]+)/workspaces/([\w-]+)/?")


def add_to(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Register `/flow`."""
    group = everywhere(app_commands.Group(name=named("cmd.flow.name"), description=named("cmd.flow.description")))

    @group.command(name=named("cmd.flow.run.name"), description=named("cmd.flow.run.description"))
    @options("flow.run", "flow", "deep")
    async def run(interaction: discord.Interaction, flow: str, deep: bool | None = None) -> None:
        await desk.accept(interaction, "flow.run", {"flow": flow, "deep": deep})

    @run.autocomplete("flow")
    async def flows(interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        return await desk.autocomplete(interaction, lambda visit: flow_choices(typed))

    @group.command(name=named("cmd.flow.status.name"), description=named("cmd.flow.status.description"))
    @options("flow.status", "run")
    async def status(
        interaction: discord.Interaction, run: app_commands.Range[str, 1, _LONGEST_NAME] | None = None
    ) -> None:
        await desk.accept(interaction, "flow.status", {"run": run})

    tree.add_command(group)


def flow_choices(typed: str) -> list[Choice]:
    """The flows that may be run from here."""
    return [Choice(name, name) for name in _ALLOWED if typed.strip().casefold() in name]


@handles("flow.run", quota="flows", managers_only=True)
async def run(visit: Visit) -> Reply:
    """Start it, once for this interaction, and show how it goes until it has ended or can be shown no longer."""
    flow = visit.request.string("flow")
    if flow not in _ALLOWED:
        raise Refused("flow.not_allowed", flows=", ".join(_ALLOWED))
    given = {name: visit.request.flag(name) for name in ("deep",) if name in visit.request.options}
    if unknown := [name for name in given if name not in _ALLOWED[flow]]:
        raise Refused("flow.no_parameter", name=unknown[0], flow=flow)
    started = await _asked(visit, lambda api: _start(api, flow, given, f"discord-{visit.request.id}"))
    shown = started
    reply = _about(visit, flow, started)
    while not shown.has_ended and visit.request.seconds_left > 0:
        if shown is started or reply != _about(visit, flow, shown):
            reply = _about(visit, flow, shown)
            await visit.progress(reply)
        await asyncio.sleep(_LOOK_SECONDS)
        try:
            shown = await _asked(visit, lambda api: api.run(started.id))
        except Refused:
            continue  # the server may be starting anew; the run goes on
        except NotFoundError:
            break
    return _about(visit, flow, shown)


@handles("flow.status", managers_only=True)
async def status(visit: Visit) -> Reply:
    """One run, or the latest ones."""
    wanted = visit.request.string("run").strip()
    if wanted:
        try:
            found, flow = await _asked(visit, lambda api: _one(api, wanted))
        except NotFoundError:
            raise Refused("flow.no_run", run=escape(wanted, _LONGEST_NAME)) from None
        return _about(visit, flow, found)
    runs, flows = await _asked(visit, _latest)
    if not runs:
        raise Refused("flow.no_runs")
    lines = [f"- {_line(visit, flows.get(each.deployment_id, ''), each)}" for each in runs]
    return Reply(title=visit.text("flow.latest"), body="\n".join(lines))


def _start(api: PrefectApi, flow: str, parameters: Mapping[str, bool], key: str) -> Run:
    return api.start(api.deployment(f"{flow}/{OURS}"), parameters, key)[0]


def _one(api: PrefectApi, wanted: str) -> tuple[Run, str]:
    """A run of ours, and its flow. NotFoundError: there is none; on a shared server others run theirs."""
    found = api.run(wanted)
    flow = next((each.flow for each in api.deployments() if each.id == found.deployment_id and each.name == OURS), "")
    if not flow:
        raise NotFoundError(f"the run {wanted} is none of ours")
    return found, flow


def _latest(api: PrefectApi) -> tuple[list[Run], dict[str, str]]:
    """The latest runs of ours, and the flows by their deployments."""
    flows = {each.id: each.flow for each in api.deployments() if each.name == OURS}
    ours = {"deployment_id": {"any_": list(flows)}, "state": {"type": {"not_any_": ["SCHEDULED"]}}}
    return api.runs(ours, sort="START_TIME_DESC", limit=_LATEST), flows


async def _asked(visit: Visit, ask: Callable[[PrefectApi], T]) -> T:
    """What the server says. Refused: there is none, or it does not serve that."""
    try:
        return await visit.call(_connected, visit.base.settings, ask)
    except SettingsError:
        raise
    except ServiceUnavailableError:
        raise Refused("flow.no_server") from None
    except UsageError:
        raise Refused("flow.not_served") from None


def _connected(settings: Settings, ask: Callable[[PrefectApi], T]) -> T:
    with PrefectApi(find_server(settings)) as api:
        return ask(api)


def _about(visit: Visit, flow: str, found: Run) -> Reply:
    lines = [_line(visit, flow, found)]
    if found.state in ("FAILED", "CRASHED"):
        lines.append(visit.text("flow.look"))
    buttons = []
    if page := _page(visit.base.settings, found):
        buttons.append(LinkButton(visit.text("flow.open"), page))
    return Reply(body="\n".join(lines), buttons=buttons)


def _line(visit: Visit, flow: str, found: Run) -> str:
    states = {
        "SCHEDULED": "flow.scheduled",
        "PENDING": "flow.pending",
        "RUNNING": "flow.running",
        "COMPLETED": "flow.completed",
        "FAILED": "flow.failed",
        "CRASHED": "flow.crashed",
        "CANCELLING": "flow.cancelling",
        "CANCELLED": "flow.cancelled",
        "PAUSED": "flow.paused",
    }
    state = visit.text(states.get(found.state, "flow.pending"))
    name = f"`{found.name}`" if re.fullmatch(r"[\w-]+", found.name) else escape(found.name, _LONGEST_NAME)
    parts = [f"**{flow}** {name}".replace("**** ", ""), state]
    if found.has_ended and found.seconds:
        parts.append(visit.text("flow.seconds", seconds=f"{found.seconds:.0f}"))
    elif since := found.started or found.expected:
        parts.append(f"<t:{int(datetime.fromisoformat(since).timestamp())}:R>")
    return " · ".join(parts)


def _page(settings: Settings, found: Run) -> str:
    """Where the run can be looked at in a browser. Our own server's page is not open to the world."""
    cloud = _CLOUD.fullmatch(settings.prefect_api_url or "")
    if not cloud:
        return ""
    return f"https://app.prefect.cloud/account/{cloud[1]}/workspace/{cloud[2]}/runs/flow-run/{found.id}"
