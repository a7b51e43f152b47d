"""`/search`: notes by words and by meaning."""

from __future__ import annotations

from typing import Any

import discord
from discord import app_commands

from bot.desk import Desk
from bot.everywhere import everywhere, options
from bot.hits import hits_reply, missing
from bot.registry import handles
from bot.render import Choice, Reply, escape
from bot.texts import named
from bot.visit import Refused, Visit
from nescord.notes import SearchHits

_LIMIT = 5
_SHOWN_QUERY = 200


def add_to(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Register `/search`."""

    @tree.command(name=named("cmd.search.name"), description=named("cmd.search.description"))
    @everywhere
    @options("search", "query", "tag", "limit", "mode", "share")
    @app_commands.choices(
        mode=[
            app_commands.Choice(name=named("cmd.search.mode.hybrid"), value="hybrid"),
            app_commands.Choice(name=named("cmd.search.mode.keyword"), value="keyword"),
            app_commands.Choice(name=named("cmd.search.mode.vector"), value="vector"),
        ]
    )
    async def search(
        interaction: discord.Interaction,
        query: app_commands.Range[str, 1, 1000],
        tag: app_commands.Range[str, 1, 100] | None = None,
        limit: app_commands.Range[int, 1, 10] = _LIMIT,
        mode: str = "hybrid",
        share: bool = False,
    ) -> None:
        asked = {"query": query, "tag": tag, "limit": limit, "mode": mode}
        await desk.accept(interaction, "search", asked, is_shared=share)

    @search.autocomplete("tag")
    async def tags(interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        return await desk.autocomplete(interaction, lambda visit: tag_choices(visit, typed))


def tag_choices(visit: Visit, typed: str) -> list[Choice]:
    """The tags in scope that hold what was typed, with how many notes have each. Blocks."""
    return [Choice(f"{tag} ({count})", tag) for tag, count in visit.view.tag_choices(typed)]


@handles("search", quota="searches")
async def search(visit: Visit) -> Reply:
    """The best notes, or what to try instead."""
    query = visit.request.string("query").strip()
    tag = visit.request.string("tag").strip()
    mode = visit.request.string("mode", "hybrid")
    if not query and not tag:
        raise Refused("search.empty")
    limit = min(max(visit.request.number("limit", _LIMIT), 1), 10)
    hits = await visit.call(visit.view.search, query, mode=mode, limit=limit, tags=(tag,) if tag else ())
    shown = escape(" ".join(query.split()) or f"#{tag}", _SHOWN_QUERY)
    if not hits:
        return _nothing(visit, shown, tag, mode, hits)
    return hits_reply(visit, visit.text("search.title", query=shown), hits)


def _nothing(visit: Visit, query: str, tag: str, mode: str, hits: SearchHits) -> Reply:
    lines = [visit.text("search.none", query=query), ""]
    if tag:
        lines.append(f"- {visit.text('search.none_tag', tag=escape(tag, 100))}")
    if mode == "keyword":
        lines.append(f"- {visit.text('search.none_mode')}")
    lines.append(f"- {visit.text('search.none_words')}")
    lines.append(f"- {visit.text(_where(visit))}")
    return Reply(body="\n".join(lines), notices=missing(visit, hits.degraded, hits.mode))


def _where(visit: Visit) -> str:
    if visit.request.is_shared:
        return "search.in_shared"
    return "search.in_guild" if visit.request.context == "guild" else "search.in_direct"
