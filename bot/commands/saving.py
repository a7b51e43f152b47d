"""The message menu "Save to notes": what somebody said, with its files, as a note that knows where it was said."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any
from weakref import WeakValueDictionary
from zoneinfo import ZoneInfo

import discord
from discord import app_commands

from bot.desk import Desk
from bot.everywhere import everywhere
from bot.keeping import Sent, fetched, kept_reply, note_actions, space_for, tags_for
from bot.messages import message_options
from bot.note_page import place_of
from bot.registry import handles
from bot.render import Reply, escape
from bot.texts import named
from bot.visit import Refused, Visit
from nescord.attachments import MOST_OF_A_NOTE
from nescord.notes import Attachment, Note

# Of two who save the same message to the same place at once, the second waits and then sees the note of the first.
_saving: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()


def add_to(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Register the menu."""

    @tree.context_menu(name=named("cmd.save_message.name"))
    @everywhere
    async def save(interaction: discord.Interaction, message: discord.Message) -> None:
        await desk.accept(interaction, "save.message", message_options(message))


@handles("save.message", is_capture=True, quota="notes")
async def save(visit: Visit) -> Reply:
    """The note, or the one that the message was kept as before."""
    jump = visit.request.string("jump")
    space = await space_for(visit)
    key = (space, jump)
    lock = _saving.get(key)
    if lock is None:
        lock = _saving[key] = asyncio.Lock()
    async with lock:
        there = await visit.call(visit.view.note_from, jump, space=space)
        if there is not None and there.id != visit.request.note_id:
            return _already(visit, there)
        note = await _kept_with_files(visit, space, jump, is_there=there is not None)
        # Another process may have kept it meanwhile: one of the two stays, the same for both.
        first = await visit.call(visit.view.note_from, jump, space=space)
        if first is not None and first.id != note.id:
            await visit.call(visit.view.delete_note, note.id)
            return _already(visit, first)
    lost = [
        visit.text("save.not_stored", name=escape(file.name, 80), reason=escape(file.reason, 150))
        for file in await visit.call(visit.view.attachments, note.id)
        if not file.is_stored
    ]
    return kept_reply(visit, note, lost)


async def _kept_with_files(visit: Visit, space: str, jump: str, *, is_there: bool) -> Note:
    if is_there or not visit.request.options.get("files"):
        return await _kept(visit, space, jump, [])
    async with visit.keeping_files():
        return await _kept(visit, space, jump, await _attachments(visit))


async def _kept(visit: Visit, space: str, jump: str, attachments: list[Attachment]) -> Note:
    said = visit.request.string("text").strip()
    if not said and not visit.request.options.get("files"):
        raise Refused("save.empty")
    name = visit.request.string("name")
    zone = await visit.call(visit.base.preferences.zone, visit.who)
    origin = visit.text("save.from", name=name, when=_minute(visit.request.string("when"), zone), url=jump)
    names = "\n".join(file.name for file in attachments)
    body = "\n\n".join(part for part in (said, names, origin) if part)
    return await visit.call(
        visit.view.add_note,
        # What somebody else has said is no front matter, however it begins.
        f"\n{body}" if body.lstrip("\ufeff").startswith("---") else body,
        title="" if said else visit.text("save.title", name=name),
        tags=await tags_for(visit, "", space),
        space=space,
        author=visit.who,
        source=jump,
        attachments=attachments,
        note_id=visit.request.note_id,
    )


async def _attachments(visit: Visit) -> list[Attachment]:
    """The files of the message, one after the other: each may take what those before it have left of the note."""
    found: list[Attachment] = []
    left = MOST_OF_A_NOTE
    options = visit.request.options.get("files")
    for option in options if isinstance(options, list) else []:
        file = Sent.of(option)
        if file is None:
            continue
        if file.size > left:
            reason = visit.text("save.too_many", most=MOST_OF_A_NOTE >> 20)
            found.append(Attachment(file.name, file.media_type, None, file.size, reason))
            continue
        found.append(await fetched(visit, file, left))
        left -= len(found[-1].content or b"")
    return found


def _already(visit: Visit, note: Note) -> Reply:
    where = place_of(visit, note.space)
    return Reply(
        body=visit.text("save.already", title=escape(note.title, 200), where=where), buttons=note_actions(visit, note)
    )


def _minute(iso: str, zone: ZoneInfo) -> str:
    try:
        return datetime.fromisoformat(iso).astimezone(zone).strftime("%Y-%m-%d %H:%M %Z")
    except ValueError:
        return iso
