"""`/status` and `/help`: how it is, what is left today, and what there is to use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import discord
from discord import app_commands

from bot.desk import Desk
from bot.everywhere import everywhere
from bot.knowledge import Base
from bot.reasons import keys_of
from bot.registry import handles
from bot.render import Field, Reply, escape
from bot.texts import named
from bot.visit import Visit
from nescord.quotas import QuotaLeft, What
from nescord.scoped import ScopedKnowledge
from nescord.web.condition import Part
from nescord.web.texts import TEXTS as PARTS


@dataclass(frozen=True, slots=True)
class _Stored:
    """What is there within a scope, what is missing (`degraded`, not for people), and the parts that are not well."""

    notes: int
    cards_due: int
    pending: int
    degraded: tuple[str, ...]
    latency: int | None
    away: tuple[Part, ...]


def add_to(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Register `/status` and `/help`."""

    @tree.command(name=named("cmd.status.name"), description=named("cmd.status.description"))
    @everywhere
    async def status(interaction: discord.Interaction) -> None:
        await desk.accept(interaction, "status", {})

    @tree.command(name=named("cmd.help.name"), description=named("cmd.help.description"))
    @everywhere
    async def help_(interaction: discord.Interaction) -> None:
        await desk.accept(interaction, "help", {})


@handles("status")
async def status(visit: Visit) -> Reply:
    """Counts in scope, versions, latency, quotas, and what is degraded and why."""
    found = await visit.call(_stored, visit.base, visit.view, visit.who)
    left = await visit.call(visit.base.quotas.left, visit.who, visit.guild_space)
    fields = [
        Field(visit.text("status.notes"), f"{found.notes:,}", is_inline=True),
        Field(visit.text("status.due"), f"{found.cards_due:,}", is_inline=True),
        Field(visit.text("status.latency"), _latency(found.latency), is_inline=True),
        Field(visit.text("status.quotas"), "\n".join(_quotas(visit, left))),
    ]
    if visit.is_owner:
        fields.append(Field(visit.text("status.budget"), await visit.call(_budget, visit.base)))
    reasons = [visit.text(key) for key in keys_of(found.degraded)]
    reasons += [_part(visit, part) for part in found.away]
    if found.pending:
        reasons.append(visit.text("status.pending", count=f"{found.pending:,}"))
    title = visit.text("status.degraded" if reasons else "status.well")
    return Reply(title=title, body="\n".join(f"- {each}" for each in reasons), footer=_versions(), fields=fields)


@handles("help")
async def help_(visit: Visit) -> Reply:
    """What there is."""
    return Reply(title=visit.text("help.title"), body=visit.text("help.body"), footer=visit.text("help.footer"))


def _stored(base: Base, view: ScopedKnowledge, who: str) -> _Stored:
    meaning = base.meaning()
    service = base.service()
    return _Stored(
        notes=view.count_notes(),
        cards_due=view.spaced(who).count_due(datetime.now(UTC)),
        pending=view.count_pending(),
        degraded=meaning.degraded,
        latency=service.latency,
        away=tuple(part for part in service.parts if not part.is_well),
    )


def _latency(milliseconds: int | None) -> str:
    return "–" if milliseconds is None else f"{milliseconds} ms"


def _quotas(visit: Visit, left: dict[What, QuotaLeft]) -> list[str]:
    names: dict[What, str] = {
        "searches": "status.searches",
        "answers": "status.answers",
        "notes": "status.new_notes",
        "flows": "status.flows",
    }
    lines = []
    for what, key in names.items():
        quota = left[what]
        left_here = f"{quota.person:,}"
        if quota.guild is not None:
            left_here = visit.text("status.of_guild", left=left_here, guild=f"{quota.guild:,}")
        lines.append(f"{visit.text(key)}: {left_here}")
    return lines


def _budget(base: Base) -> str:
    state = base.budget()
    return f"{state.total:,} / {state.limit:,} ({state.share:.1%})"


def _part(visit: Visit, part: Part) -> str:
    place = 1 if visit.language == "ja" else 0
    name, state = PARTS.get(f"part.{part.name}"), PARTS.get(f"state.{part.state}")
    shown = name[place] if name else escape(part.name, 60)
    return f"{shown}: {state[place]}" if state else shown


def _versions() -> str:
    try:
        ours = version("nescordbot")
    except PackageNotFoundError:  # run from a folder that was copied
        ours = "?"
    return f"NescordBot {ours} · discord.py {discord.__version__}"
