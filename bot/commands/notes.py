"""`/note`: keep notes, look at them, list them. What changes a note is answered in bot/note_changes.py."""

from __future__ import annotations

from typing import Any

import discord
from discord import app_commands

import bot.note_changes  # noqa: F401  # its handlers answer what is registered here
from bot.commands.search import tag_choices
from bot.desk import Desk
from bot.everywhere import everywhere, options
from bot.hits import day, title_link
from bot.keeping import Sent, check_length, fetched, kept_reply, space_for, tags_for, text_of_file
from bot.note_choices import note_choices
from bot.note_page import as_file, note_reply, place_of, sendable
from bot.registry import handles
from bot.render import LIMITS, Button, Input, Modal, Reply
from bot.request import Request, attachment_option
from bot.rights import living_note
from bot.texts import named, text
from bot.visit import Refused, Visit
from nescord.attachments import MOST_EACH
from nescord.discord_text import escape, units
from nescord.notes import Attachment, NoteTitle

_OPTION = 4000
_TITLE = 256
_IN_LIST = 10
Title = app_commands.Range[str, 1, _TITLE]
Wanted = app_commands.Range[str, 1, 200]


def add_to(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Register `/note` with its commands."""
    group = everywhere(app_commands.Group(name=named("cmd.note.name"), description=named("cmd.note.description")))
    _add_keeping(group, desk)
    _add_looking(group, desk)
    _add_changing(group, desk)
    tree.add_command(group)


def _add_keeping(group: app_commands.Group, desk: Desk) -> None:
    @group.command(name=named("cmd.note.add.name"), description=named("cmd.note.add.description"))
    @options("note.add", "text", "title", "tags", "file", "where")
    @app_commands.choices(
        where=[
            app_commands.Choice(name=named("cmd.note.add.where.me"), value="me"),
            app_commands.Choice(name=named("cmd.note.add.where.server"), value="server"),
        ]
    )
    async def add(
        interaction: discord.Interaction,
        text: app_commands.Range[str, 1, _OPTION] | None = None,
        title: Title | None = None,
        tags: app_commands.Range[str, 1, 500] | None = None,
        file: discord.Attachment | None = None,
        where: str | None = None,
    ) -> None:
        if text is None and file is None:
            language = Request.of(interaction, "", {}).language or "en"
            await desk.open_modal(interaction, _form(language, title or "", tags or "", where or ""))
            return
        sent = attachment_option(file) if file else None
        kept = {"text": text, "title": title, "tags": tags, "file": sent, "where": where}
        await desk.accept(interaction, "note.add", kept)


def _add_looking(group: app_commands.Group, desk: Desk) -> None:
    @group.command(name=named("cmd.note.show.name"), description=named("cmd.note.show.description"))
    @options("note.show", "note")
    async def show(interaction: discord.Interaction, note: Wanted) -> None:
        await desk.accept(interaction, "note.show", {"note": note})

    @group.command(name=named("cmd.note.list.name"), description=named("cmd.note.list.description"))
    @options("note.list", "mine", "tag")
    async def list_notes(
        interaction: discord.Interaction, mine: bool = False, tag: app_commands.Range[str, 1, 100] | None = None
    ) -> None:
        await desk.accept(interaction, "note.list", {"mine": mine, "tag": tag})

    @show.autocomplete("note")
    async def notes(interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        return await desk.autocomplete(interaction, lambda visit: note_choices(visit, typed))

    @list_notes.autocomplete("tag")
    async def tags(interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        return await desk.autocomplete(interaction, lambda visit: tag_choices(visit, typed))


def _add_changing(group: app_commands.Group, desk: Desk) -> None:
    @group.command(name=named("cmd.note.edit.name"), description=named("cmd.note.edit.description"))
    @options("note.edit", "note", "file")
    async def edit(interaction: discord.Interaction, note: Wanted, file: discord.Attachment | None = None) -> None:
        if file is None:
            await desk.open(interaction, "note.edit", {"id": note})
        else:
            await desk.accept(interaction, "note.replace", {"note": note, "file": attachment_option(file)})

    @group.command(name=named("cmd.note.delete.name"), description=named("cmd.note.delete.description"))
    @options("note.delete", "note")
    async def delete(interaction: discord.Interaction, note: Wanted) -> None:
        await desk.accept(interaction, "note.delete", {"id": note})

    @group.command(name=named("cmd.note.history.name"), description=named("cmd.note.history.description"))
    @options("note.history", "note")
    async def history(interaction: discord.Interaction, note: Wanted) -> None:
        await desk.accept(interaction, "note.history", {"id": note})

    @edit.autocomplete("note")
    @delete.autocomplete("note")
    @history.autocomplete("note")
    async def ours(interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        return await desk.autocomplete(interaction, lambda visit: note_choices(visit, typed, ours_only=True))


def _form(language: str, title: str, tags: str, where: str) -> Modal:
    """The form for a new note; `where` goes with its id."""
    inputs = [
        Input(
            "title",
            text("note.input_title", language),
            value=title,
            placeholder=text("note.input_title_hint", language),
            is_required=False,
            most=_TITLE,
        ),
        Input("text", text("note.input_text", language), is_long=True),
        Input(
            "tags",
            text("note.input_tags", language),
            value=tags,
            placeholder=text("note.input_tags_hint", language),
            is_required=False,
            most=500,
        ),
    ]
    return Modal("note.added", text("note.adding", language), inputs, id=where)


@handles("note.add", is_capture=True, quota="notes")
async def add(visit: Visit) -> Reply:
    """A note from a text, a text file, or both; another file is kept beside the text."""
    body = visit.request.string("text")
    title = visit.request.string("title")
    file = Sent.of(visit.request.options.get("file"))
    if file is None:
        return await _kept(visit, body, title, visit.request.string("where"))
    if file.is_text:
        content = await text_of_file(visit, file)
        if not body.strip():
            return await _kept(visit, content, title or _named_by(content, file), visit.request.string("where"))
        return await _kept(visit, f"{body}\n\n{content}", title, visit.request.string("where"))
    if not body.strip():
        raise Refused("note.file_kind", name=escape(file.name, 100))
    async with visit.keeping_files():
        attached = await fetched(visit, file, MOST_EACH)
        said = visit.text("note.file_with_text", name=escape(file.name, 100))
        if attached.content is None:
            said = visit.text("save.not_stored", name=escape(file.name, 100), reason=attached.reason)
        return await _kept(visit, body, title, visit.request.string("where"), [attached], [said])


@handles("note.added", is_capture=True, quota="notes", is_form=True)
async def added(visit: Visit) -> Reply:
    """A note from the form."""
    return await _kept(visit, visit.request.string("text"), visit.request.string("title"), visit.request.string("id"))


@handles("note.show")
async def show(visit: Visit) -> Reply:
    """A note with its files."""
    note = await living_note(visit, visit.request.string("note") or visit.request.string("id"))
    if await visit.call(visit.view.attachments, note.id):
        await visit.before_sending_files()
    files, too_large, missing = await visit.call(sendable, visit.view, note.id, visit.request.file_limit)
    notices = [
        visit.text("note.file_not_shown", name=escape(file.name, 80), size=f"{file.size // 1024:,}")
        for file in too_large
    ] + [
        visit.text("note.file_not_stored", name=escape(file.name, 80), reason=escape(file.reason, 150))
        for file in missing
    ]
    return await visit.call(note_reply, visit, note, files=files, notices=notices)


handles("button.note")(show)


@handles("button.note_page", updates=True)
async def turn(visit: Visit) -> Reply:
    """Another page of a note."""
    note = await living_note(visit, visit.request.string("id"))
    page = visit.request.string("more")
    return await visit.call(note_reply, visit, note, int(page) if page.isdecimal() else 0)


@handles("button.note_file")
async def whole(visit: Visit) -> Reply:
    """All of a note as a file."""
    note = await living_note(visit, visit.request.string("id"))
    file = as_file(visit, note.title, note.body)
    if file is None:
        raise Refused("note.too_large_to_send")
    return Reply(body=visit.text("note.whole"), files=[file])


@handles("note.list")
async def list_notes(visit: Visit) -> Reply:
    """The first page of a list."""
    return await _list(visit, 0, visit.request.flag("mine"), visit.request.string("tag").strip())


@handles("button.note_list", updates=True)
async def list_on(visit: Visit) -> Reply:
    """Another page of a list."""
    offset = visit.request.string("id")
    whose, _, tag = visit.request.string("more").partition("|")
    return await _list(visit, int(offset) if offset.isdecimal() else 0, whose == "mine", tag)


async def _kept(
    visit: Visit,
    body: str,
    title: str,
    where: str,
    attachments: list[Attachment] | None = None,
    notices: list[str] | None = None,
) -> Reply:
    check_length(visit, body)
    space = await space_for(visit, where)
    note = await visit.call(
        visit.view.add_note,
        body,
        title=title,
        tags=await tags_for(visit, visit.request.string("tags"), space),
        space=space,
        author=visit.who,
        attachments=attachments or (),
        note_id=visit.request.note_id,
    )
    return kept_reply(visit, note, notices or ())


def _named_by(content: str, file: Sent) -> str:
    """The name of the file, for a text that has no heading or front matter to be named by."""
    begin = content.lstrip("\ufeff \t\r\n")
    return "" if begin.startswith(("#", "---")) else file.name.rpartition(".")[0]


async def _list(visit: Visit, offset: int, is_mine: bool, tag: str) -> Reply:
    author = visit.who if is_mine else ""
    notes = await visit.call(visit.view.recent_notes, limit=_IN_LIST + 1, offset=offset, author=author, tag=tag)
    if not notes:
        raise Refused("note.list_end" if offset else "note.list_none")
    more, shown = notes[_IN_LIST:], notes[:_IN_LIST]
    title = visit.text("note.list_tag", tag=escape(tag, 100)) if tag else visit.text("note.list")
    buttons = [Button(f"[{number}]", "note", note.note_id) for number, note in enumerate(shown, offset + 1)]
    turning = f"{'mine' if is_mine else 'all'}|{tag}"
    if (more or offset) and units(turning) <= LIMITS.custom_id - 25:
        before = max(0, offset - _IN_LIST)
        buttons += [
            Button(visit.text("note.previous"), "note_list", str(before), more=turning, disabled=not offset),
            Button(
                visit.text("note.next"),
                "note_list",
                str(offset + _IN_LIST),
                more=turning,
                style="primary",
                disabled=not more,
            ),
        ]
    lines = [_line(visit, number, note) for number, note in enumerate(shown, offset + 1)]
    return Reply(title=title, body="\n".join(lines), buttons=buttons)


def _line(visit: Visit, number: int, note: NoteTitle) -> str:
    about = " · ".join(part for part in (day(note.updated_at), place_of(visit, note.space)) if part)
    return f"**{number}.** {title_link(note.title, '')}\n-# {about}"
