"""What all ways to keep a note have in common: where it goes, its tags, texts that come as files, and what is said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bot.embedding_later import embed_soon
from bot.note_page import place_of
from bot.render import Button, Reply
from bot.request import JSON
from bot.rights import may_change
from bot.visit import FetchError, Refused, Visit
from nescord.attachments import MOST_EACH
from nescord.decoding import DecodeError, decode
from nescord.discord_text import escape
from nescord.drafting import given_tags
from nescord.notes import Attachment, Note

TEXT_FILES = (".md", ".markdown", ".txt")
_TAGS_SHOWN = 300
_BETWEEN = re.compile(r"[,、，\n]")


@dataclass(frozen=True, slots=True)
class Sent:
    """A file that somebody attached: its name, where it lies, and the size in bytes that Discord tells."""

    name: str
    url: str
    media_type: str
    size: int

    @property
    def is_text(self) -> bool:
        """Whether it may be a note by its name."""
        return self.name.lower().endswith(TEXT_FILES)

    @classmethod
    def of(cls, option: JSON) -> Sent | None:
        """What an option holds; None where it was not given."""
        if not isinstance(option, dict):
            return None
        size = option.get("size")
        return cls(
            name=str(option.get("name") or "file"),
            url=str(option.get("url") or ""),
            media_type=str(option.get("media_type") or ""),
            size=size if isinstance(size, int) else 0,
        )


async def space_for(visit: Visit, where: str = "") -> str:
    """The space of a new note: as asked for, else as the person prefers, else as the guild does, else their own."""
    if visit.request.context != "guild":
        return visit.who
    if not where:
        preferences = visit.base.preferences
        where = (await visit.call(preferences.get, visit.who)).visibility
        where = where or (await visit.call(preferences.get, visit.guild_space)).visibility
    return visit.guild_space if where == "server" else visit.who


async def tags_for(visit: Visit, typed: str, space: str) -> list[str]:
    """The tags of a new note in that space: those that somebody typed, with commas or else blanks between them; else
    those that they prefer; else, of a note for all of the guild, those of the guild."""
    parts = _BETWEEN.split(typed) if _BETWEEN.search(typed) else typed.split()
    if tags := given_tags(parts) or list((await visit.call(visit.base.preferences.get, visit.who)).tags):
        return tags
    return list((await visit.call(visit.base.preferences.get, space)).tags) if space == visit.guild_space else []


async def text_of_file(visit: Visit, file: Sent) -> str:
    """The text of an attached file. Refused: it is none, is too long for a note, or cannot be had."""
    name = escape(file.name, 100)
    most = visit.base.settings.max_note_bytes
    if not file.is_text:
        raise Refused("note.file_kind", name=name)
    if file.size > most:
        raise Refused("note.file_too_large", name=name, most=f"{most // 1024:,}")
    try:
        content = await visit.fetch(file.url, most)
    except FetchError as error:
        if error.too_large:
            raise Refused("note.file_too_large", name=name, most=f"{most // 1024:,}") from None
        raise Refused("note.file_gone", name=name) from None
    try:
        return (await visit.call(decode, content)).text
    except DecodeError:
        raise Refused("note.file_unreadable", name=name) from None


async def fetched(visit: Visit, file: Sent, left: int) -> Attachment:
    """A file with its bytes, or with the reason why not, in the words of the person's language. `left` bytes of the
    note may still be taken."""
    reason = ""
    content = None
    if file.size > MOST_EACH:
        reason = visit.text("save.too_large", most=MOST_EACH >> 20)
    else:
        try:
            content = await visit.fetch(file.url, min(MOST_EACH, left))
        except FetchError as error:
            reason = visit.text("save.not_got")
            if error.too_large:
                reason = visit.text("save.too_large", most=MOST_EACH >> 20)
    return Attachment(file.name, file.media_type, content, file.size, reason)


def check_length(visit: Visit, text: str) -> None:
    """Refused: there is no text, or more than a note may have."""
    if not text.strip():
        raise Refused("note.empty")
    if len(text.encode("utf-8", "replace")) > visit.base.settings.max_note_bytes:
        raise Refused("note.too_long")


def kept_reply(visit: Visit, note: Note, notices: Sequence[str] = ()) -> Reply:
    """What is said when a note was kept; and it will be embedded soon."""
    embed_soon(visit.base)
    lines = [visit.text("note.kept", title=escape(note.title, 200), where=place_of(visit, note.space))]
    if note.tags:
        tags = escape(" ".join(f"#{tag}" for tag in note.tags), _TAGS_SHOWN)
        lines.append(f"-# {visit.text('note.tagged', tags=tags)}")
    return Reply(body="\n".join(lines), buttons=note_actions(visit, note), notices=notices)


def note_actions(visit: Visit, note: Note) -> list[Button]:
    """Show, and edit and delete for those who may."""
    buttons = [Button(visit.text("note.show"), "note", note.id, style="primary")]
    if may_change(visit, note):
        buttons += [
            Button(visit.text("note.edit"), "note_edit", note.id),
            Button(visit.text("note.delete"), "note_delete", note.id, style="danger"),
        ]
    return buttons
