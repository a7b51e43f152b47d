"""`/related` and the message menu "Find related": notes whose meaning is near to that of a note or of a message."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import discord
from discord import app_commands

from bot.desk import Desk
from bot.everywhere import everywhere, options
from bot.hits import hits_reply
from bot.messages import text_of
from bot.note_choices import note_choices
from bot.registry import handles
from bot.render import Reply, escape
from bot.rights import living_note
from bot.texts import named
from bot.visit import Refused, Visit
from nescord.notes import SearchHit, SearchHits
from nescord.search_events import unrecorded

_LIMIT = 5
_SHOWN_TITLE = 200
# A long message is about what it begins with; each word more makes words weigh less.
_LONGEST = 400
# What the search would take for a filter, an exclusion or a phrase; and mentions, emoji and times of Discord.
_SYNTAX = re.compile(r"<(?:@[!&]?|#|a?:\w+:|t:)[^<>\s]*>|[\"“”:：]|(?<!\S)-")


def add_to(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Register `/related` and the menu."""

    @tree.command(name=named("cmd.related.name"), description=named("cmd.related.description"))
    @everywhere
    @options("related", "note")
    async def related(interaction: discord.Interaction, note: app_commands.Range[str, 1, 200]) -> None:
        await desk.accept(interaction, "related", {"note": note})

    @related.autocomplete("note")
    async def notes(interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        return await desk.autocomplete(interaction, lambda visit: note_choices(visit, typed))

    @tree.context_menu(name=named("cmd.find_related.name"))
    @everywhere
    async def menu(interaction: discord.Interaction, message: discord.Message) -> None:
        await desk.accept(interaction, "related.message", {"text": text_of(message)[:4000], "jump": message.jump_url})


@handles("related", quota="searches")
async def related(visit: Visit) -> Reply:
    """The notes nearest to one; those that share words with it where it has no vectors (yet)."""
    note = await living_note(visit, visit.request.string("note"))
    hits = await visit.call(visit.view.related, note.id, limit=_LIMIT)
    if not hits:
        hits = await _alike(visit, f"{note.title} {note.body[: 2 * _LONGEST]}", lambda hit: hit.note_id == note.id)
    shown = escape(note.title, _SHOWN_TITLE)
    if not hits:
        raise Refused("related.none", title=shown)
    return hits_reply(visit, visit.text("related.title", title=shown), hits)


@handles("related.message", quota="searches")
async def related_to_message(visit: Visit) -> Reply:
    """The notes nearest to what a message says, save those that the message itself was kept as."""
    said = visit.request.string("text")
    if not said.strip():
        raise Refused("related.no_text")
    itself = visit.request.string("jump")
    hits = await _alike(visit, said, lambda hit: bool(itself) and hit.link == itself)
    if not hits:
        raise Refused("related.none_message")
    return hits_reply(visit, visit.text("related.message_title"), hits)


async def _alike(visit: Visit, text: str, is_itself: Callable[[SearchHit], bool]) -> SearchHits:
    """The notes that a search for a text finds, without what the text is from (once in each space at most)."""
    query = " ".join(_SYNTAX.sub(" ", text).split())[:_LONGEST]
    search = unrecorded(visit.view.search)
    hits = await visit.call(search, query, limit=_LIMIT + len(visit.spaces))
    others = [hit for hit in hits if not is_itself(hit)][:_LIMIT]
    return SearchHits(others, mode=hits.mode, index_kind=hits.index_kind, degraded=hits.degraded)
