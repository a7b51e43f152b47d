"""What becomes of a note of ours when its file was changed in git: edited, brought back, moved, or kept beside it.

All of it runs in the caller's write transaction, in which the note is looked up again. What a note said before is kept
as a revision, as when it is edited through us.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import apsw

from nescord.catalog import notes as notes_sql
from nescord.catalog import revisions as revisions_sql
from nescord.catalog.notes import DraftNote, IndexedChunk
from nescord.catalog.revisions import PlaceOfNote
from nescord.drafting import Drafting, diff_chunks
from nescord.identifiers import uuid7
from nescord.keeping_notes import later_than
from nescord.notes import Note, Scope
from nescord.sources import writeback_file
from nescord.times import utc_text

# The first line of both versions, by the language of the note. {} is the name of the other one's file.
_OURS = {
    "ja": "> [!warning] 競合：このノートは git 側でも変更されました。git 側の内容は [[{}]] にあります。",
    "en": "> [!warning] Conflict: this note was changed in git as well. What it says there is in [[{}]].",
}
_THEIRS = {
    "ja": "> [!warning] 競合：これは [[{}]] の git 側の内容です。",
    "en": "> [!warning] Conflict: this is what [[{}]] said in git.",
}
CONFLICT_TAG = "conflict"


@dataclass(frozen=True, slots=True)
class Stored:
    """A note of ours as it is stored now, and where."""

    note: Note
    place: PlaceOfNote
    note_hash: bytes

    @property
    def is_trashed(self) -> bool:
        return self.place.is_trashed


def stored(connection: apsw.Connection, note_id: str) -> Stored | None:
    """The note, in the trash or not; None where it was erased."""
    found = notes_sql.find(connection, note_id, Scope())
    place = revisions_sql.place_of(connection, note_id)
    if not found or place is None:
        return None
    return Stored(found[0], place, writeback_file.note_hash(found[0]))


def read(drafting: Drafting, known: Stored, data: bytes, path: str) -> DraftNote:
    """The note with what its file says.

    Raises:
        DecodeError, UnreadableError: as `writeback_file.edited`.
    """
    draft = writeback_file.edited(
        drafting, known.note, data, source=known.place.source, path=path, when=later_than(known.note.updated_at)
    )
    return replace(draft, origin=known.place.origin)


def edit(connection: apsw.Connection, known: Stored, draft: DraftNote) -> None:
    """The note says this from now on."""
    _keep(connection, known.note)
    _update(connection, known, draft)


def bring_back(connection: apsw.Connection, known: Stored, draft: DraftNote) -> None:
    """The note comes out of the trash, saying this."""
    _keep(connection, known.note)
    if notes_sql.is_taken(connection, known.place.source, draft.path):
        draft = replace(draft, path=f"{known.note.id}/{draft.path}")
    draft = _named(connection, known, draft)
    notes_sql.restore(connection, known.note.id, draft, [IndexedChunk.of(chunk) for chunk in draft.chunks])
    revisions_sql.give_back_names(connection, known.note.id)


def move(connection: apsw.Connection, drafting: Drafting, known: Stored, path: str) -> None:
    """The note is called by the path of its file, and by what it was called before."""
    note = known.note
    if note.path == path or known.is_trashed or notes_sql.is_taken(connection, known.place.source, path):
        return
    draft = drafting.edited(
        replace(note, path=path),
        source=known.place.source,
        text=None,
        title=None,
        tags=None,
        when=note.updated_at,
    )
    _update(connection, known, replace(draft, origin=known.place.origin, kind=note.kind))


def part(
    connection: apsw.Connection, drafting: Drafting, known: Stored, theirs: DraftNote, path: str, beside: str
) -> str:
    """Keep both: the note as we have it, whose file is at `path`, and git's version as a note of its own at `beside`.

    Each tells of the other in its first line. Returns the id of git's version.
    """
    note, language = known.note, "ja" if known.note.lang == "ja" else "en"
    now = later_than(note.updated_at)
    other = str(uuid7())
    draft = drafting.edited(
        replace(
            note,
            id=other,
            path=beside,
            title=theirs.title,
            body=theirs.body,
            front_matter=writeback_file.own_front_matter(theirs),
            aliases=(),
            tags=tuple(theirs.tags),
            created_at=now,
        ),
        source=known.place.source,
        text=_below(_THEIRS[language].format(_name(path)), theirs.body),
        title=theirs.title,
        tags=[*theirs.tags, CONFLICT_TAG],
        when=now,
    )
    notes_sql.insert(connection, [(other, draft, [IndexedChunk.of(chunk) for chunk in draft.chunks])])
    ours = drafting.edited(
        note,
        source=known.place.source,
        text=_below(_OURS[language].format(_name(beside)), note.body),
        title=note.title,
        tags=None,
        when=now,
    )
    edit(connection, known, replace(ours, origin=known.place.origin))
    return other


def _keep(connection: apsw.Connection, note: Note) -> None:
    revisions_sql.keep(connection, note.id, merge="", merged_into="", when=utc_text(datetime.now(UTC)))


def _update(connection: apsw.Connection, known: Stored, draft: DraftNote) -> None:
    key = known.place.key
    if draft.path != known.note.path and notes_sql.is_taken(connection, known.place.source, draft.path):
        draft = replace(draft, path=known.note.path)
    diff = diff_chunks(notes_sql.chunks_of(connection, key), draft)
    notes_sql.update(connection, [(key, _named(connection, known, draft), diff)])


def _named(connection: apsw.Connection, known: Stored, draft: DraftNote) -> DraftNote:
    names: Sequence[str] = [*draft.names, *revisions_sql.names_of(connection, known.place.key)]
    return replace(draft, names=list(dict.fromkeys(names)))


def _below(line: str, body: str) -> str:
    return f"{line}\n\n{body}"


def _name(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]
