"""Changing a note of ours: edited in a form or by a file, deleted and brought back, looked at as it was before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bot.embedding_later import embed_soon
from bot.hits import title_link
from bot.keeping import Sent, check_length, note_actions, text_of_file
from bot.note_page import PAGE, as_file, file_name, pages
from bot.registry import handles, opens
from bot.render import LIMITS, Button, Input, Modal, Reply, ReplyFile, clip, units
from bot.rights import check_change, check_theirs, living_note, stored_note
from bot.visit import Refused, Visit
from nescord.discord_text import escape
from nescord.drafting import given_tags
from nescord.errors import ConflictError, UsageError
from nescord.notes import Note, NoteVersion

UNDO = timedelta(minutes=10)
_TITLE = 256
_VERSIONS = 10


@opens("note.edit")
async def edit(visit: Visit) -> Modal:
    """The form with what the note says now; when it was changed last goes with it."""
    note = await living_note(visit, visit.request.string("id"))
    check_change(visit, note)
    tags = ", ".join(note.tags)
    if units(note.body) > LIMITS.modal_value or units(tags) > LIMITS.modal_value:
        raise Refused("note.too_long_to_edit")
    inputs = [
        Input("title", visit.text("note.input_title"), value=clip(note.title, _TITLE), is_required=False, most=_TITLE),
        Input("text", visit.text("note.input_text"), value=note.body, is_long=True),
        Input("tags", visit.text("note.input_tags"), value=tags, is_required=False),
    ]
    return Modal("note.edited", visit.text("note.editing"), inputs, id=f"{note.id}|{note.updated_at}")


opens("button.note_edit")(edit)


# Tried until it is written, as a new note is: what somebody has typed is in no other place.
@handles("note.edited", is_capture=True, is_form=True)
async def edited(visit: Visit) -> Reply:
    """What was sent in the form, unless the note was changed since: then both texts. What cannot be written at all, as
    the note is gone or no longer theirs to change, is given back."""
    text = visit.request.string("text")
    try:
        return await _edited(visit, text)
    except Refused as refused:
        file = ReplyFile(f"{visit.text('note.conflict_yours')}.md", text.encode("utf-8", "replace"))
        return Reply(body=visit.text(refused.key, **refused.values), files=[file] if text.strip() else [])


async def _edited(visit: Visit, text: str) -> Reply:
    note_id, _, expected = visit.request.string("id").partition("|")
    note = await living_note(visit, note_id)
    check_change(visit, note)
    title = " ".join(visit.request.string("title").split())
    tags = given_tags([visit.request.string("tags")])
    check_length(visit, text)
    # Discord gives back line ends and blanks at the ends as it likes.
    new_text = None if _plain(text) == _plain(note.body) else text
    new_title = None if title == " ".join(clip(note.title, _TITLE).split()) else title
    new_tags = None if sorted(tags) == sorted(note.tags) else tags
    if new_text is None and new_title is None and new_tags is None:
        return Reply(body=visit.text("note.same", title=escape(note.title, 200)), buttons=note_actions(visit, note))
    try:
        changed = await visit.call(
            visit.view.edit_note, note.id, text=new_text, title=new_title, tags=new_tags, expected=expected
        )
    except ConflictError:
        return _conflict(visit, await living_note(visit, note.id), text)
    return _changed(visit, changed)


@handles("note.replace")
async def replace(visit: Visit) -> Reply:
    """The text of a file instead of the note's own, which is kept as a version."""
    note = await living_note(visit, visit.request.string("note"))
    check_change(visit, note)
    file = Sent.of(visit.request.options.get("file"))
    if file is None:
        raise Refused("note.empty")
    text = await text_of_file(visit, file)
    check_length(visit, text)
    if _plain(text) == _plain(note.body):
        return Reply(body=visit.text("note.same", title=escape(note.title, 200)), buttons=note_actions(visit, note))
    try:
        changed = await visit.call(visit.view.edit_note, note.id, text=text, expected=note.updated_at)
    except ConflictError:
        return _conflict(visit, await living_note(visit, note.id), text)
    return _changed(visit, changed)


@handles("note.delete")
async def delete(visit: Visit) -> Reply:
    """Asks whether it is meant."""
    note = await living_note(visit, visit.request.string("id"))
    check_change(visit, note)
    return Reply(
        body=visit.text("note.confirm", title=escape(note.title, 200)),
        buttons=[
            Button(visit.text("note.delete"), "note_deleted", note.id, style="danger"),
            Button(visit.text("note.cancel"), "note_cancel", note.id),
        ],
    )


