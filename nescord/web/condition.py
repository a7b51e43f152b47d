"""How the service is: what the supervisor says of its parts, together with whether the database can be read.

What is in here may be seen by anybody: no path, no text of a note, no count, and of a reason only what is harmless.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from nescord.bot_state import BotState
from nescord.service_state import Finding, ServiceState, SupervisorState

# The service whose connection to Discord is a part of its own.
BOT = "bot"
# The service that answers here. While it does, it is well, whatever was written down before it was tried.
OURS = "http"
_PUBLIC_REASON = re.compile(r"[A-Za-z0-9 ,.'()-]{1,120}")


class Database(Enum):
    """Whether it can be read, with the reason for people."""

    READABLE = ""
    RESTORED = "a restore is under way"
    UNREADABLE = "the database cannot be read"
    SILENT = "the database does not answer"


Level = Literal["good", "degraded", "starting", "stopping", "away"]


@dataclass(frozen=True, slots=True)
class Part:
    """Something that runs or does not. `state` is the supervisor's word for it, or `failed` for a check.

    `detail` is what of the reason is for the owner only, `last_ack` when Discord last answered (ISO, "" for never).
    """

    name: str
    state: str
    is_required: bool
    reason: str = ""
    since: str = ""
    restarts: int = 0
    detail: str = ""
    last_ack: str = ""

    @property
    def is_well(self) -> bool:
        return self.state == "ready"


@dataclass(frozen=True, slots=True)
class Condition:
    """All parts, and why the whole is not ready ("" when it is)."""

    level: Level
    problem: str
    parts: tuple[Part, ...]
    ready_since: str = ""

    @property
    def is_ready(self) -> bool:
        return not self.problem


def condition_of(state: SupervisorState | None, database: Database, bot: BotState | None = None) -> Condition:
    """How all of it is. `bot` is what the bot that runs now says of itself."""
    reader = Part("database", "stopped" if database.value else "ready", is_required=True, reason=database.value)
    if state is None or state.is_old:
        reason = "no supervisor runs" if state is None else "the supervisor was not heard of"
        supervisor = Part("supervisor", "stopped", is_required=True, reason=reason)
        return Condition("away", reason, (supervisor, reader))
    parts = (
        _supervisor(state),
        *(_part_of(service) for service in state.services),
        *(_connection(service, bot) for service in state.services if service.name == BOT),
        reader,
        *(_failed_check(finding) for finding in _failed(state.findings)),
    )
    problem = _problem(parts)
    level: Level = "good" if all(part.is_well for part in parts) else "degraded"
    if state.phase != "running":
        level = state.phase
    elif problem:
        level = "away"
    return Condition(level, problem, parts, ready_since=state.ready_at or "")


def _supervisor(state: SupervisorState) -> Part:
    if state.phase == "running":
        return Part("supervisor", "ready", is_required=True, since=state.started_at)
    reason = "the services are being started" if state.phase == "starting" else "the services are being stopped"
    word = "starting" if state.phase == "starting" else "stopped"
    return Part("supervisor", word, is_required=True, reason=reason, since=state.started_at)


def _part_of(service: ServiceState) -> Part:
    is_here = service.name == OURS and service.state in ("waiting", "starting", "pausing")
    return Part(
        name=service.name,
        state="ready" if is_here else service.state,
        is_required=service.is_required,
        reason="" if is_here or service.state == "ready" else _public(service.reason),
        since=service.since,
        restarts=service.restarts,
        detail=service.reason.partition(":")[2].strip() if service.state == "degraded" else "",
    )


def _connection(service: ServiceState, bot: BotState | None) -> Part:
    """The bot's connection to Discord. It comes and goes, and is no reason to start anything anew."""
    if bot is None or service.state != "ready":
        return Part("discord", "stopped", is_required=False, reason="the bot does not run")
    states = {"ready": "ready", "connecting": "starting", "resuming": "pausing", "closed": "stopped"}
    reason = "" if bot.gateway == "ready" else _public(bot.reason)
    return Part(
        "discord", states[bot.gateway], is_required=False, reason=reason, since=bot.since, last_ack=bot.last_ack
    )


def _failed_check(finding: Finding) -> Part:
    return Part(finding.name, "failed", is_required=False, reason="a check at the start has failed")


def _failed(findings: Iterable[Finding]) -> Iterable[Finding]:
    return (finding for finding in findings if finding.status == "fail")


def _problem(parts: Iterable[Part]) -> str:
    """What the first required part that is away says."""
    for part in parts:
        if part.is_required and not part.is_well:
            return part.reason if part.name in ("supervisor", "database") else f"{part.name} is not ready"
    return ""


def _public(reason: str) -> str:
    """What stands before the first colon says what happened; what follows quotes errors, with paths in them."""
    said = reason.partition(":")[0].strip()
    return said if _PUBLIC_REASON.fullmatch(said) else ""
