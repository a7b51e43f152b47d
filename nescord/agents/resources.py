"""Notes as resources: those changed last in a list, any of them by its URI, quoted as everywhere."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from nescord.agents.desk import URI, Desk
from nescord.agents.shapes import LONGEST_PAGE
from nescord.agents.tools import shown
from nescord.errors import NotFoundError, UsageError

TEMPLATE = f"{URI}{{id}}"
_PAGE = 50
# Clients that list resources walk to the end, and a knowledge base may have a hundred thousand notes.
_MOST = 500
_CURSORS = frozenset(map(str, range(_PAGE, _MOST, _PAGE)))


@dataclass(frozen=True, slots=True)
class Listed:
    """A note in the list."""

    uri: str
    title: str
    changed_at: str


def recent(desk: Desk, cursor: str | None) -> tuple[list[Listed], str | None]:
    """A page of the notes changed last, and the cursor of the next page.

    Raises:
        UsageError: the cursor is none of ours.
    """
    if cursor is not None and cursor not in _CURSORS:
        raise UsageError("this is no cursor of this list: begin it anew")
    offset = int(cursor or 0)
    notes = desk.notes.recent_notes(limit=_PAGE + 1, offset=offset)
    after = offset + _PAGE
    more = str(after) if len(notes) > _PAGE and after < _MOST else None
    line = desk.cleaner.line
    return [Listed(URI + note.note_id, line(note.title), note.updated_at) for note in notes[:_PAGE]], more


def text_of(desk: Desk, uri: str) -> str:
    """The note of that URI, quoted; of a very long one its beginning.

    Raises:
        NotFoundError: there is no such note here.
    """
    try:
        note_id = str(uuid.UUID(uri.removeprefix(URI)))
    except ValueError:
        note_id = ""
    if uri != URI + note_id:
        raise NotFoundError(f'no note "{uri}": notes are {TEMPLATE}, where id is that of a note')
    return shown(desk, desk.note(note_id), 0, LONGEST_PAGE).text
