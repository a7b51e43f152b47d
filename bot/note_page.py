"""A note as people read it in Discord: page by page, all of it escaped, with its files as far as they fit."""

from __future__ import annotations

import re
from collections.abc import Sequence

import regex  # type: ignore[import-untyped]  # it has no types; only its \X is used

from bot.hits import day
from bot.render import Button, LinkButton, Reply, ReplyFile, escape
from bot.rights import is_theirs, may_change
from bot.scope import PERSONAL
from bot.visit import Visit
from nescord.notes import Note, StoredAttachment
from nescord.scoped import ScopedKnowledge

# Characters of a page: escaped, they are twice as many at most, and an embed takes 4,096.
PAGE = 1700
# Of a message of Discord.
_MOST_FILES = 10
_GRAPHEME = regex.compile(r"\X")
_JUMP = re.compile(r"https://(?:\w+\.)?discord\.com/channels/(?:@me|\d{1,20})/\d{1,20}/\d{1,20}(?!\S)")
_UNFIT = re.compile(r"[^\w.-]+")


def pages(body: str) -> list[str]:
    """The text in pages, cut between lines where that is possible, else between graphemes; together they are all."""
    found: list[str] = []
    at = 0
    while at < len(body):
        end = _end(body, at)
        found.append(body[at:end])
        at = end
    return found or [""]


def note_reply(
    visit: Visit, note: Note, page: int = 0, files: Sequence[ReplyFile] = (), notices: Sequence[str] = ()
) -> Reply:
    """One page (counted from 0; one that is not there: the nearest), and what can be done with the note."""
    parts = pages(note.body)
    page = max(0, min(page, len(parts) - 1))
    text = escape(parts[page].strip("\n"))
    footer = visit.text("note.page", page=page + 1, pages=len(parts)) if len(parts) > 1 else ""
    return Reply(
        title=escape(note.title, 250),
        body=f"{_about(visit, note)}\n\n{text if text.strip() else visit.text('note.no_text')}",
        footer=footer,
        buttons=[*_turning(visit, note, page, len(parts)), *_actions(visit, note)],
        files=files,
        notices=notices,
    )


def place_of(visit: Visit, space: str) -> str:
    """Who can see what is in a space."""
    if space == PERSONAL:
        return visit.text("note.for_owner")
    return visit.text("note.for_me" if space == visit.who else "note.for_server")


def as_file(visit: Visit, title: str, body: str) -> ReplyFile | None:
    """The whole text as a file; None if it is larger than Discord takes."""
    content = body.encode("utf-8", "replace")
    return ReplyFile(file_name(title), content) if len(content) <= visit.request.file_limit else None


def file_name(title: str) -> str:
    """What the file of a note with that title is called."""
    return f"{_UNFIT.sub('_', title)[:60].strip('._') or 'note'}.md"


def sendable(
    view: ScopedKnowledge, note_id: str, limit: int
) -> tuple[list[ReplyFile], list[StoredAttachment], list[StoredAttachment]]:
    """The files of a note that one message takes, `limit` bytes together; those too large for that; those that are not
    stored. Blocks."""
    fitting: list[ReplyFile] = []
    too_large: list[StoredAttachment] = []
    missing: list[StoredAttachment] = []
    left = limit
    for file in view.attachments(note_id):
        if not file.is_stored:
            missing.append(file)
        elif file.size > left or len(fitting) == _MOST_FILES:
            too_large.append(file)
        else:
            fitting.append(ReplyFile(file.name, view.attachment(note_id, file.ordinal)))
            left -= file.size
    return fitting, too_large, missing


def _about(visit: Visit, note: Note) -> str:
    parts = [place_of(visit, note.space), day(note.updated_at)]
    if note.owner != "us":
        parts.insert(0, escape(note.path, 200))
    if note.tags:
        parts.append(escape(" ".join(f"#{tag}" for tag in note.tags), 200))
    return f"-# {' · '.join(filter(None, parts))}"


def _turning(visit: Visit, note: Note, page: int, count: int) -> list[Button]:
    if count == 1:
        return []
    return [
        Button(visit.text("note.previous"), "note_page", note.id, more=str(max(0, page - 1)), disabled=page == 0),
        Button(
            visit.text("note.next"),
            "note_page",
            note.id,
            more=str(page + 1),
            style="primary",
            disabled=page + 1 >= count,
        ),
        Button(visit.text("note.as_file"), "note_file", note.id),
    ]


def _actions(visit: Visit, note: Note) -> list[Button | LinkButton]:
    buttons: list[Button | LinkButton] = []
    if may_change(visit, note):
        buttons += [
            Button(visit.text("note.edit"), "note_edit", note.id),
            Button(visit.text("note.delete"), "note_delete", note.id, style="danger"),
        ]
    if is_theirs(visit, note):
        buttons.append(Button(visit.text("note.history"), "note_history", note.id))
    # The last line of a message that was kept; a link within Discord and nowhere else, whoever wrote the text.
    if note.owner == "us" and (jumps := _JUMP.findall(note.body[-400:])):
        buttons.append(LinkButton(visit.text("note.message"), jumps[-1]))
    return buttons


def _end(body: str, at: int) -> int:
    if len(body) - at <= PAGE:
        return len(body)
    line = body.rfind("\n", at + PAGE // 2, at + PAGE)
    if line >= 0:
        return line + 1
    # Whether the last grapheme of a part goes on behind it is not known.
    end = at
    for found in _GRAPHEME.finditer(body[at : at + PAGE + 1]):
        if found.end() > PAGE:
            break
        end = at + found.end()
    return end if end > at else at + PAGE