handles("button.note_delete")(delete)


@handles("button.note_deleted", updates=True)
async def deleted(visit: Visit) -> Reply:
    """Into the trash. Clicked twice, it is there all the same."""
    note = await stored_note(visit, visit.request.string("id"))
    check_change(visit, note)
    note = await visit.call(visit.view.delete_note, note.id)
    until = f"<t:{int((_when(note.trashed_at) + UNDO).timestamp())}:t>"
    return Reply(
        body=visit.text("note.deleted", title=escape(note.title, 200), until=until),
        buttons=[Button(visit.text("note.undo"), "note_undo", note.id, style="primary")],
    )


@handles("button.note_cancel", updates=True)
async def cancelled(visit: Visit) -> Reply:
    """Nothing is deleted."""
    return Reply(body=visit.text("note.not_deleted"))


@handles("button.note_undo", updates=True)
async def undo(visit: Visit) -> Reply:
    """Out of the trash again, for ten minutes."""
    note = await stored_note(visit, visit.request.string("id"))
    check_change(visit, note)
    if note.trashed_at and datetime.now(UTC) > _when(note.trashed_at) + UNDO:
        raise Refused("note.undo_late")
    try:
        note = await visit.call(visit.view.undelete_note, note.id)
    except UsageError:
        raise Refused("note.place_taken") from None
    embed_soon(visit.base)
    return Reply(body=visit.text("note.undone", title=escape(note.title, 200)), buttons=note_actions(visit, note))


@handles("note.history")
async def history(visit: Visit) -> Reply:
    """What it said before, the latest first; a button shows each."""
    note = await living_note(visit, visit.request.string("id"))
    check_theirs(visit, note)
    versions = await visit.call(visit.view.note_history, note.id)
    title = escape(note.title, 200)
    if not versions:
        raise Refused("note.no_versions", title=title)
    shown = versions[:_VERSIONS]
    lines = [_version_line(visit, number, version) for number, version in enumerate(shown, 1)]
    return Reply(
        title=visit.text("note.versions", title=title),
        body="\n".join(lines),
        buttons=[
            Button(f"[{number}]", "note_version", note.id, more=str(version.number))
            for number, version in enumerate(shown, 1)
        ],
    )


handles("button.note_history")(history)


@handles("button.note_version")
async def version(visit: Visit) -> Reply:
    """One version; a long one as a file."""
    note = await living_note(visit, visit.request.string("id"))
    check_theirs(visit, note)
    wanted = visit.request.string("more")
    versions = await visit.call(visit.view.note_history, note.id)
    found = next((each for each in versions if str(each.number) == wanted), None)
    if found is None:
        raise Refused("note.version_gone")
    is_long = len(found.body) > PAGE
    file = as_file(visit, found.title, found.body) if is_long else None
    shown = escape(pages(found.body[: 2 * PAGE])[0].strip("\n")) or visit.text("note.no_text")
    when = visit.text("note.until", when=f"<t:{int(_when(found.replaced_at).timestamp())}:f>")
    return Reply(
        title=visit.text("note.version_title", title=escape(found.title, 200)),
        body=f"-# {when}\n\n{shown}",
        files=[file] if file else [],
        notices=[visit.text("note.whole")] if file else [],
    )


def _changed(visit: Visit, note: Note) -> Reply:
    embed_soon(visit.base)
    return Reply(body=visit.text("note.changed", title=escape(note.title, 200)), buttons=note_actions(visit, note))


def _conflict(visit: Visit, stored: Note, theirs: str) -> Reply:
    name = file_name(stored.title).removesuffix(".md")
    return Reply(
        body=visit.text("note.conflict", title=escape(stored.title, 200)),
        buttons=note_actions(visit, stored),
        files=[
            ReplyFile(f"{name}-{visit.text('note.conflict_yours')}.md", theirs.encode("utf-8", "replace")),
            ReplyFile(f"{name}-{visit.text('note.conflict_stored')}.md", stored.body.encode("utf-8", "replace")),
        ],
    )


def _version_line(visit: Visit, number: int, found: NoteVersion) -> str:
    when = visit.text("note.until", when=f"<t:{int(_when(found.replaced_at).timestamp())}:f>")
    begin = escape(" ".join(found.body[:400].split()), 120)
    return "\n".join(part for part in (f"**{number}.** {title_link(found.title, '')} · {when}", f"-# {begin}") if part)


def _when(iso: str) -> datetime:
    when = datetime.fromisoformat(iso)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _plain(text: str) -> str:
    return "\n".join(text.splitlines()).strip()
